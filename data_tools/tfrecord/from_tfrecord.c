/*
 * create_records from-tfrecord: makes records from TFRecord files; see from_tfrecord.h.
 *
 * After the scan every record is read twice: to decode its image, which checks it and gives mean
 * and std, and to write it into its shard. A checksum ensures that both reads gave the same bytes.
 */
#include "tfrecord/from_tfrecord.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/image.h"
#include "writer/pixel_sums.h"
#include "writer/selection.h"
#include "writer/writer.h"

enum { MOST_PIXEL_BYTES = 1 << 16 };

struct make_set {
    dn_writer writer;
    dn_record_set set;
    dn_pixel_sums sums; /* of the train split */
    int64_t bad;        /* records left out */
};

/* ---- decoding ---- */

/* Byte 25 of a PNG is its colour type: 0 is gray, 4 gray with alpha. */
static int is_colour(const dn_example *e, int is_jpeg)
{
    return e->is_raw ? e->channels == 3 : is_jpeg || (e->image[25] != 0 && e->image[25] != 4);
}

/* Decodes the record's image, and records its properties. */
static dn_status decode_record(const dn_record_set *set, dn_record *r, dn_record_reader *d)
{
    const dn_example *const e = &d->example;
    DN_TRY(dn_record_read(set, r, d));
    DN_TRY(dn_record_pixels(d));
    r->is_raw = (uint8_t)e->is_raw;
    r->is_jpeg = !e->is_raw && dn_image_format_of(e->image, e->size) == DN_IMAGE_JPEG;
    r->is_colour = (uint8_t)is_colour(e, r->is_jpeg);
    r->bytes = (int64_t)e->size;
    r->hash = XXH3_64bits(e->image, e->size);
    r->width = d->pixels.width;
    r->height = d->pixels.height;
    if (r->split == DN_TRAIN)
        dn_pixel_sums_add_image(&d->sums, &d->pixels);
    return DN_OK;
}

/* Names the bad records and removes them. */
static dn_status drop_records(struct make_set *k)
{
    dn_record_set *const set = &k->set;
    int64_t kept = 0;
    for (int64_t i = 0; i < set->records; i++) {
        dn_record *const r = &set->record[i];
        if (r->status == DN_OK) {
            set->record[kept++] = *r;
            continue;
        }
        dn_warn("%s; left out", r->fault ? r->fault : "a record");
        free(r->fault);
    }
    k->bad += set->records - kept;
    set->records = kept;
    DN_CHECK(kept > 0, DN_EINVAL, "%s: found no sound record in the files", set->file[0].path);
    return DN_OK;
}

/* ---- a test split that is drawn ---- */

/* Draws a test split as for other sets. */
static dn_status draw_test(dn_record_set *set)
{
    int64_t train;
    DN_TRY(dn_draw_items(set->options, set->name, set->record, &set->record->label,
                         sizeof *set->record, set->records, set->classes, &train));
    for (int64_t i = train; i < set->records; i++)
        set->record[i].split = DN_TEST;
    return DN_OK;
}

/* Warns of classes without training images, which a list of all names may have. */
static dn_status count_empty(const dn_record_set *set)
{
    char *const seen = calloc((size_t)set->classes, 1);
    int empty = 0, first = -1;
    DN_CHECK(seen, DN_ENOMEM, "out of memory for %d classes", set->classes);
    for (int64_t i = 0; i < set->records; i++)
        if (set->record[i].split == DN_TRAIN)
            seen[set->record[i].label] = 1;
    for (int c = 0; c < set->classes; c++)
        if (!seen[c]) {
            first = empty == 0 ? c : first;
            empty++;
        }
    free(seen);
    if (empty > 0)
        dn_warn("found no image to train on of %d classes, as of %s", empty,
                set->class_names[first]);
    return DN_OK;
}

/* ---- the plan ---- */

/* Sets the kind of records: PNGs and raw pixels of one small size are stored as pixels, with height
 * and width in `info`. */
