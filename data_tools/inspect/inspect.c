/*
 * Draws images of a folder of records; see inspect.h.
 *
 * Every file's checksum is verified first, as in training. The random parameters of a transform are
 * those of training: functions of (seed, epoch, position), where the epoch's order determines the
 * positions of training images.
 */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/kernels.h"
#include "dn/rng.h"
#include "dn/shard.h"
#include "dn/words.h"
#include "inspect/inspect.h"
#include "inspect/sheet.h"

enum { DEFAULT_COUNT = 64, DEFAULT_SIDE = 128, GAP = 8 };

struct inspect {
    const char *folder;
    const dn_records_options *options;
    dn_split_id split;
    dn_shards *shards;
    const dn_manifest *manifest; /* of the shards, as is: */
    dn_source source;
    const dn_kernels *kernels;
    dn_transform augment; /* if the options have one */
    dn_request *request;  /* (count): the images that are shown */
    int64_t count;
    dn_transform_memory memory;
};

/* ---- which images ---- */

/* *class = the number of --class, or -1 for all. */
static dn_status find_class(const struct inspect *v, int *class)
{
    const char *const name = v->options->class;
    dn_nearest nearest = {.word = name};
    *class = -1;
    if (!name)
        return DN_OK;
    for (*class = 0; *class < v->source.info.classes; ++*class)
        if (dn_nearest_try(&nearest, v->manifest->class_names[*class]))
            return DN_OK;
    return dn_fail(DN_EINVAL, "--class: found \"%s\", which is no class of %s%s", name, v->folder,
                   dn_nearest_hint(&nearest, ""));
}

/* request(count) = all images of the class, by their position in the epoch, or as they are stored.
 */
static dn_status list_images(struct inspect *v, int class)
{
    const int64_t count = v->source.count;
    uint32_t *const order = malloc((size_t)count * sizeof *order);
    v->request = malloc((size_t)count * sizeof *v->request);
    if (order && v->request) {
        for (int64_t i = 0; i < count; i++)
            order[i] = (uint32_t)i;
        if (v->options->augment && v->split == DN_TRAIN)
            dn_random_permutation(order, (size_t)count, (uint64_t)v->options->seed,
                                  (uint64_t)v->options->epoch);
        for (int64_t i = 0; i < count; i++)
            if (class < 0 || dn_image_presence(&v->source, order[i], class) == DN_PRESENT)
                v->request[v->count++] =
                    (dn_request){.index = order[i], .epoch = v->options->epoch, .position = i};
    }
    free(order);
    DN_CHECK(order && v->request, DN_ENOMEM, "%s: out of memory for %" PRId64 " images", v->folder,
             count);
    return DN_OK;
}

/* Chooses the image of --sample. */
static void choose_sample(struct inspect *v)
{
    int64_t i = 0;
    while (v->request[i].index != v->options->sample)
        i++;
    v->request[0] = v->request[i];
    v->count = 1;
}

/* Chooses the first images of an epoch; without --augment, images spread evenly over the split. */
static void choose_some(struct inspect *v)
{
    const int64_t asked = v->options->count ? v->options->count : DEFAULT_COUNT;
    const int64_t count = asked < v->count ? asked : v->count;
    if (!v->options->augment)
        for (int64_t i = 0; i < count; i++)
            v->request[i] = v->request[i * v->count / count];
    v->count = count;
}

static dn_status choose_images(struct inspect *v)
{
    const dn_records_options *const o = v->options;
    int class;
    DN_CHECK(o->sample < 0 || (!o->class && !o->count), DN_EINVAL,
             "--sample: found it with --class or --count, expected it alone");
    DN_CHECK(o->sample >= 0 || o->png, DN_EINVAL,
             "found no --png FILE, expected the picture to make, or --sample N");
    DN_CHECK(o->sample < v->source.count, DN_EINVAL,
             "--sample: found %" PRId64 ", expected 0 to %" PRId64, o->sample, v->source.count - 1);
    DN_TRY(find_class(v, &class));
    DN_TRY(list_images(v, class));
    DN_CHECK(v->count > 0, DN_EINVAL, "--class: found no image of \"%s\" in the %s split", o->class,
             dn_split_name(v->split));
    if (o->sample >= 0)
        choose_sample(v);
    else
        choose_some(v);
    return DN_OK;
}

