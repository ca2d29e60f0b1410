/*
 * A profile: the time of one rank's training step without communication, with the layers of the
 * backward pass, as a JSON file. `dn_dist bench --profile FILE` writes it, `dn_dist plan --profile
 * FILE` reads it. Not collective.
 */
#ifndef DN_PROFILE_H
#define DN_PROFILE_H

#include <stddef.h>

#include <jansson.h>

#include "dn/net.h"
#include "training/step.h"

/* A layer of the backward pass, and the number of the leaf's floats that become final at its end.
 */
typedef struct dn_profile_layer {
    double seconds;
    size_t floats;
} dn_profile_layer;

typedef struct dn_profile {
    json_t *json;                     /* the source, which owns the strings; owned */
    const char *model, *mode, *isa;   /* mode: fp32 or bf16 */
    int size, batch, ranks, threads;  /* image height, images a rank, ranks measured, threads */
    double forward, backward, update; /* seconds; forward: everything before the backward pass */
    size_t floats, statistics;        /* of the leaf; its last floats, which are not gradients */
    int stages;
    dn_profile_layer *stage; /* (stages) in backward order; they have all floats */
} dn_profile;

/* The mean profile of the net's `steps` training steps since dn_net_phase_reset; NULL if out of
 * memory. The caller releases it. */
json_t *dn_profile_encode(const dn_net *net, dn_dtype dtype, int ranks, const dn_step_times *times,
                          int steps);

/* Decodes `json`, which it takes over; NULL stands for a lack of memory. Messages start with
 * `name`. DN_ECORRUPT, DN_ENOMEM. The caller destroys the profile, even after a failure. */
dn_status dn_profile_decode(dn_profile *profile, json_t *json, const char *name);

/* The same for a file; also DN_ENOENT. */
dn_status dn_profile_read(dn_profile *profile, const char *path);

/* Accepts a zeroed one. */
void dn_profile_destroy(dn_profile *profile);

/* DN_EIO if no file can be written to `path`, to find out before a long measurement. Changes
 * nothing. */
dn_status dn_profile_check_path(const char *path);

#endif
