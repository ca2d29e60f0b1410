/* Tries a mutated file and checks the outcome; see fuzz.h. */
#include "fuzz.h"

#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <omp.h>
#include <xxhash.h>

#include "dn/file.h"

const fuzz_format *const fuzz_formats[] = {
    &fuzz_manifest, &fuzz_shard,    &fuzz_encoded,     &fuzz_checkpoint,  &fuzz_profile,
    &fuzz_jpeg,     &fuzz_png,      &fuzz_progressive, &fuzz_cifar,       &fuzz_idx,
    &fuzz_gzip,     &fuzz_tfrecord, &fuzz_example,     &fuzz_safetensors, NULL};

/* ---- reports of sanitizers in the child that reads HDF5, whose output and status are discarded
 * ---- */

void __sanitizer_set_report_path(const char *path) __attribute__((weak));
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
const char *__asan_default_options(void);

/* Makes sanitizers handle crashes although the child resets the handlers, and malloc fail as
 * without them. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:handle_segv=2:handle_sigbus=2:handle_sigfpe=2:"
           "handle_abort=2:symbolize=0:quarantine_size_mb=8";
}

static char report_path[80]; /* a fork knows nothing else */

static void report_of_child(void)
{
    if (__sanitizer_set_report_path)
        __sanitizer_set_report_path(report_path);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(NULL); /* libFuzzer's */
}

/* 1 if the report is not an error (such as a refused allocation), or one of the library, by the
 * innermost calls except the sanitizer's own (freeing a wild pointer is a BUS error two of these
 * deep). */
static int is_of_library(const char *path)
{
    enum { INNERMOST = 3 };
    char line[1024];
    int is_error = 0, is_blamed = 0, calls = 0;
    FILE *const report = fopen(path, "r");
    while (report && fgets(line, sizeof line, report)) {
        is_error |= strstr(line, "ERROR:") || strstr(line, "runtime error:");
        calls = strstr(line, "#0 ") ? 0 : calls;
        if (!strchr(line, '#') || strstr(line, "/libasan"))
            continue;
        is_blamed |= calls++ < INNERMOST && strstr(line, "libhdf5");
    }
    if (report)
        fclose(report);
    return !is_error || is_blamed;
}

/* Ends the campaign, with the report among its last lines. */
static void refuse_report(const char *path)
{
    uint8_t *text;
    size_t size;
    if (dn_file_load(path, &text, &size) == DN_OK)
        fwrite(text, 1, size, stderr);
    fuzz_require(0, path);
}

static void check_reports(void)
{
    char pattern[96];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s.*", report_path);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (!is_of_library(found.gl_pathv[i]))
                refuse_report(found.gl_pathv[i]);
            unlink(found.gl_pathv[i]);
        }
    }
    globfree(&found);
}

/* ---- what all formats share ---- */

void fuzz_require(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz: expected %s; last message: %s\n", what, dn_message());
    abort();
}

void fuzz_read(fuzz_file *file, const char *path)
{
    FILE *const stream = fopen(path, "rb");
    fuzz_require(stream != NULL, path);
    file->size = fread(file->bytes, 1, FUZZ_MOST, stream);
    fuzz_require(file->size < FUZZ_MOST, "a small file");
    fclose(stream);
}

void fuzz_write(const fuzz_file *file, const char *path)
{
    FILE *const stream = fopen(path, "wb");
    fuzz_require(stream && fwrite(file->bytes, 1, file->size, stream) == file->size &&
                     fclose(stream) == 0,
                 path);
}

uint64_t fuzz_digest(uint64_t digest, const void *bytes, size_t size)
{
    return XXH3_64bits_withSeed(bytes, size, digest + 1);
}

void fuzz_open(fuzz *f, const fuzz_format *format)
{
    *f = (fuzz){.format = format};
    dn_log_set_level(DN_QUIET);
    omp_set_num_threads(1); /* for files that take a millisecond */
    snprintf(f->folder, sizeof f->folder, "%s/dn_fuzz_XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    fuzz_require(mkdtemp(f->folder) != NULL, "a folder");
    snprintf(report_path, sizeof report_path, "%s/report", f->folder);
    fuzz_require(pthread_atfork(NULL, NULL, report_of_child) == 0, "a look at the child");
    snprintf(f->path, sizeof f->path, "%s/%s", f->folder, format->file);
    format->make(f);
    fuzz_read(&f->original, f->path);
    fuzz_require(format->load(f, &f->digest) == DN_OK, "the original to be loaded");
}

void fuzz_remove(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    fuzz_require(system(command) == 0, "the folder to be removed");
}

void fuzz_close(fuzz *f)
{
    fuzz_remove(f->folder);
    if (f->format->clear)
        f->format->clear(f);
    free(f->own);
}

dn_status fuzz_try(fuzz *f, const fuzz_file *file, int renewed)
{
    const fuzz_format *const format = f->format;
    fuzz_file *const copy = malloc(sizeof *copy);
    uint64_t digest = 0;
    fuzz_require(copy != NULL, "memory");
    memcpy(copy, file, sizeof *copy);
    const int is_sealed = !format->seal || format->seal(f, copy, renewed);
    fuzz_write(copy, f->path);
    free(copy);
    const dn_status status = format->load(f, &digest);
    check_reports();
    fuzz_require(status == DN_OK || !strchr(dn_message(), '\n'), "a message of one line");
    fuzz_require(status != DN_OK || is_sealed || digest == f->digest,
                 "the checksum to find a change that matters");
    return status;
}