/* ---- their pixels ---- */

/* rgb(height, width, 3) from planes(channels, height, width); images without three channels become
 * gray. */
static dn_status interleave(dn_pixels *image, int channels, int height, int width,
                            const uint8_t *planes)
{
    const size_t plane = (size_t)height * (size_t)width;
    DN_TRY(dn_buffer_grow(&image->rgb, 3 * plane));
    image->height = height;
    image->width = width;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < 3; c++)
            image->rgb.bytes[3 * i + c] = planes[(channels >= 3 ? c : 0) * plane + i];
    return DN_OK;
}

/* *file = the bytes of an encoded image, in v->memory, or the pixels. */
static dn_status read_stored(struct inspect *v, int64_t index, dn_encoded *file)
{
    dn_buffer *const buffer = &v->memory.file;
    dn_status status;
    if (dn_is_encoded(&v->source.info)) {
        status = dn_shards_read_encoded(v->shards, index, buffer, &file->size);
    } else {
        file->size = dn_image_values(&v->source.info);
        status = dn_buffer_grow(buffer, file->size);
        if (status == DN_OK)
            status = dn_shards_read(v->shards, index, 1, buffer->bytes);
    }
    file->bytes = buffer->bytes;
    return status;
}

static dn_status augment_image(struct inspect *v, const dn_request *request, const dn_encoded *file,
                               dn_pixels *image)
{
    const dn_transform *const t = &v->augment;
    const dn_data_info *const info = &v->source.info;
    const size_t plane = (size_t)t->height * (size_t)t->width, values = (size_t)t->channels * plane;
    float *const floats = malloc(values * (sizeof *floats + 1));
    DN_CHECK(floats, DN_ENOMEM, "%s: out of memory for an image", v->folder);
    dn_status status = dn_is_encoded(info)
                           ? dn_transform_encoded(t, request, file, &v->memory, floats)
                           : dn_transform_pixels(t, request, file->bytes, info->height, info->width,
                                                 &v->memory, floats);
    uint8_t *const planes = (uint8_t *)(floats + values);
    for (size_t i = 0; i < values && status == DN_OK; i++)
        planes[i] = dn_transform_byte(t, (int)(i / plane), floats[i]);
    if (status == DN_OK)
        status = interleave(image, t->channels, t->height, t->width, planes);
    free(floats);
    return status;
}

/* *image = the image as it is stored, or as training sees it. */
static dn_status read_image(struct inspect *v, const dn_request *request, dn_pixels *image)
{
    const dn_data_info *const info = &v->source.info;
    char name[PATH_MAX + 64];
    dn_encoded file = {.name = name};
    dn_shards_name_image(v->shards, request->index, name, sizeof name);
    DN_TRY(read_stored(v, request->index, &file));
    if (v->options->augment)
        return augment_image(v, request, &file, image);
    return dn_is_encoded(info)
               ? dn_image_decode(&file, NULL, 1, image)
               : interleave(image, info->channels, info->height, info->width, file.bytes);
}

/* ---- one of them ---- */

static const char *format_of(const dn_encoded *file)
{
    return dn_image_format_of(file->bytes, file->size) == DN_IMAGE_JPEG ? "JPEG" : "PNG";
}

/* name = the name of the image's file, made printable; "" if it is not known. */
static dn_status read_name(const struct inspect *v, int64_t index,
                           char name[DN_SHARD_FILE_NAME + 1])
{
    dn_file_names names = {0};
    const char *found;
    const dn_status status = dn_shards_file_name(v->shards, index, &names, &found);
    dn_one_line_copy(name, DN_SHARD_FILE_NAME + 1, status == DN_OK && found ? found : "");
    dn_file_names_free(&names);
    return status;
}

/* Prints the numbers and names of the image's classes. */
static void print_classes(const struct inspect *v, int64_t index)
{
    const dn_manifest *const m = v->manifest;
    int has_class = 0;
    for (int c = 0; c < m->info.classes; c++) {
        const dn_presence has = dn_image_presence(&v->source, index, c);
        has_class |= has == DN_PRESENT;
        if (has != DN_ABSENT)
            printf("%-8s %d %s\n", has == DN_PRESENT ? "class" : "unknown", c, m->class_names[c]);
    }
    if (!has_class)
        printf("class    none\n");
}

