/* Untrusted archives: entries that must be refused, and unpacking all or nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "archives/unpack.h"
#include "dn/file.h"
#include "trial_files.h"

enum { MOST = 1000 };

/* An entry of an archive; a file of `size` bytes, or what it links to. */
typedef struct entry {
    const char *name;
    unsigned kind;
    int size;
    const char *symbolic, *hard;
} entry;

static void add_entry(struct archive *a, const entry *e)
{
    struct archive_entry *const about = archive_entry_new();
    char bytes[2 * MOST];
    memset(bytes, 'x', sizeof bytes);
    archive_entry_set_pathname(about, e->name);
    archive_entry_set_filetype(about, e->kind);
    archive_entry_set_perm(about, 0755);
    archive_entry_set_size(about, e->size);
    if (e->symbolic)
        archive_entry_set_symlink(about, e->symbolic);
    if (e->hard)
        archive_entry_set_hardlink(about, e->hard);
    assert_int_equal(archive_write_header(a, about), ARCHIVE_OK);
    assert_int_equal(archive_write_data(a, bytes, (size_t)e->size), e->size);
    archive_entry_free(about);
}

/* The path of an archive of two good entries, and then one more. */
static const char *make_archive(const entry *last, int zip)
{
    static const entry good[] = {{"set", AE_IFDIR, 0, NULL, NULL},
                                 {"./set/a.bin", AE_IFREG, 300, NULL, NULL}};
    const char *const path = "archive";
    struct archive *const a = archive_write_new();
    assert_int_equal(zip ? archive_write_set_format_zip(a) : archive_write_set_format_pax(a),
                     ARCHIVE_OK);
    assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
    add_entry(a, &good[0]);
    add_entry(a, &good[1]);
    add_entry(a, last);
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return path;
}

static void expect_refused(const char *path, const char *text)
{
    assert_int_equal(dn_unpack(path, "new", MOST), DN_ECORRUPT);
    if (!strstr(dn_message(), path) || !strstr(dn_message(), text))
        fail_msg("found \"%s\", expected \"%s\"", dn_message(), text);
    assert_int_not_equal(access("new", F_OK), 0);
}

static void test_good(void **state)
{
    const entry last = {"set/below/b.bin", AE_IFREG, 700, NULL, NULL};
    struct stat info;
    for (int zip = 0; zip < 2; zip++) {
        assert_int_equal(mkdir("new", 0777), 0);
        fclose(fopen("new/old", "w")); /* of a run that was cut off */
        assert_int_equal(dn_unpack(make_archive(&last, zip), "new", MOST), DN_OK);
        assert_int_not_equal(access("new/old", F_OK), 0);
        assert_int_equal(stat("new/set/a.bin", &info), 0);
        assert_int_equal(info.st_size, 300);
        assert_int_equal(stat("new/set/below/b.bin", &info), 0);
        assert_int_equal(info.st_size, 700);
        assert_int_equal(dn_make_folders("place"), DN_OK);
        assert_int_equal(dn_move_entries("new", "place"), DN_OK);
        assert_int_equal(access("place/set/below/b.bin", F_OK), 0);
        assert_int_equal(dn_unpack(make_archive(&last, zip), "new", MOST), DN_OK);
        assert_int_equal(dn_move_entries("new", "place"), DN_EIO);
        dn_remove_folder("new");
        dn_remove_folder("place");
    }
}

static void test_refused(void **state)
{
    static const struct {
        entry last;
        const char *text;
    } rows[] = {
        {{"../up", AE_IFREG, 1, NULL, NULL}, "entry \"../up\", expected paths below"},
        {{"set/../../up", AE_IFREG, 1, NULL, NULL}, "expected paths below"},
        {{"set/..", AE_IFDIR, 0, NULL, NULL}, "expected paths below"},
        {{"/tmp/dn_absolute", AE_IFREG, 1, NULL, NULL}, "expected paths below"},
        {{"set/link", AE_IFLNK, 0, "/etc", NULL}, "set/link, a link or device"},
        {{"set/same", AE_IFREG, 0, NULL, "set/a.bin"}, "set/same, a link or device"},
        {{"set/pipe", AE_IFIFO, 0, NULL, NULL}, "set/pipe, a link or device"},
        {{"set/null", AE_IFCHR, 0, NULL, NULL}, "set/null, a link or device"},
        {{"set/a.bin", AE_IFREG, 1, NULL, NULL}, "File exists"},
        {{"set/a.bin/c", AE_IFREG, 1, NULL, NULL}, ""},
        {{"set/b.bin", AE_IFREG, 701, NULL, NULL}, "more bytes than there should be"},
    };
    for (size_t i = 0; i + 3 < sizeof rows / sizeof *rows; i++)
        expect_refused(make_archive(&rows[i].last, 0), rows[i].text);
    const char *path = make_archive(&rows[8].last, 0); /* whose file it is, is not known */
    assert_int_equal(dn_unpack(path, "new", MOST), DN_EIO);
    assert_non_null(strstr(dn_message(), rows[8].text));
    path = make_archive(&rows[9].last, 0); /* a folder where a file is */
    assert_int_not_equal(dn_unpack(path, "new", MOST), DN_OK);
    assert_int_not_equal(access("new", F_OK), 0);
    expect_refused(make_archive(&rows[10].last, 0), rows[10].text);
    expect_refused(make_archive(&rows[10].last, 1), rows[10].text);
    assert_int_not_equal(access("up", F_OK), 0);
}

/* Cut off anywhere: refused, but for the blocks of zeros at the end. */
static void test_cut(void **state)
{
    const entry last = {"set/b.bin", AE_IFREG, 700, NULL, NULL};
    struct stat info;
    for (int zip = 0; zip < 2; zip++) {
        assert_int_equal(stat(make_archive(&last, zip), &info), 0);
        const off_t whole = info.st_size, step = zip ? 97 : 512;
        for (off_t size = zip ? whole - 22 : 2560; size > 0; size -= step) {
            const char *const path = make_archive(&last, zip);
            assert_int_equal(truncate(path, size - (zip ? 0 : 1)), 0);
            const dn_status status = dn_unpack(path, "new", MOST);
            if (status == DN_OK) /* the list at a zip's end is not needed to read it */
                assert_int_equal(access("new/set/b.bin", F_OK), 0);
            else
                assert_int_equal(status, DN_ECORRUPT);
            assert_true(status != DN_OK || zip);
            dn_remove_folder("new");
        }
    }
    FILE *const file = fopen("archive", "w");
    assert_true(file && fclose(file) == 0);
    expect_refused("archive", "not a sound archive");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_cut)};
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
