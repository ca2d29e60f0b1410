/*
 * campaign SEED FILES [FORMAT...]: tries FILES mutated files of these (or all) formats, half of
 * them with renewed checksums, after the files that once caused failures. docs/security.md says
 * what must hold.
 *
 * campaign --corpus FOLDER: writes those and the originals into FOLDER/FORMAT, for libFuzzer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "fuzz.h"

enum { SECONDS = 60 }; /* for a try; a longer one counts as a hang */

/* By whether checksums were renewed: files that were tried, that were refused, and on which the
 * HDF5 library failed in its child process. */
typedef struct tally {
    int64_t tried[2], refused[2], failed[2];
} tally;

static void try_both(fuzz *f, const fuzz_file *file, tally *c)
{
    for (int renewed = f->format->seal == NULL; renewed < 2; renewed++) {
        alarm(SECONDS);
        const dn_status status = fuzz_try(f, file, renewed);
        alarm(0);
        c->tried[renewed]++;
        c->refused[renewed] += status != DN_OK;
        c->failed[renewed] +=
            status != DN_OK && strstr(dn_message(), "the library that reads it fails");
    }
}

static void try_fault(fuzz *f, const char *name, const fuzz_file *file, void *user)
{
    (void)user;
    if (fuzz_try(f, file, 1) == DN_OK) {
        fprintf(stderr, "campaign: %s: %s: loaded, expected to be refused\n", f->format->name,
                name);
        exit(1);
    }
}

static void run_format(const fuzz_format *format, uint64_t seed, int64_t files)
{
    static fuzz f;
    static fuzz_file file;
    tally c = {0};
    fuzz_open(&f, format);
    printf("%-10s in %s\n", format->name, f.folder);
    fflush(stdout);
    fuzz_each_fault(&f, try_fault, NULL);
    while (c.tried[0] + c.tried[1] < files) {
        file = f.original;
        fuzz_mutate(&file, &seed);
        if (file.size != f.original.size || memcmp(file.bytes, f.original.bytes, file.size) != 0)
            try_both(&f, &file, &c);
    }
    for (int renewed = 0; renewed < 2; renewed++)
        printf("%-10s %8" PRId64 " %s: %" PRId64 " refused, of these %" PRId64
               " where the HDF5 library fails\n",
               format->name, c.tried[renewed], renewed ? "with checksums renewed" : "as changed",
               c.refused[renewed], c.failed[renewed]);
    fuzz_close(&f);
}

static void write_fault(fuzz *f, const char *name, const fuzz_file *file, void *user)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s/%s", (const char *)user, f->format->name, name);
    fuzz_write(file, path);
}

static void write_corpus(const fuzz_format *format, char *folder)
{
    static fuzz f;
    char path[PATH_MAX];
    fuzz_open(&f, format);
    snprintf(path, sizeof path, "%s/%s", folder, format->name);
    fuzz_require(dn_make_folders(path) == DN_OK, path);
    write_fault(&f, "original", &f.original, folder);
    fuzz_each_fault(&f, write_fault, folder);
    fuzz_close(&f);
}

static int is_named(const char *name, char **names, int count)
{
    int named = count == 0;
    for (int i = 0; i < count; i++)
        named = named || strcmp(names[i], name) == 0;
    return named;
}

int main(int argc, char **argv)
{
    int formats = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: %s SEED FILES [FORMAT...], or %s --corpus FOLDER\n", argv[0],
                argv[0]);
        return 1;
    }
    for (int i = 0; fuzz_formats[i]; i++)
        formats += is_named(fuzz_formats[i]->name, argv + 3, argc - 3);
    for (int i = 0; fuzz_formats[i]; i++)
        if (strcmp(argv[1], "--corpus") == 0)
            write_corpus(fuzz_formats[i], argv[2]);
        else if (is_named(fuzz_formats[i]->name, argv + 3, argc - 3))
            run_format(fuzz_formats[i], strtoull(argv[1], NULL, 10),
                       strtoll(argv[2], NULL, 10) / formats);
    return 0;
}
