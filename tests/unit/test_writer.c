/* Writing records: again from the same source, with other options, and over existing files. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <omp.h>

#include "dn/file.h"
#include "dn/progress.h"
#include "inspect/inspect.h"
#include "made_up.h"
#include "tfrecord/tfrecord.h"
#include "trial_files.h"
#include "writer/pixel_sums.h"

/* The same source gives the same bytes, on any number of threads. */
static void test_reproducible(void **state)
{
    dn_manifest *before, *after;
    const int threads = omp_get_max_threads();
    assert_int_equal(dn_manifest_load(&before, "."), DN_OK);
    omp_set_num_threads(threads == 1 ? 2 : 1);
    assert_int_equal(made_up_build(state), 0);
    omp_set_num_threads(threads);
    assert_int_equal(dn_manifest_load(&after, "."), DN_OK);
    for (int i = 0; i < SHARDS; i++) {
        const dn_manifest_shard *const a = &before->split[DN_TRAIN].shard[i];
        const dn_manifest_shard *const b = &after->split[DN_TRAIN].shard[i];
        assert_true(a->hdf5.hash == b->hdf5.hash && a->tfrecord.hash == b->tfrecord.hash);
    }
    free(before);
    free(after);
}

static int sync_error;        /* of the calls below, or 0 */
static atomic_int good_syncs; /* calls before it occurs */

/* Replace the system's. */
int fsync(int file)
{
    if (!sync_error || good_syncs-- > 0)
        return (int)syscall(SYS_fsync, file);
    errno = sync_error;
    return -1;
}

int fdatasync(int file)
{
    return fsync(file);
}

static int lock_error;               /* of the call below, or 0 */
static int lock_removed;             /* 1: the next making.lock was removed before it is locked */
static int locks, locks_for_writing; /* of making.lock */

/* Replaces the system's, which HDF5 uses, too. */
int flock(int file, int operation)
{
    if (!dn_file_is_at(file, "making.lock"))
        return (int)syscall(SYS_flock, file, operation);
    locks++;
    locks_for_writing += (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDWR;
    if (lock_removed)
        assert_int_equal(unlink("making.lock"), 0);
    lock_removed = 0;
    errno = lock_error;
    return lock_error ? -1 : (int)syscall(SYS_flock, file, operation);
}

/* Whether records of these options had to be made. */
static int made_by(const dn_records_options *o)
{
    int made;
    assert_int_equal(dn_records_make(&made_up, o, &made), DN_OK);
    return made;
}

static void test_complete(void **state)
{
    int made;
    dn_records_options o = made_up_options();
    assert_false(made_by(&o));
    o.zstd_level = 4;
    assert_true(made_by(&o));
    trial_write("making.journal", ""); /* as a kill behind dataset.json leaves it */
    assert_false(made_by(&o));
    assert_int_not_equal(access("making.journal", F_OK), 0);
    assert_int_equal(truncate("made_up-train.tfrecord-00001-of-00003", 100), 0);
    assert_true(made_by(&o));
    made_up_expect(dn_records_make(&dn_raw_cifar10, &o, &made), DN_EINVAL, MANIFEST, "CIFAR10");
    assert_false(made);
}

/* On a file system that cannot flush files. */
static void test_unflushed(void **state)
{
    dn_records_options o = made_up_options();
    o.zstd_level = 4;
    sync_error = EINVAL;
    assert_true(made_by(&o));
    sync_error = EIO;
    o.zstd_level = 5;
    int made;
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_EIO, "", "cannot write: Input/output");
    sync_error = 0;
}

/* Makes records anew up to a failure after the first shard, of which the journal has an entry. */
static void break_off(const dn_records_options *o)
{
    int made;
    assert_int_equal(system("rm " MANIFEST " made_up-*"), 0);
    sync_error = EIO;
    good_syncs = 5; /* of a shard's two files and its entry, with the folder */
    omp_set_num_threads(1);
    made_up_expect(dn_records_make(&made_up, o, &made), DN_EIO, "", "Input/output error");
    sync_error = 0;
    good_syncs = 0;
    assert_int_equal(access("made_up-train-00000-of-00003.h5", F_OK), 0);
    assert_int_equal(access("making.journal", F_OK), 0);
}

/* Whole shards are kept unless their entry is damaged or the classes have other names now. */
static void test_broken_off(void **state)
{
    static const char *const names[CLASSES] = {"w", "x", "y", "z"};
    const dn_records_options o = made_up_options();
    const int threads = omp_get_max_threads();
    dn_raw_set renamed = made_up;
    renamed.class_names = names;
    break_off(&o);
    trial_flip("making.journal", 16); /* the entry's number of images */
    assert_true(made_by(&o));
    assert_int_equal(dn_records_verify("."), DN_OK);
    break_off(&o);
    int made;
    assert_int_equal(dn_records_make(&renamed, &o, &made), DN_OK);
    assert_int_equal(dn_records_verify("."), DN_OK);
    omp_set_num_threads(threads);
}

/* The lock is a file open for writing, as NFS demands; one that its holder has removed counts for
 * nothing, and a file system without locks causes a warning. */