static dn_status print_facts(struct inspect *v, const dn_request *request)
{
    const dn_data_info *const info = &v->source.info;
    dn_shard_place at;
    dn_encoded file;
    char name[DN_SHARD_FILE_NAME + 1];
    DN_TRY(read_stored(v, request->index, &file));
    DN_TRY(read_name(v, request->index, name));
    dn_shards_find(v->shards, request->index, &at);
    printf("sample   %s %" PRId64 " of %" PRId64 "\n", dn_split_name(v->split), request->index,
           v->source.count);
    print_classes(v, request->index);
    if (name[0])
        printf("file     %s\n", name);
    if (dn_is_encoded(info))
        printf("size     %dx%d, %s\n", at.width, at.height, format_of(&file));
    else
        printf("size     %dx%d, %d channels\n", info->width, info->height, info->channels);
    printf("bytes    %zu\n", file.size);
    printf("xxh3     %016" PRIx64 "\n", (uint64_t)XXH3_64bits(file.bytes, file.size));
    char shown[PATH_MAX];
    printf("shard    %s/%s, image %" PRId64 "\n", dn_one_line_copy(shown, sizeof shown, v->folder),
           at.shard->hdf5.name, at.number);
    if (dn_is_encoded(info))
        printf("offset   %" PRId64 "\n", at.address);
    else
        printf("offset   %" PRId64 ", the chunk of images %" PRId64 " to %" PRId64 " in %" PRId64
               " bytes\n",
               at.address, at.first, at.first + at.count - 1, at.bytes);
    if (v->options->augment)
        printf("epoch    %" PRId64 ", position %" PRId64 "\n", request->epoch, request->position);
    return DN_OK;
}

static dn_status show_sample(struct inspect *v)
{
    dn_pixels image = {0};
    dn_status status = read_image(v, v->request, &image);
    if (status == DN_OK && v->options->png)
        status = dn_sheet_save(&image, v->options->png);
    if (status == DN_OK)
        status = print_facts(v, v->request);
    dn_buffer_free(&image.rgb);
    return status;
}

/* ---- many ---- */

struct grid {
    int side;  /* of the cell of an image */
    int scale; /* of the text below it */
    int columns, rows;
};

static int cell_width(const struct grid *g)
{
    return g->side + GAP;
}

static int cell_height(const struct grid *g)
{
    return g->side + GAP + 2 * DN_GLYPH_HEIGHT * g->scale;
}

static struct grid plan_grid(const struct inspect *v)
{
    struct grid g = {.side = (int)v->options->size};
    const int most = v->augment.height > v->augment.width ? v->augment.height : v->augment.width;
    if (g.side == 0)
        g.side = most > DEFAULT_SIDE ? most : DEFAULT_SIDE;
    g.scale = g.side < 192 ? 1 : 2;
    g.columns = (int)ceil(sqrt((double)v->count));
    g.rows = (int)((v->count + g.columns - 1) / g.columns);
    return g;
}

/* *to = the image, with each pixel as a square of `times` x `times` pixels. */
static dn_status enlarge(const dn_pixels *image, int times, dn_pixels *to)
{
    *to = (dn_pixels){image->width * times, image->height * times, to->rgb};
    DN_TRY(dn_buffer_grow(&to->rgb, (size_t)to->width * (size_t)to->height * 3));
    uint8_t *at = to->rgb.bytes;
    for (int y = 0; y < to->height; y++)
        for (int x = 0; x < to->width; x++, at += 3)
            memcpy(at,
                   image->rgb.bytes +
                       3 * ((size_t)(y / times) * (size_t)image->width + (size_t)(x / times)),
                   3);
    return DN_OK;
}

/* *to = the image, reduced so that its longer side is `side`. */
static dn_status reduce(struct inspect *v, const dn_pixels *image, int side, dn_pixels *to)
{
    const int longer = image->width > image->height ? image->width : image->height;
    const int width = (int)fmax(1, (double)image->width * side / longer);
    const int height = (int)fmax(1, (double)image->height * side / longer);
    const dn_box whole = {0, 0, image->width, image->height};
    const dn_raster from = {image->rgb.bytes, image->height, image->width, 3};
    DN_TRY(dn_buffer_grow(&v->memory.planes, 3 * (size_t)width * (size_t)height));
    DN_TRY(dn_resize(dn_pixel_kernels_of(v->kernels), &v->memory.resizing, &from, &whole, &whole,
                     height, width, v->memory.planes.bytes));
    return interleave(to, 3, height, width, v->memory.planes.bytes);
}