static void choose_kind(const dn_record_set *set, dn_data_info *info)
{
    const dn_record *const first = set->record;
    int is_colour = 0;
    info->channels = 3;
    for (int64_t i = 0; i < set->records; i++) {
        const dn_record *const r = &set->record[i];
        if (r->is_jpeg || r->width != first->width || r->height != first->height)
            return;
        is_colour |= r->is_colour;
    }
    const int channels = is_colour ? 3 : 1;
    if ((int64_t)channels * first->width * first->height > MOST_PIXEL_BYTES)
        return;
    info->channels = channels;
    info->height = first->height;
    info->width = first->width;
}

/* Computes the bytes that raw pixels take as PNG. */
static dn_status measure_png(const dn_record_set *set, dn_record *r, dn_record_reader *d)
{
    const uint8_t *bytes;
    uint8_t *png;
    size_t size;
    if (!r->is_raw)
        return DN_OK;
    DN_TRY(dn_record_read(set, r, d));
    DN_TRY(dn_record_encode(d, &bytes, &size, &png));
    r->bytes = (int64_t)size;
    r->hash = XXH3_64bits(bytes, size);
    free(png);
    return DN_OK;
}

/* The manifest's checksum of the images' checksums, as for FOLDER. */
static dn_status hash_records(const dn_record_set *set, const int64_t count[DN_SPLITS],
                              uint64_t *hash)
{
    const dn_record *r = set->record;
    *hash = 0;
    for (int s = 0; s < DN_SPLITS && count[s] > 0; r += count[s++])
        DN_TRY(dn_writer_hash_split(hash, &r->hash, &r->label, sizeof *r, count[s]));
    return DN_OK;
}

static int count_shards(const struct make_set *k, const dn_data_info *info, int64_t train)
{
    const int is_encoded = dn_is_encoded(info);
    int64_t bytes = 0;
    for (int64_t i = 0; i < train; i++)
        bytes += is_encoded ? k->set.record[i].bytes : (int64_t)dn_image_values(info);
    return dn_writer_shards(&k->writer, is_encoded, bytes, train);
}

static const dn_record *first_record(const struct make_set *k, const dn_manifest_shard *shard)
{
    int64_t before = 0;
    for (int s = 0; s < (int)shard->split; s++)
        before += k->writer.manifest->split[s].count;
    return k->set.record + before + shard->first;
}

/* The path of the first file of the split, or NULL. */
static const char *split_file(const dn_record_set *set, int split)
{
    for (int i = 0; i < set->files; i++)
        if ((int)set->file[i].split == split)
            return set->file[i].path;
    return NULL;
}

/* Checks that each split has an image, except a validation split without files. */
static dn_status check_counts(const dn_record_set *set, const int64_t count[DN_SPLITS])
{
    for (int s = 0; s < DN_SPLITS; s++) {
        const char *const file = split_file(set, s);
        DN_CHECK(count[s] >= (s != DN_VAL || file) && count[s] <= UINT32_MAX, DN_EINVAL,
                 "%s: found %" PRId64 " sound records for the %s split, expected 1 to %u",
                 file ? file : set->file[0].path, count[s], dn_split_name((dn_split_id)s),
                 UINT32_MAX);
    }
    return DN_OK;
}

static dn_status plan_set(struct make_set *k, dn_data_info *info)
{
    dn_record_set *const set = &k->set;
    int64_t count[DN_SPLITS] = {0};
    for (int64_t i = 0; i < set->records; i++)
        count[set->record[i].split]++;
    DN_TRY(check_counts(set, count));
    choose_kind(set, info);
    info->classes = set->classes;
    if (dn_is_encoded(info))
        DN_TRY(dn_each_record(set, "packing:", measure_png, &k->sums));
    DN_TRY(dn_writer_plan(&k->writer, info, (const char *const *)set->class_names, count,
                          count_shards(k, info, count[DN_TRAIN])));
    dn_pixel_statistics(&k->sums, &k->writer.manifest->info);
    return hash_records(set, count, &k->writer.manifest->source);
}