static void test_lock(void **state)
{
    dn_records_options o = made_up_options();
    locks = locks_for_writing = 0;
    lock_removed = 1;
    o.zstd_level = 4;
    assert_true(made_by(&o));
    assert_int_equal(locks, 2);
    assert_int_equal(locks_for_writing, 2);
    assert_int_not_equal(access("making.lock", F_OK), 0);

    const int before = dup(STDERR_FILENO), said = creat("said", 0666);
    dup2(said, STDERR_FILENO);
    dn_log_set_level(DN_WARN);
    lock_error = ENOLCK;
    o.zstd_level = 5;
    const int made = made_by(&o);
    lock_error = 0;
    dn_log_set_level(DN_QUIET);
    dup2(before, STDERR_FILENO);
    close(before);
    close(said);
    assert_true(made);
    assert_int_equal(system("grep -q '^warning: .: cannot lock: No locks available;' said"), 0);
}

/* An image whose sums of squares exceed 32 bits. */
static void test_pixel_sums(void **state)
{
    enum { SIDE = 1536, PIXELS = SIDE * SIDE };
    uint8_t *const white = malloc(3 * PIXELS);
    dn_pixel_sums sums = {0};
    assert_non_null(white);
    memset(white, 255, 3 * PIXELS);
    dn_pixel_sums_add_image(
        &sums, &(dn_pixels){.width = SIDE, .height = SIDE, .rgb = {white, 3 * PIXELS}});
    for (int c = 0; c < 3; c++)
        assert_true(sums.sum[c] == 255LL * PIXELS && sums.squares[c] == 255LL * 255 * PIXELS);
    free(white);
}

static dn_status load_other_label(const dn_raw_set *set, const char *source,
                                  const dn_records_options *o, dn_split_id split,
                                  dn_raw_split *images)
{
    DN_TRY(made_up.load(set, source, o, split, images));
    images->labels[0] ^= split == DN_TEST;
    return DN_OK;
}

static dn_status load_other_pixel(const dn_raw_set *set, const char *source,
                                  const dn_records_options *o, dn_split_id split,
                                  dn_raw_split *images)
{
    DN_TRY(made_up.load(set, source, o, split, images));
    images->pixels[0] ^= 1;
    return DN_OK;
}

/* Records of another source are not replaced; those that do not name theirs are known by mean and
 * std. */
static void test_other_source(void **state)
{
    int made;
    dn_manifest *m;
    dn_raw_set other = made_up;
    const dn_records_options o = made_up_options();
    other.load = load_other_label;
    made_up_expect(dn_records_make(&other, &o, &made), DN_EINVAL, ".: ", "other images or labels");
    assert_false(made);
    assert_false(made_by(&o));
    assert_int_equal(dn_manifest_load(&m, "."), DN_OK);
    m->class_names = made_up.class_names;
    m->source = 0;
    assert_int_equal(dn_manifest_save(m, "."), DN_OK);
    free(m);
    assert_false(made_by(&o));
    other.load = load_other_pixel;
    made_up_expect(dn_records_make(&other, &o, &made), DN_EINVAL, ".: ", "other images or labels");
}

/* Fewer shards: the files of the replaced records are gone. */
static void test_replaced_removed(void **state)
{
    dn_records_options o = made_up_options();
    o.shards = 1;
    assert_true(made_by(&o));
    assert_int_not_equal(access("made_up-train-00000-of-00003.h5", F_OK), 0);
    assert_int_equal(dn_records_verify("."), DN_OK);
}

#define FOREIGN "made_up-test.tfrecord-00001-of-00009"

/* A file with a name of the set's is removed only where dataset.json or a journal accounts for it.
 */
static void test_foreign_file(void **state)
{
    int made;
    dn_records_options o = made_up_options();
    o.zstd_level = 4;
    trial_write("made_up-train-00007-of-00009.h5.partial", "of a process that was killed");
    trial_write(FOREIGN, "somebody's");
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_EINVAL,
                   ".: ", "found " FOREIGN ", which create_records did not note");
    assert_false(made);
    assert_int_equal(access(FOREIGN, F_OK), 0);
    assert_int_not_equal(access("making.journal", F_OK), 0);
    trial_write("making.journal", "");
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_EINVAL, ".: ", "did not note");
    assert_int_equal(unlink("making.journal"), 0);
    assert_int_equal(dn_records_verify("."), DN_OK);

    assert_int_equal(unlink(MANIFEST), 0);
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_EINVAL, ".: ", "did not note");
    trial_write("making.journal", "");
    assert_true(made_by(&o));
    assert_int_not_equal(access(FOREIGN, F_OK), 0);
    assert_int_not_equal(access("made_up-train-00007-of-00009.h5.partial", F_OK), 0);
    assert_int_equal(dn_records_verify("."), DN_OK);
}

/* A writer that does not begin leaves no journal where it has nothing to account for. */
static void test_failed_open(void **state)
{
    int made;
    const dn_records_options o = made_up_options();
    assert_int_equal(system("rm " MANIFEST " made_up-*"), 0);
    assert_int_equal(symlink("/dev/null", "making.journal"), 0);
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_EIO, "./making.journal", "cannot read");
    struct stat info;
    assert_int_not_equal(lstat("making.journal", &info), 0);
}

