/*
 * Encoded shards as training reads them: images have the bytes of their files; every changed byte
 * is detected, although no file is hashed at the start; and staged copies (dn/stage.h), which may
 * be damaged, removed, shared by two runs, left over, or too large.
 */
#include <stdatomic.h>
#include <inttypes.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <png.h>

#include "dn/file.h"
#include "dn/rng.h"
#include "dn/shard.h"
#include "dn/stage.h"
#include "folder/folder.h"
#include "trial_files.h"

enum { CLASSES = 2, IMAGES = 9, SIDE = 12, TRAIN = CLASSES * IMAGES - 2, SHARDS = 3 };

enum { PATH = 128 };

/* In the test's own folder. */
static const char records[] = "records", stage[] = "stage";

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

static void make_png(int class, int number)
{
    uint8_t pixels[SIDE * SIDE * 3];
    char path[PATH];
    png_image png = {
        .version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = PNG_FORMAT_RGB};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] =
            (uint8_t)dn_random(1, DN_STREAM_SYNTHETIC, (uint64_t)(class * IMAGES + number), i)
                .word[0];
    snprintf(path, sizeof path, "images/%d/%d.png", class, number);
    assert_true(png_image_write_to_file(&png, path, 0, pixels, 0, NULL));
}

static int make_records(void **state)
{
    char out[PATH_MAX];
    int made;
    if (trial_folder_make(state) != 0)
        return -1;
    dn_log_set_level(DN_QUIET);
    run("mkdir -p images/0 images/1");
    for (int i = 0; i < CLASSES * IMAGES; i++)
        make_png(i / IMAGES, i % IMAGES);
    const dn_records_options options = {
        .source = "images", .out = records, .shards = SHARDS, .zstd_level = 3};
    const dn_status status = dn_folder_make(&dn_raw_folder, &options, out, &made);
    if (status != DN_OK)
        print_error("%s\n", dn_message());
    return status;
}

/* The images and labels of the train split. */
typedef struct content {
    size_t size;
    uint8_t bytes[1 << 17];
} content;

static dn_status read_images(const dn_shards *shards, content *c)
{
    dn_buffer buffer = {0};
    dn_status status = DN_OK;
    const dn_source source = dn_shards_source(shards, NULL);
    c->size = 0;
    for (int64_t i = 0; i < source.count && status == DN_OK; i++) {
        size_t size;
        status = dn_shards_read_encoded(shards, i, &buffer, &size);
        if (status != DN_OK)
            break;
        assert_true(c->size + size + sizeof *source.labels <= sizeof c->bytes);
        memcpy(c->bytes + c->size, buffer.bytes, size);
        memcpy(c->bytes + c->size + size, &source.labels[i], sizeof *source.labels);
        c->size += size + sizeof *source.labels;
    }
    dn_buffer_free(&buffer);
    return status;
}

/* Reads the train split as a rank does. */
static dn_status read_train(content *c)
{
    dn_shards *shards;
    DN_TRY(dn_shards_open(&shards, records, DN_TRAIN));
    const dn_status status = read_images(shards, c);
    dn_shards_close(&shards);
    return status;
}

static content whole, now; /* as made; as last read */

static void check_now(const dn_shards *shards)
{
    assert_int_equal(read_images(shards, &now), DN_OK);
    assert_true(now.size == whole.size && memcmp(now.bytes, whole.bytes, whole.size) == 0);
}

static void shard_path(char path[PATH], const char *folder, int shard)
{
    snprintf(path, PATH, "%s/images-train-%05d-of-%05d.h5", folder, shard, SHARDS);
}

/* Changes bytes of the last image, which 1 KiB of HDF5's follows. */
static void damage(const char *path)
{
    int64_t size;
    assert_int_equal(dn_file_size(path, &size), DN_OK);
    for (int i = 0; i < 64; i++)
        trial_flip(path, (long)size - 1500 + i);
}

/* Each image has the bytes of its file and the label of its folder. */
static void test_read(void **state)
{
    uint8_t *bytes;
    size_t size, images = 0;
    char path[PATH];
    assert_int_equal(read_train(&whole), DN_OK);
    for (int i = 0; i < CLASSES * IMAGES; i++) {
        snprintf(path, sizeof path, "images/%d/%d.png", i / IMAGES, i % IMAGES);
        assert_int_equal(dn_file_load(path, &bytes, &size), DN_OK);
        const uint8_t *const found = memmem(whole.bytes, whole.size, bytes, size);
        images += found && found[size] == i / IMAGES && found[size + 1] == 0;
        free(bytes);
    }
    assert_int_equal(images, TRAIN);
}