/* ---- shards ---- */

/* Checks that the bytes are those that were decoded. */
static dn_status check_again(const dn_record_reader *d, const dn_record *r, const uint8_t *bytes,
                             size_t size)
{
    DN_CHECK((int64_t)size == r->bytes && XXH3_64bits(bytes, size) == r->hash, DN_EIO,
             "%s: found other bytes than at first: it was changed meanwhile", d->name);
    return DN_OK;
}

/* *name = the name of the image's file, which the caller frees; NULL if there is none that a shard
 * can store. */
static dn_status take_name(const dn_example *e, char **name)
{
    *name = NULL;
    if (!e->name || e->name_size > DN_SHARD_FILE_NAME || memchr(e->name, 0, e->name_size))
        return DN_OK;
    *name = strndup(e->name, e->name_size);
    DN_CHECK(*name, DN_ENOMEM, "out of memory for names of files");
    return DN_OK;
}

static dn_status take_encoded(const dn_record_set *set, const dn_record *r, dn_record_reader *d,
                              dn_stored_image *image)
{
    const uint8_t *bytes;
    uint8_t *png;
    size_t size;
    DN_TRY(dn_record_read(set, r, d));
    DN_TRY(dn_record_encode(d, &bytes, &size, &png));
    dn_status status = check_again(d, r, bytes, size);
    if (status == DN_OK)
        status = dn_buffer_grow(&image->bytes, size);
    if (status == DN_OK)
        status = take_name(&d->example, &image->name);
    if (status == DN_OK)
        memcpy(image->bytes.bytes, bytes, size);
    image->size = size;
    image->hash = r->hash;
    image->width = r->width;
    image->height = r->height;
    image->label = r->label;
    free(png);
    return status;
}

static dn_status make_encoded(const struct make_set *k, dn_manifest_shard *shard,
                              dn_record_reader *d)
{
    const dn_record *const r = first_record(k, shard);
    dn_stored_image *const image = calloc((size_t)shard->count, sizeof *image);
    DN_CHECK(image, DN_ENOMEM, "%s: out of memory", shard->hdf5.name);
    dn_status status = DN_OK;
    for (int64_t i = 0; status == DN_OK && i < shard->count; i++)
        status = take_encoded(&k->set, &r[i], d, &image[i]);
    if (status == DN_OK)
        status = dn_writer_save_encoded(&k->writer, shard, image);
    dn_stored_images_free(image, shard->count);
    return status;
}

/* Copies the pixels to(channels, height, width); for gray any channel of RGB. */
static dn_status copy_pixels(const struct make_set *k, const dn_record *r, dn_record_reader *d,
                             uint8_t *to)
{
    const dn_data_info *const info = &k->writer.manifest->info;
    const size_t plane = (size_t)info->height * (size_t)info->width;
    DN_TRY(dn_record_read(&k->set, r, d));
    DN_TRY(check_again(d, r, d->example.image, d->example.size));
    DN_TRY(dn_record_pixels(d));
    if (info->channels == 3)
        dn_transpose_bytes(d->pixels.rgb.bytes, to, plane, 3);
    for (size_t i = 0; info->channels == 1 && i < plane; i++)
        to[i] = d->pixels.rgb.bytes[3 * i];
    return DN_OK;
}

static dn_status make_pixels(const struct make_set *k, dn_manifest_shard *shard,
                             dn_record_reader *d)
{
    const dn_manifest *const m = k->writer.manifest;
    const dn_record *const r = first_record(k, shard);
    const size_t image = dn_image_values(&m->info), count = (size_t)shard->count;
    uint8_t *const pixels = malloc(count * image);
    uint16_t *const labels = malloc(count * sizeof *labels);
    dn_status status =
        pixels && labels ? DN_OK : dn_fail(DN_ENOMEM, "%s: out of memory", shard->hdf5.name);
    for (size_t i = 0; status == DN_OK && i < count; i++) {
        labels[i] = r[i].label;
        status = copy_pixels(k, &r[i], d, pixels + i * image);
    }
    if (status == DN_OK)
        status = dn_writer_save_pixels(&k->writer, shard, pixels, labels);
    free(labels);
    free(pixels);
    return status;
}

