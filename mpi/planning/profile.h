/*
 * What one rank's training step takes without communication, layer by layer of the backward pass,
 * as a JSON file: `dn_dist bench --profile FILE` writes it, `dn_dist plan --profile FILE` reads it.
 * Not collective.
 */
#ifndef DN_PROFILE_H
#define DN_PROFILE_H

#include <stddef.h>

#include <jansson.h>

#include "dn/net.h"
#include "training/step.h"

/* A layer of the backward pass, and the floats of the leaf that are final when it ends. */
typedef struct dn_profile_layer {
    double seconds;
    size_t floats;
} dn_profile_layer;

typedef struct dn_profile {
    json_t *json;                     /* what it was decoded from, with the strings; owned */
    const char *model, *mode, *isa;   /* mode: fp32 or bf16 */
    int size, batch, ranks, threads;  /* image height, images a rank, what ran on the machine */
    double forward, backward, update; /* seconds; forward: all that comes before backward */
    size_t floats, statistics;        /* of the leaf; the last of these, which are no gradients */
    int stages;
    dn_profile_layer
        *stage; /* (stages) in backward order; they hold all floats and seconds of backward */
} dn_profile;

/* The profile of `steps` training steps of the net, since dn_net_phase_reset; NULL where memory is
 * short. */
json_t *dn_profile_encode(const dn_net *net, dn_dtype dtype, int ranks, const dn_step_times *times,
                          int steps);

/* Takes `json`, or NULL where memory was short. Messages start with `name`. DN_ECORRUPT, DN_ENOMEM.
 * The caller destroys the profile, also after a failure. */
dn_status dn_profile_decode(dn_profile *profile, json_t *json, const char *name);

/* The same of a file; also DN_ENOENT. */
dn_status dn_profile_read(dn_profile *profile, const char *path);

/* Accepts an empty one. */
void dn_profile_destroy(dn_profile *profile);

/* DN_EIO where no file can be written there, before what takes long. Leaves all as it is. */
dn_status dn_profile_check_path(const char *path);

#endif