/* A dataset.json that create_records did not write, or that was changed, stays. */
static void test_foreign_manifest(void **state)
{
    int made;
    const dn_records_options o = made_up_options();
    made_up_edit("s/MADE_UP/MADE_IT/");
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_ECORRUPT, MANIFEST,
                   "move it and the shards beside it away, or name another --out");
    assert_int_equal(system("grep -q MADE_IT " MANIFEST), 0);
    trial_write(MANIFEST, "{\"my\": \"annotations\"}");
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_ECORRUPT, MANIFEST,
                   "move it and the shards beside it away, or name another --out");
    assert_int_equal(system("grep -q annotations " MANIFEST), 0);
    assert_false(made);
}

/* While the source is read, another process makes records of another one there. */
static dn_status load_while_another(const dn_raw_set *set, const char *source,
                                    const dn_records_options *o, dn_split_id split,
                                    dn_raw_split *images)
{
    int made;
    dn_raw_set other = made_up;
    other.load = load_other_pixel;
    DN_TRY(made_up.load(set, source, o, split, images));
    return split == DN_TRAIN ? dn_records_make(&other, o, &made) : DN_OK;
}

static void test_meanwhile(void **state)
{
    int made;
    dn_manifest *first, *after;
    dn_raw_set slow = made_up;
    const dn_records_options o = made_up_options();
    assert_int_equal(system("rm " MANIFEST " made_up-*"), 0);
    slow.load = load_while_another;
    made_up_expect(dn_records_make(&slow, &o, &made), DN_EINVAL,
                   ".: ", "made meanwhile by another create_records; run the command again");
    assert_int_equal(dn_records_verify("."), DN_OK);
    assert_int_equal(dn_manifest_load(&first, "."), DN_OK);
    made_up_expect(dn_records_make(&made_up, &o, &made), DN_EINVAL,
                   ".: ", "other images or labels");
    assert_int_equal(dn_manifest_load(&after, "."), DN_OK);
    assert_true(first->hash == after->hash);
    free(first);
    free(after);
}

/* Records without TFRecords, or with those of one shard alone. */
static void test_without_tfrecords(void **state)
{
    dn_manifest *m;
    dn_records_options o = made_up_options();
    o.tfrecords = DN_TFRECORDS_DROP;
    assert_true(made_by(&o));
    assert_false(made_by(&o));
    assert_int_not_equal(access("made_up-train.tfrecord-00001-of-00003", F_OK), 0);
    made_up_check(DN_TRAIN);
    assert_int_equal(dn_records_verify("."), DN_OK);
    o.tfrecords = DN_TFRECORDS_KEEP;
    assert_false(made_by(&o)); /* to-tfrecord adds them */
    int made;
    assert_int_equal(dn_to_tfrecord(".", NULL, &made), DN_OK);
    assert_true(made);
    assert_int_equal(access("made_up-train.tfrecord-00001-of-00003", F_OK), 0);
    assert_int_equal(dn_records_verify("."), DN_OK);

    assert_int_equal(dn_manifest_load(&m, "."), DN_OK);
    assert_int_equal(unlink(m->shard[1].tfrecord.name), 0);
    m->shard[1].tfrecord.name[0] = '\0';
    assert_int_equal(dn_manifest_save(m, "."), DN_OK);
    free(m);
    made_up_check(DN_TRAIN);
    assert_int_equal(dn_records_verify("."), DN_OK);
    o.tfrecords = DN_TFRECORDS_DROP;
    assert_true(made_by(&o));
}

/* How much of what nobody knows the whole of is done. */
static void test_progress_without_total(void **state)
{
    char *text = NULL;
    size_t size;
    dn_progress progress;
    FILE *const before = stdout;
    stdout = open_memstream(&text, &size);
    dn_log_set_level(DN_INFO);
    dn_progress_begin(&progress, "looking for images:", "images", 0);
    dn_progress_add(&progress, 1);
    progress.next = 0; /* a line is due */
    dn_progress_add(&progress, 41);
    dn_progress_end(&progress);
    dn_log_set_level(DN_QUIET);
    fclose(stdout);
    stdout = before;
    assert_memory_equal(text, "looking for images: 42 images, ", 31);
    assert_string_equal(text + strlen(text) - 10, " images/s\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {MADE_UP_TEST(test_reproducible),
                                       MADE_UP_TEST(test_complete),
                                       MADE_UP_TEST(test_unflushed),
                                       MADE_UP_TEST(test_broken_off),
                                       MADE_UP_TEST(test_lock),
                                       MADE_UP_TEST(test_other_source),
                                       MADE_UP_TEST(test_replaced_removed),
                                       MADE_UP_TEST(test_foreign_file),
                                       MADE_UP_TEST(test_failed_open),
                                       MADE_UP_TEST(test_foreign_manifest),
                                       MADE_UP_TEST(test_meanwhile),
                                       MADE_UP_TEST(test_without_tfrecords),
                                       cmocka_unit_test(test_pixel_sums),
                                       cmocka_unit_test(test_progress_without_total)};
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