/* ---- names of files ---- */

/* The names of the train split, one a line. */
static dn_status read_names(content *c)
{
    dn_shards *shards;
    dn_file_names names = {0};
    DN_TRY(dn_shards_open(&shards, records, DN_TRAIN));
    dn_status status = DN_OK;
    c->size = 0;
    for (int64_t i = 0; i < TRAIN && status == DN_OK; i++) {
        const char *name = NULL;
        status = dn_shards_file_name(shards, i, &names, &name);
        if (status == DN_OK)
            c->size += (size_t)sprintf((char *)c->bytes + c->size, "%s\n", name);
    }
    dn_file_names_free(&names);
    dn_shards_close(&shards);
    return status;
}

/* In any order, each name is that of the file that the image was made from. */
static void test_names(void **state)
{
    dn_shards *shards;
    dn_file_names names = {0};
    dn_buffer buffer = {0};
    assert_int_equal(dn_shards_open(&shards, records, DN_TRAIN), DN_OK);
    for (int64_t i = 0; i < TRAIN; i++) {
        const int64_t image = i * 5 % TRAIN;
        const char *name;
        char path[PATH];
        uint8_t *bytes;
        size_t size, image_size;
        assert_int_equal(dn_shards_file_name(shards, image, &names, &name), DN_OK);
        snprintf(path, sizeof path, "images/%s", name);
        assert_int_equal(dn_file_load(path, &bytes, &size), DN_OK);
        assert_int_equal(dn_shards_read_encoded(shards, image, &buffer, &image_size), DN_OK);
        assert_int_equal(image_size, size);
        assert_memory_equal(buffer.bytes, bytes, size);
        free(bytes);
    }
    dn_buffer_free(&buffer);
    dn_file_names_free(&names);
    dn_shards_close(&shards);
}

/* Damaged names do not affect training; reading them fails. */
static void test_changed_names(void **state)
{
    char path[PATH];
    uint8_t *bytes;
    size_t size;
    shard_path(path, records, 1);
    assert_int_equal(dn_file_load(path, &bytes, &size), DN_OK);
    const uint8_t *const found = memmem(bytes, size, ".png", 4);
    assert_non_null(found);
    for (int i = 0; i < 5; i++) { /* also the zero after the name */
        trial_flip(path, found - bytes + i);
        assert_int_equal(read_train(&now), DN_OK);
        assert_int_equal(read_names(&now), DN_ECORRUPT);
        assert_non_null(strstr(dn_message(), "file_names is damaged: found bytes of checksum"));
        trial_flip(path, found - bytes + i);
    }
    assert_int_equal(read_names(&now), DN_OK);
    free(bytes);
}

/* A changed byte is detected, or nothing that is read has changed. */
static void test_changed_bytes(void **state)
{
    enum { EVERY = 31 };
    static content names;
    char path[PATH];
    int64_t size, detected = 0;
    assert_int_equal(read_names(&names), DN_OK);
    shard_path(path, records, 1);
    assert_int_equal(dn_file_size(path, &size), DN_OK);
    for (long at = 0; at < size; at += EVERY) {
        trial_flip(path, at);
        const dn_status status = read_train(&now);
        if (status == DN_OK && (now.size != whole.size || memcmp(now.bytes, whole.bytes, now.size)))
            fail_msg("byte %ld: other images or labels are accepted", at);
        detected += status != DN_OK;
        if (status == DN_OK && read_names(&now) == DN_OK &&
            memcmp(now.bytes, names.bytes, names.size) != 0)
            fail_msg("byte %ld: other names are accepted", at);
        trial_flip(path, at);
    }
    assert_true(detected * EVERY > size / 4);             /* most bytes are of images */
    run("echo >>records/images-train-00001-of-00003.h5"); /* a byte more */
    assert_int_equal(read_train(&now), DN_ECORRUPT);
    run("truncate -s -1 records/images-train-00001-of-00003.h5");
    assert_int_equal(read_train(&now), DN_OK);
    damage(path);
    assert_int_equal(read_train(&now), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "is damaged: found bytes of checksum"));
}

/* ---- copies ---- */

/* A run on a node that stages. */
typedef struct node {
    dn_shards *shards;
    dn_stage *stage;
    atomic_uchar copied[SHARDS];
} node;

