/* Records of a made-up data set; see made_up.h. */
#include "made_up.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/file.h"
#include "trial_files.h"

uint8_t made_up_pixel(dn_split_id split, int64_t image, int i)
{
    const uint32_t x = (uint32_t)(image * IMAGE + i) * 2654435761u + (uint32_t)split;
    return image % 3 == 0 ? (uint8_t)image : (uint8_t)(x >> 24);
}

static int label_of(int64_t image)
{
    return (int)(image * 7 % CLASSES);
}

static const char *const names[CLASSES] = {"a", "b c", "Straße", "dd"};

static dn_raw_load load_made_up;

const dn_raw_set made_up = {
    .info = {.dataset = "MADE_UP",
             .channels = CHANNELS,
             .height = HEIGHT,
             .width = WIDTH,
             .classes = CLASSES},
    .prefix = "made_up",
    .class_names = names,
    .count = {TRAIN, TEST},
    .form = {{.name = "made-up", .subfolder = ".", .probe = "exe"}}, /* needs no files */
    .load = load_made_up};

static dn_status load_made_up(const dn_raw_set *set, const char *source,
                              const dn_records_options *o, dn_split_id split, dn_raw_split *images)
{
    (void)source, (void)o;
    DN_TRY(dn_raw_split_create(images, set, split == DN_TRAIN ? TRAIN : TEST));
    uint8_t *pixels = images->pixels;
    for (int64_t image = 0; image < images->count; image++) {
        for (int i = 0; i < IMAGE; i++)
            *pixels++ = made_up_pixel(split, image, i);
        images->labels[image] = (uint16_t)label_of(image);
    }
    return DN_OK;
}

dn_records_options made_up_options(void)
{
    return (dn_records_options){
        .source = "/proc/self", .out = ".", .shards = SHARDS, .zstd_level = 3};
}

int made_up_build(void **state)
{
    dn_log_set_level(DN_QUIET);
    if (system("rm -f " MANIFEST " made_up-*") != 0)
        return -1;
    const dn_records_options o = made_up_options();
    int made;
    return dn_records_make(&made_up, &o, &made) == DN_OK && made ? 0 : -1;
}

dn_status made_up_read(void)
{
    dn_shards *shards;
    uint8_t pixels[TRAIN * IMAGE];
    dn_status status = dn_shards_open(&shards, ".", DN_TRAIN);
    if (status != DN_OK)
        assert_null(shards);
    else
        status = dn_shards_read(shards, 0, TRAIN, pixels);
    dn_shards_close(&shards);
    return status;
}

void made_up_expect(dn_status status, dn_status expected, const char *file, const char *text)
{
    const char *const named = strstr(dn_message(), file);
    if (status != expected || !named || named > dn_message() + strlen("./") ||
        !strstr(dn_message(), text) || strchr(dn_message(), '\n'))
        fail_msg("found status %d, \"%s\"; expected %d, \"%s\" and \"%s\"", status, dn_message(),
                 expected, file, text);
}

/* Checks that dn_shards_read reads the images [first, first + count) and writes nothing else. */
static void check_range(const dn_shards *shards, dn_split_id split, int64_t first, int64_t count)
{
    uint8_t pixels[TRAIN * IMAGE + 1];
    memset(pixels, 0xa5, sizeof pixels);
    assert_int_equal(dn_shards_read(shards, first, count, pixels), DN_OK);
    for (int64_t i = 0; i < count; i++)
        for (int p = 0; p < IMAGE; p++)
            assert_int_equal(pixels[i * IMAGE + p], made_up_pixel(split, first + i, p));
    assert_int_equal(pixels[count * IMAGE], 0xa5);
}

void made_up_check(dn_split_id split)
{
    const int64_t count = made_up.count[split];
    dn_shards *shards;
    assert_int_equal(dn_shards_open(&shards, ".", split), DN_OK);
    const dn_source images = dn_shards_source(shards, NULL);
    const dn_data_info *const info = &images.info;
    assert_string_equal(info->dataset, "MADE_UP");
    assert_true(images.count == count && info->channels == CHANNELS && info->height == HEIGHT &&
                info->width == WIDTH && info->classes == CLASSES);
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(images.labels[i], label_of(i));
    check_range(shards, split, 0, count);
    for (int64_t first = 0; first + 19 <= count; first += 11) /* across chunks and shards */
        check_range(shards, split, first, 1 + first % 19);
    check_range(shards, split, count, 0);
    dn_shards_close(&shards);
    assert_null(shards);
}

void made_up_edit(const char *commands)
{
    char command[256];
    snprintf(command, sizeof command, "sed -i '%s' " MANIFEST, commands);
    assert_int_equal(system(command), 0);
}

void made_up_seal(void)
{
    enum { SEAL = 31 };
    uint8_t *bytes;
    size_t size;
    assert_int_equal(dn_file_load(MANIFEST, &bytes, &size), DN_OK);
    FILE *const file = fopen(MANIFEST, "w");
    assert_non_null(file);
    fwrite(bytes, 1, size - SEAL, file);
    fprintf(file, "  \"xxh3\": \"%016" PRIx64 "\"\n}\n", XXH3_64bits(bytes, size - SEAL));
    assert_int_equal(fclose(file), 0);
    free(bytes);
}
