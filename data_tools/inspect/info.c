/*
 * Summarises a folder of records; see inspect.h.
 *
 * Every file's checksum is verified first, as in training. Nothing is decoded.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/json.h"
#include "dn/shard.h"
#include "dn/terminal.h"
#include "inspect/inspect.h"

struct range {
    int64_t least, median, greatest;
};

struct split_info {
    const dn_manifest_split *split;
    int64_t *class;                    /* of dn_source_count */
    int64_t without_class;             /* images; this and the next only with label sets */
    double classes_per_image;          /* mean, as the next */
    double unknown_per_image;          /* classes */
    int64_t hdf5, tfrecord;            /* bytes of the files */
    int by_class;                      /* images are stored by class */
    struct range width, height, bytes; /* of encoded images */
};

struct info {
    dn_shards *shards[DN_SPLITS];
    const dn_manifest *manifest; /* of the shards */
    struct split_info split[DN_SPLITS];
};

/* ---- reading ---- */

static int compare_numbers(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts x(count). The median is an element: of two in the middle the smaller. */
static struct range range_of(int64_t *x, int64_t count)
{
    qsort(x, (size_t)count, sizeof *x, compare_numbers);
    return (struct range){x[0], x[(count - 1) / 2], x[count - 1]};
}

static dn_status measure_images(struct split_info *s, const dn_shards *shards)
{
    const int64_t count = s->split->count;
    int64_t *const width = malloc(3 * (size_t)count * sizeof *width);
    int64_t *const height = width + count, *const bytes = height + count;
    DN_CHECK(width, DN_ENOMEM, "out of memory for the sizes of %" PRId64 " images", count);
    for (int64_t i = 0; i < count; i++) {
        dn_shard_place place;
        dn_shards_find(shards, i, &place);
        width[i] = place.width;
        height[i] = place.height;
        bytes[i] = place.bytes;
    }
    s->width = range_of(width, count);
    s->height = range_of(height, count);
    s->bytes = range_of(bytes, count);
    free(width);
    return DN_OK;
}

static void measure_sets(struct split_info *s, const dn_source *source)
{
    const int classes = source->info.classes;
    int64_t sum = 0, unknown = 0;
    for (int64_t i = 0; i < source->count; i++) {
        const uint8_t *const set = source->label_sets + (size_t)source->labels[i] * (size_t)classes;
        s->without_class +=
            !memchr(set, DN_PRESENT, (size_t)classes) && !memchr(set, DN_UNKNOWN, (size_t)classes);
    }
    for (int c = 0; c < classes; c++) {
        sum += s->class[c];
        unknown += source->count - s->class[classes + c];
    }
    s->classes_per_image = (double)sum / (double)source->count;
    s->unknown_per_image = (double)unknown / (double)source->count;
}

static dn_status measure_split(struct split_info *s, const dn_shards *shards)
{
    const dn_data_info *const info = &dn_shards_manifest(shards)->info;
    const dn_source source = dn_shards_source(shards, NULL);
    DN_TRY(dn_source_count(&source, &s->class));
    if (source.label_sets)
        measure_sets(s, &source);
    s->by_class = 1;
    for (int64_t i = 1; i < source.count; i++)
        s->by_class &= source.labels[i] >= source.labels[i - 1];
    for (int i = 0; i < s->split->shards; i++) {
        s->hdf5 += s->split->shard[i].hdf5.bytes;
        s->tfrecord += s->split->shard[i].tfrecord.bytes;
    }
    return dn_is_encoded(info) ? measure_images(s, shards) : DN_OK;
}

static dn_status look_at_split(struct info *v, const char *folder, dn_split_id id)
{
    DN_TRY(dn_shards_open(&v->shards[id], folder, id));
    v->manifest = dn_shards_manifest(v->shards[id]);
    DN_CHECK(v->manifest->hash == dn_shards_manifest(v->shards[DN_TEST])->hash, DN_EIO,
             "%s/dataset.json: found other bytes than at first: it was changed meanwhile", folder);
    v->split[id].split = &v->manifest->split[id];
    return measure_split(&v->split[id], v->shards[id]);
}

/* ---- as JSON ---- */

static json_t *range_to_json(const struct range *r)
{
    return json_pack("{s:I,s:I,s:I}", "least", (json_int_t)r->least, "median",
                     (json_int_t)r->median, "greatest", (json_int_t)r->greatest);
}

static json_t *split_to_json(const struct info *v, const struct split_info *s)
{
    json_t *const json =
        json_pack("{s:I,s:i,s:I,s:I,s:s}", "count", (json_int_t)s->split->count, "shards",
                  s->split->shards, "bytes", (json_int_t)s->hdf5, "tfrecord_bytes",
                  (json_int_t)s->tfrecord, "order", s->by_class ? "by class" : "mixed");
    if (v->manifest->label_sets) {
        json_object_set_new(json, "without_class", json_integer(s->without_class));
        json_object_set_new(json, "classes_per_image", json_real(s->classes_per_image));
        json_object_set_new(json, "unknown_per_image", json_real(s->unknown_per_image));
    }
    if (dn_is_encoded(&v->manifest->info)) {
        json_object_set_new(json, "width", range_to_json(&s->width));
        json_object_set_new(json, "height", range_to_json(&s->height));
        json_object_set_new(json, "image_bytes", range_to_json(&s->bytes));
    }
    return json;
}

static json_t *class_to_json(const struct info *v, int class)
{
    json_t *const json = json_pack("{s:s}", "name", v->manifest->class_names[class]);
    for (int s = 0; s < DN_SPLITS; s++)
        if (v->shards[s])
            json_object_set_new(json, dn_split_name((dn_split_id)s),
                                json_integer(v->split[s].class[class]));
    return json;
}

static json_t *to_json(const struct info *v)
{
    const dn_manifest *const m = v->manifest;
    const dn_data_info *const info = &m->info;
    json_t *const classes = json_array(), *const splits = json_object();
    for (int i = 0; i < info->classes; i++)
        json_array_append_new(classes, class_to_json(v, i));
    for (int s = 0; s < DN_SPLITS; s++)
        if (v->shards[s])
            json_object_set_new(splits, dn_split_name((dn_split_id)s),
                                split_to_json(v, &v->split[s]));
    return json_pack("{s:s,s:s,s:o,s:i,s:i,s:i,s:o,s:o,s:i,s:o,s:o}", "dataset", info->dataset,
                     "images", dn_is_encoded(info) ? "encoded" : "pixels", "source",
                     json_sprintf("%016" PRIx64, m->source), "channels", info->channels, "height",
                     info->height, "width", info->width, "mean",
                     dn_json_numbers(info->mean, info->channels), "std",
                     dn_json_numbers(info->std, info->channels), "label_sets", info->label_sets,
                     "classes", classes, "splits", splits);
}

/* ---- as text, from the JSON ---- */

enum { NAMES = 30, COLUMN = 20 };

/* Prints the first `width` characters of the text, padded by their number, not that of bytes. */
static void print_padded(const char *text, int width)
{
    const int columns = dn_text_columns(text);
    printf("%.*s%*s", dn_text_bytes(text, width), text, columns < width ? width - columns : 0, "");
}

/* Prints a number, a word or a range. */
static void print_value(const json_t *value)
{
    char text[64];
    json_int_t least, median, greatest;
    if (json_unpack((json_t *)value, "{s:I,s:I,s:I}", "least", &least, "median", &median,
                    "greatest", &greatest) == 0)
        snprintf(text, sizeof text, "%lld/%lld/%lld", least, median, greatest);
    else if (json_is_string(value))
        snprintf(text, sizeof text, "%s", json_string_value(value));
    else if (json_is_real(value))
        snprintf(text, sizeof text, "%.3f", json_real_value(value));
    else
        snprintf(text, sizeof text, "%lld", json_integer_value(value));
    printf(" %*s", COLUMN, text);
}

/* Prints a column for each split: its entry in `splits` or, if `key` is not NULL, the value there.
 */
static void print_columns(const json_t *splits, const char *key)
{
    for (int s = 0; s < DN_SPLITS; s++) {
        const json_t *const split = json_object_get(splits, dn_split_name((dn_split_id)s));
        if (split)
            print_value(key ? json_object_get(split, key) : split);
    }
    printf("\n");
}

static void print_row(const char *name, const json_t *splits, const char *key)
{
    print_padded(name, NAMES);
    print_columns(splits, key);
}

static void print_channels(const char *name, const double *values, int channels)
{
    printf("%-9s", name);
    for (int c = 0; c < channels; c++)
        printf(" %.6f", values[c]);
    printf("\n");
}

static void print_text(const dn_manifest *m, const char *folder, const json_t *json)
{
    const dn_data_info *const info = &m->info;
    const json_t *const splits = json_object_get(json, "splits"), *class;
    char shown[PATH_MAX];
    size_t i;
    printf("%s: %s, %d classes, ", dn_one_line_copy(shown, sizeof shown, folder), info->dataset,
           info->classes);
    if (info->label_sets > 0)
        printf("%d sets of them, ", info->label_sets);
    if (dn_is_encoded(info))
        printf("encoded images\n");
    else
        printf("pixels of %dx%dx%d\n", info->channels, info->height, info->width);
    printf("%-9s %016" PRIx64 "\n", "source", m->source);
    print_channels("mean", info->mean, info->channels);
    print_channels("std", info->std, info->channels);
    printf("%*s", NAMES, "");
    for (int s = 0; s < DN_SPLITS; s++)
        if (m->split[s].shards > 0)
            printf(" %*s", COLUMN, dn_split_name((dn_split_id)s));
    printf("\n");
    print_row("images", splits, "count");
    print_row("shards", splits, "shards");
    print_row("bytes of shards", splits, "bytes");
    if (m->shard[0].tfrecord.name[0])
        print_row("bytes of TFRecords", splits, "tfrecord_bytes");
    print_row("order", splits, "order");
    if (dn_is_encoded(info)) {
        puts("least/median/greatest");
        print_row("  width", splits, "width");
        print_row("  height", splits, "height");
        print_row("  bytes of an image", splits, "image_bytes");
    }
    if (info->label_sets > 0) {
        print_row("images without a class", splits, "without_class");
        print_row("classes per image", splits, "classes_per_image");
        if (dn_manifest_has_unknown(m))
            print_row("unknown classes per image", splits, "unknown_per_image");
    }
    puts("classes");
    json_array_foreach(json_object_get(json, "classes"), i, class)
    {
        printf("  ");
        print_padded(m->class_names[i], NAMES - 2);
        print_columns(class, NULL);
    }
}

dn_status dn_records_info(const char *folder, int as_json)
{
    struct info v = {0};
    dn_status status;
    DN_TRY_OR_DONE(look_at_split(&v, folder, DN_TEST)); /* all records have it */
    for (int s = 0; s < DN_SPLITS; s++)
        if (!v.shards[s] && v.manifest->split[s].shards > 0)
            DN_TRY_OR_DONE(look_at_split(&v, folder, (dn_split_id)s));
    if (as_json) {
        status = dn_json_save(to_json(&v), NULL, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    } else {
        json_t *const json = to_json(&v);
        print_text(v.manifest, folder, json);
        json_decref(json);
    }
done:
    for (int s = 0; s < DN_SPLITS; s++) {
        free(v.split[s].class);
        dn_shards_close(&v.shards[s]);
    }
    return status;
}