static void open_shards(node *n)
{
    *n = (node){0};
    assert_int_equal(dn_shards_open(&n->shards, records, DN_TRAIN), DN_OK);
    assert_int_equal(dn_stage_bytes(n->shards), sizeof n->copied);
    assert_int_equal(dn_stage_use(n->shards, stage, n->copied), DN_OK);
}

static void open_node(node *n)
{
    open_shards(n);
    dn_stage_start(&n->stage, n->shards);
}

static void close_node(node *n)
{
    dn_stage_stop(&n->stage);
    assert_null(n->stage);
    dn_shards_close(&n->shards);
}

static int copies(node *n)
{
    int count = 0;
    for (int i = 0; i < SHARDS; i++)
        count += atomic_load(&n->copied[i]);
    return count;
}

static void await_copies(node *n)
{
    for (int i = 0; copies(n) < SHARDS; i++) {
        assert_true(i < 600000);
        usleep(1000);
    }
}

static void stage_folder(char path[PATH / 2], const dn_shards *shards)
{
    snprintf(path, PATH / 2, "stage/dn_dist-%016" PRIx64, dn_shards_manifest(shards)->hash);
}

static void copy_path(char path[PATH], const dn_shards *shards, int shard)
{
    char folder[PATH / 2];
    stage_folder(folder, shards);
    shard_path(path, folder, shard);
}

/* Returns 1 if the folder of the copies is empty, and removes it. */
static int is_clean(void)
{
    return rmdir(stage) == 0;
}

/* The same bytes are read from the source, from some copies, from copies alone, and after a copy
 * was damaged or removed; no file remains. */
static void test_stage(void **state)
{
    node n;
    char path[PATH];
    open_node(&n);
    check_now(n.shards);
    await_copies(&n);
    run("mv records away");
    check_now(n.shards);
    assert_int_equal(copies(&n), SHARDS);
    run("mv away records");
    copy_path(path, n.shards, 0);
    damage(path);
    copy_path(path, n.shards, 2);
    unlink(path);
    check_now(n.shards);
    assert_int_equal(copies(&n), 1);
    close_node(&n);
    assert_true(is_clean());
    open_node(&n); /* stopped at once */
    close_node(&n);
    assert_true(is_clean());
}

/* The second run uses the copies of the first and outlives it; the last one removes them. */
static void test_two_runs(void **state)
{
    node a, b;
    struct stat first, second;
    char path[PATH];
    open_node(&a);
    open_node(&b);
    await_copies(&a);
    await_copies(&b);
    copy_path(path, a.shards, 1);
    assert_int_equal(stat(path, &first), 0);
    close_node(&a);
    assert_int_equal(stat(path, &second), 0);
    assert_true(first.st_ino == second.st_ino);
    check_now(b.shards);
    assert_int_equal(copies(&b), SHARDS);
    close_node(&b);
    assert_true(is_clean());
}

/* A killed run left an intact copy, a damaged one, a partial one, and another data set's folder,
 * which is removed unless another run uses it. */