/* Draws the i-th image, in the middle of its cell, and its text. */
static dn_status draw_image(struct inspect *v, const struct grid *g, int64_t i, dn_pixels *sheet)
{
    const dn_request *const request = &v->request[i];
    const int left = GAP + (int)(i % g->columns) * cell_width(g);
    const int top = GAP + (int)(i / g->columns) * cell_height(g);
    const int letters = g->side / (DN_GLYPH_WIDTH * g->scale), line = DN_GLYPH_HEIGHT * g->scale;
    dn_pixels image = {0}, tile = {0};
    char number[24], classes[256];
    dn_status status;
    DN_TRY_OR_DONE(read_image(v, request, &image));
    const int longer = image.width > image.height ? image.width : image.height;
    DN_TRY_OR_DONE(longer <= g->side ? enlarge(&image, g->side / longer, &tile)
                                     : reduce(v, &image, g->side, &tile));
    dn_sheet_draw(sheet, &tile, left + (g->side - tile.width) / 2,
                  top + (g->side - tile.height) / 2);
    dn_manifest_label_text(v->manifest, v->source.labels[request->index], classes, sizeof classes);
    dn_sheet_write(sheet, classes, letters, g->scale, left, top + g->side + 2 * g->scale);
    snprintf(number, sizeof number, "%" PRId64, request->index);
    dn_sheet_write(sheet, number, letters, g->scale, left, top + g->side + line + 2 * g->scale);
done:
    dn_buffer_free(&image.rgb);
    dn_buffer_free(&tile.rgb);
    return status;
}

static dn_status show_sheet(struct inspect *v)
{
    const struct grid g = plan_grid(v);
    dn_pixels sheet;
    dn_status status =
        dn_sheet_create(&sheet, GAP + g.columns * cell_width(&g), GAP + g.rows * cell_height(&g));
    for (int64_t i = 0; i < v->count && status == DN_OK; i++)
        status = draw_image(v, &g, i, &sheet);
    if (status == DN_OK)
        status = dn_sheet_save(&sheet, v->options->png);
    if (status == DN_OK)
        printf("%s: %" PRId64 " of the %" PRId64 " %s images of %s, %d in a row, each with its "
               "class and number\n",
               v->options->png, v->count, v->source.count, dn_split_name(v->split), v->folder,
               g.columns);
    dn_buffer_free(&sheet.rgb);
    return status;
}

/* ---- all of it ---- */

static dn_status inspect_records(struct inspect *v)
{
    const dn_records_options *const o = v->options;
    static const char *const of_augment[] = {"epoch", "seed"};
    for (int i = 0; i < 2; i++)
        DN_CHECK(o->augment || !dn_records_options_given(o, of_augment[i]), DN_EINVAL,
                 "--%s: found it without --augment, so nothing is drawn", of_augment[i]);
    DN_CHECK(o->sample < 0 || o->size == 0, DN_EINVAL,
             "--size: found it with --sample, whose picture has its own size");
    DN_TRY(dn_kernels_select(&v->kernels, ""));
    DN_TRY(dn_shards_open(&v->shards, v->folder, v->split));
    v->manifest = dn_shards_manifest(v->shards);
    v->source = dn_shards_source(v->shards, NULL);
    if (o->augment) {
        const dn_status status = dn_transform_parse(&v->augment, dn_pixel_kernels_of(v->kernels),
                                                    &v->source.info, o->augment, (uint64_t)o->seed);
        DN_CHECK(status == DN_OK, status, "--augment %s: %s", o->augment, dn_message());
    }
    DN_TRY(choose_images(v));
    return o->sample >= 0 ? show_sample(v) : show_sheet(v);
}

dn_status dn_records_inspect(const char *folder, const dn_records_options *options)
{
    struct inspect v = {.folder = folder, .options = options, .split = (dn_split_id)options->split};
    const dn_status status = inspect_records(&v);
    dn_transform_memory_free(&v.memory);
    dn_shards_close(&v.shards);
    free(v.request);
    return status;
}
