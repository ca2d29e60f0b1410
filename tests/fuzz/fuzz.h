/*
 * Files that nobody vouches for: how each format's are made, changed, sealed again and loaded.
 *
 * A changed file is tried as it is, where a checksum must find the change, and with its checksums
 * renewed, as a forger would do it, where the loader must refuse it or load something sane. A try
 * that ends otherwise ends the process (abort), and leaves the file that did it in the folder.
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

/* What is done with files of a format. */
typedef struct fuzz_format {
    const char *name;
    const char *file; /* the one that is changed, in a folder that `make` fills */
    void (*make)(fuzz *f);
    void (*clear)(fuzz *f); /* what f->own has; NULL: nothing */
    /* Renews the checksums inside the file and the one that covers it, or does not; returns whether
     * the latter now fits. NULL: there are none, and nothing to renew. */
    int (*seal)(fuzz *f, fuzz_file *file, int renew);
    /* Does with the file at `path` what commands would; *digest = of all that came out. */
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

/* Loads `file` in the original's place, with its checksums renewed where `renewed` is 1. */
dn_status fuzz_try(fuzz *f, const fuzz_file *file, int renewed);

/* One to four changes drawn from *random, which goes on: of bits, bytes, numbers, ranges. */
void fuzz_mutate(fuzz_file *file, uint64_t *random);

/* The kept corpus: calls `each` with every file of the format that once did harm. */
typedef void fuzz_fault_fn(fuzz *f, const char *name, const fuzz_file *file, void *user);
void fuzz_each_fault(fuzz *f, fuzz_fault_fn *each, void *user);

/* For formats. */
void fuzz_write_png(const char *path, int seed, int width, int height);
void fuzz_write_jpeg(const char *path, int seed, int width, int height); /* odd: progressive */
void fuzz_read(fuzz_file *file, const char *path);
void fuzz_write(const fuzz_file *file, const char *path);
void fuzz_remove(const char *folder);
/* Goes on with a digest. */
uint64_t fuzz_digest(uint64_t digest, const void *bytes, size_t size);
/* Ends the process with a line where what was loaded is not sane. */
void fuzz_require(int condition, const char *what);

#endif