static void test_leftovers(void **state)
{
    node n;
    struct stat before, after;
    char folder[PATH / 2], path[PATH], kept[PATH], command[4 * PATH];
    dn_shards *shards;
    assert_int_equal(dn_shards_open(&shards, records, DN_TRAIN), DN_OK);
    stage_folder(folder, shards);
    snprintf(command, sizeof command,
             "mkdir -p %s && cp records/*-0000[01]-of-* %s && "
             "touch %s/images-train-00002-of-00003.h5.partial && cd stage && "
             "mkdir dn_dist-0123456789abcdef dn_dist-00000000000000aa && "
             "touch dn_dist-0123456789abcdef/x.h5 dn_dist-00000000000000aa/x.h5",
             folder, folder, folder);
    run(command);
    copy_path(path, shards, 1);
    damage(path);
    copy_path(kept, shards, 0);
    assert_int_equal(stat(kept, &before), 0);
    FILE *const lock = fopen("stage/dn_dist-00000000000000aa/lock", "w");
    assert_int_equal(flock(fileno(lock), LOCK_SH), 0);

    open_node(&n);
    await_copies(&n);
    assert_int_equal(stat(kept, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    run("mv records away");
    check_now(n.shards);
    run("mv away records");
    close_node(&n);
    assert_int_equal(access("stage/dn_dist-0123456789abcdef", F_OK), -1);
    assert_int_equal(access("stage/dn_dist-00000000000000aa/x.h5", F_OK), 0);
    fclose(lock);
    open_node(&n);
    close_node(&n);
    dn_shards_close(&shards);
    assert_true(is_clean());
}

#define SAID "said"

/* Redirects standard error to SAID, at the log level of ranks other than 0. Returns a descriptor
 * of the previous one. */
static int log_to_file(void)
{
    const int before = dup(STDERR_FILENO), said = open(SAID, O_CREAT | O_WRONLY | O_TRUNC, 0666);
    assert_true(before >= 0 && said >= 0);
    assert_int_equal(dup2(said, STDERR_FILENO), STDERR_FILENO);
    close(said);
    dn_log_set_level(DN_WARN_HERE);
    return before;
}

static void log_as_before(int before)
{
    dup2(before, STDERR_FILENO);
    close(before);
    dn_log_set_level(DN_QUIET);
    unlink(SAID);
}

/* Waits until the stage has warned that it gave up. */
static void await_warning(void)
{
    struct stat said;
    for (int i = 0; stat(SAID, &said) != 0 || said.st_size == 0; i++) {
        assert_true(i < 60000);
        usleep(1000);
    }
}

/* Neither the target of a link nor another user's folder is changed. */
static void test_links(void **state)
{
    node n;
    char folder[PATH / 2], command[4 * PATH];
    open_shards(&n);
    stage_folder(folder, n.shards);
    snprintf(command, sizeof command,
             "mkdir -p %s kept && echo >kept/mine && touch kept/x.h5 kept/lock && "
             "ln -s ../kept stage/dn_dist-0123456789abcdef && "
             "ln -s ../../kept/mine %s/images-train-00000-of-00003.h5.partial",
             folder, folder);
    run(command);
    const int errors = log_to_file();
    dn_stage_start(&n.stage, n.shards);
    await_warning();
    check_now(n.shards);
    assert_int_equal(copies(&n), 0);
    close_node(&n);
    log_as_before(errors);
    run("test -s kept/mine && test -e kept/x.h5 && test -e kept/lock");
    run("rm stage/dn_dist-0123456789abcdef");
    assert_true(is_clean());
    snprintf(command, sizeof command, "mkdir stage && ln -s ../kept %s", folder);
    run(command);
    open_node(&n);
    assert_null(n.stage);
    close_node(&n);
    run("test -e kept/x.h5 && rm -r stage");
    if (geteuid() != 0)
        DN_SKIP("another user's folder (needs root)");
    snprintf(command, sizeof command, "mkdir -p %s && chown 1 %s", folder, folder);
    run(command);
    open_node(&n);
    assert_null(n.stage);
    check_now(n.shards);
    close_node(&n);
    run("rm -r stage");
}

/* Without room for a copy, or without a folder, the source is read. */
static void test_no_room(void **state)
{
    node n;
    struct rlimit limit;
    char path[PATH];
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    open_shards(&n); /* before the limit, which also applies to shared memory */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, limit.rlim_max}), 0);
    int errors = log_to_file();
    dn_stage_start(&n.stage, n.shards);
    check_now(n.shards);
    await_warning();
    copy_path(path, n.shards, 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(copies(&n), 0);
    close_node(&n);
    log_as_before(errors);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(is_clean());
    run("touch stage");
    errors = log_to_file();
    open_node(&n);
    dn_warn("what all ranks say");
    run("grep -q '^warning: host [^ ]*: --stage: .*; the shards are read from' said && "
        "! grep -q 'what all ranks say' said");
    log_as_before(errors);
    assert_null(n.stage);
    check_now(n.shards);
    close_node(&n);
    run("rm stage");
}

/* A copy that cannot be removed, here because it is a folder, is named in a warning. */
static void test_no_removal(void **state)
{
    node n;
    run("mkdir -p stage/dn_dist-0123456789abcdef/x.h5");
    const int errors = log_to_file();
    open_node(&n);
    run("grep -q -- '--stage: stage/dn_dist-0123456789abcdef: cannot remove the copies: ' said");
    log_as_before(errors);
    check_now(n.shards);
    close_node(&n);
    run("rm -r stage");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),          cmocka_unit_test(test_stage),
        cmocka_unit_test(test_two_runs),      cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_links),         cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_removal),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_changed_names), cmocka_unit_test(test_changed_bytes), /* the last */
    };
    return cmocka_run_group_tests(tests, make_records, trial_folder_remove);
}