static dn_status make_one(void *context, dn_manifest_shard *shard)
{
    const struct make_set *const k = context;
    dn_record_reader d = DN_RECORD_READER;
    const dn_status status = dn_is_encoded(&k->writer.manifest->info) ? make_encoded(k, shard, &d)
                                                                      : make_pixels(k, shard, &d);
    dn_record_reader_free(&d);
    return status;
}

/* ---- all of it ---- */

static dn_status make_whole(struct make_set *k, int *made)
{
    dn_record_set *const set = &k->set;
    dn_data_info info = {0};
    DN_TRY(dn_record_scan(set));
    snprintf(info.dataset, sizeof info.dataset, "%s", set->name);
    k->writer.prefix = set->name;
    DN_TRY(dn_writer_begin(&k->writer, info.dataset));
    DN_TRY(drop_records(k)); /* those that the scan found */
    DN_TRY(dn_record_name(set));
    if (set->is_drawn)
        DN_TRY(draw_test(set));
    DN_TRY(dn_each_record(set, "decoding:", decode_record, &k->sums));
    DN_TRY(drop_records(k));
    DN_TRY(count_empty(set));
    DN_TRY(plan_set(k, &info));
    DN_TRY(dn_writer_check_channels(&k->writer, set->name));
    DN_TRY(dn_writer_check_source(&k->writer, set->name));
    *made = !dn_writer_has_classes(&k->writer) ||
            !dn_writer_is_complete(&k->writer, k->writer.manifest->split[DN_TRAIN].shards);
    DN_TRY(*made ? dn_writer_write(&k->writer, make_one, k) : dn_writer_remove_journal(&k->writer));
    dn_info("%s: %" PRId64 " records of %d files, %" PRId64 " bad records left out", set->name,
            set->records, set->files, k->bad);
    return DN_OK;
}

/* 1 if the file, or a link to it, is in folder `out`. */
static int is_in(const char *path, const char *out)
{
    char file[PATH_MAX], folder[PATH_MAX], copy[PATH_MAX]; /* dirname modifies them */
    snprintf(copy, sizeof copy, "%s", path);
    return (realpath(dirname(copy), folder) && strcmp(folder, out) == 0) ||
           (realpath(path, file) && strcmp(dirname(file), out) == 0);
}

/* Checks that making the records does not remove the input files. */
static dn_status check_out(const dn_record_set *set, const char *out)
{
    char real[PATH_MAX];
    if (!realpath(out, real)) {
        DN_CHECK(errno == ENOENT, DN_EIO, "%s: cannot read: %s", out, strerror(errno));
        return DN_OK;
    }
    for (int i = 0; i < set->files; i++)
        DN_CHECK(!is_in(set->file[i].path, real), DN_EINVAL,
                 "%s: found it in %s, where the records are to be; name another --out",
                 set->file[i].path, out);
    return DN_OK;
}

dn_status dn_from_tfrecord(int files, char **file, const dn_records_options *options,
                           char out[PATH_MAX], int *made)
{
    dn_records_options asked = *options;
    asked.tfrecords = DN_TFRECORDS_DROP;
    asked.out = out;
    struct make_set k = {.writer = {.options = &asked}, .set = {.options = options}};
    *made = 0;
    dn_status status = dn_record_list(&k.set, files, file);
    if (status == DN_OK)
        status = dn_writer_out(options, k.set.name, out);
    if (status == DN_OK)
        status = check_out(&k.set, out);
    if (status == DN_OK)
        status = make_whole(&k, made);
    dn_record_free(&k.set);
    dn_writer_end(&k.writer);
    return status;
}
