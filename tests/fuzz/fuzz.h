/*
 * Fuzzing of untrusted files: how files of each format are made, mutated, sealed and loaded.
 *
 * A mutated file is tried as it is, when a checksum must detect the change, and with its checksums
 * renewed, as an attacker would do, when the loader must refuse it or load valid data. Any other
 * outcome aborts the process and leaves the file in the folder.
 */
#ifndef DN_FUZZ_H
#define DN_FUZZ_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

enum { FUZZ_MOST = 1 << 18 }; /* bytes of a file */

typedef struct fuzz_file {
    size_t size;
    uint8_t bytes[FUZZ_MOST];
} fuzz_file;

typedef struct fuzz fuzz;

/* The operations on files of a format. */
typedef struct fuzz_format {
    const char *name;
    const char *file; /* the file to mutate, in a folder that `make` fills */
    void (*make)(fuzz *f);
    void (*clear)(fuzz *f); /* frees f->own; NULL: nothing to free */
    /* If `renew`, renews the checksums inside the file and the one that covers all of it; returns 1
     * if the latter matches now. NULL: the format has no checksums. */
    int (*seal)(fuzz *f, fuzz_file *file, int renew);
    /* Loads the file at `path` as commands do; *digest = a hash of all results. */
    dn_status (*load)(fuzz *f, uint64_t *digest);
} fuzz_format;

extern const fuzz_format fuzz_manifest, fuzz_shard, fuzz_encoded, fuzz_checkpoint, fuzz_profile,
    fuzz_safetensors;
extern const fuzz_format fuzz_jpeg, fuzz_progressive, fuzz_png, fuzz_cifar, fuzz_idx, fuzz_gzip;
extern const fuzz_format fuzz_tfrecord, fuzz_example;

/* All of them, NULL after the last. */
extern const fuzz_format *const fuzz_formats[];

struct fuzz {
    const fuzz_format *format;
    char folder[64], path[PATH_MAX];
    fuzz_file original;
    uint64_t digest; /* of the original */
    void *own;       /* the format's */
};

/* Makes the format's files in a folder of its own, which fuzz_close removes. */
void fuzz_open(fuzz *f, const fuzz_format *format);
void fuzz_close(fuzz *f);

/* Loads `file` in place of the original, with renewed checksums if `renewed` is 1. */
dn_status fuzz_try(fuzz *f, const fuzz_file *file, int renewed);

/* Makes one to four random changes of bits, bytes, numbers or ranges; advances *random. */
void fuzz_mutate(fuzz_file *file, uint64_t *random);

/* Calls `each` for every file of the format in the regression corpus. */
typedef void fuzz_fault_fn(fuzz *f, const char *name, const fuzz_file *file, void *user);
void fuzz_each_fault(fuzz *f, fuzz_fault_fn *each, void *user);

/* For formats. */
void fuzz_write_png(const char *path, int seed, int width, int height);
void fuzz_write_jpeg(const char *path, int seed, int width, int height); /* odd: progressive */
void fuzz_read(fuzz_file *file, const char *path);
void fuzz_write(const fuzz_file *file, const char *path);
void fuzz_remove(const char *folder);
/* Adds bytes(size) to a digest. */
uint64_t fuzz_digest(uint64_t digest, const void *bytes, size_t size);
/* Aborts with a message unless the loaded data satisfy `condition`. */
void fuzz_require(int condition, const char *what);

#endif
