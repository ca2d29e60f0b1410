/*
 * What one rank's training step takes without communication, layer by layer of the backward pass,
 * as a JSON file: `dn_dist bench --profile FILE` writes it, `dn_dist plan --profile FILE` reads it.
 * Not collective.
 */
#ifndef DN_PROFILE_H
#define DN_PROFILE_H

#include <stddef.h>

#include <jansson.h>

#include "dn/status.h"

/* A layer of the backward pass, and the floats of the leaf that are final when it ends. */
typedef struct dn_stage {
    double seconds;
    size_t floats;
} dn_stage;

typedef struct dn_profile {
    char model[160], mode[8], isa[16]; /* mode: fp32 or bf16 */
    int size, batch, ranks, threads;   /* image height, images a rank, what ran on the machine */
    double forward, update;            /* seconds; forward: all that comes before backward */
    size_t statistics;                 /* the leaf's last floats, no gradients */
    int stages;
    dn_stage *stage; /* (stages) in backward order; together they hold the whole leaf */
} dn_profile;

/* Allocates (stages) zeroed stages in a profile that has none. DN_ENOMEM. */
dn_status dn_profile_create(dn_profile *profile, int stages);

/* DN_ENOENT, DN_EIO or DN_ECORRUPT name the file. The caller destroys it, also after a failure. */
dn_status dn_profile_read(dn_profile *profile, const char *path);
dn_status dn_profile_write(const dn_profile *profile, const char *path);

/* Accepts an empty one. */
void dn_profile_destroy(dn_profile *profile);

/* Writes the object, or NULL where memory was short, to a file, or on one line to standard output
 * where `path` is NULL; takes it. DN_ENOMEM, DN_EIO. */
dn_status dn_json_write(json_t *object, const char *path);

double dn_profile_backward_seconds(const dn_profile *profile);
size_t dn_profile_floats(const dn_profile *profile);

#endif
