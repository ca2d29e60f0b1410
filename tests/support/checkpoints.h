/*
 * Checkpoints of small nets with drawn weights, for the tests that write and read them. Any failure
 * that a function does not return fails the test.
 */
#ifndef DN_TESTS_CHECKPOINTS_H
#define DN_TESTS_CHECKPOINTS_H

#include "dn/checkpoint.h"

#define SMALL  "blocks=2,1:growth=4:bottleneck=2:compression=0.5:stem=cifar:stem-channels=6"
#define OTHER  "blocks=2,1:growth=4:bottleneck=3:compression=0.5:stem=cifar:stem-channels=6"
#define DEEPER "blocks=2,1:growth=4:bottleneck=2:compression=0.5:stem=imagenet:stem-channels=6"

#define RUN "run" /* in the current folder */

enum { BATCH = 2, SIZE = 16 };

/* A net of `model` for evaluation; the caller owns it. */
dn_net *trial_net(const char *model, uint64_t seed);

/* The state of a run with the net at `step`, with a configuration and no schedule. */
dn_checkpoint trial_state(const dn_net *net, int64_t step);

/* Random vectors of the optimizer `name` for the net, drawn with `seed`, and valid as averages of
 * squares. The caller destroys them. */
dn_optimizer_state trial_vectors(const dn_net *net, const char *name, int64_t seed);

/* Saves in the foreground, with vectors drawn with the step as seed. Errors are those of
 * dn_saver_create and dn_saver_wait. */
dn_status trial_save_net(const char *folder, const dn_net *net, const dn_checkpoint *state,
                         const char *optimizer, int keep);

/* Saves a net drawn with `seed` at `step` in RUN; path = the file. trial_save uses sgd. */
void trial_save_with(const char *optimizer, const char *model, uint64_t seed, int64_t step,
                     int keep, char path[128]);
void trial_save(const char *model, uint64_t seed, int64_t step, int keep, char path[128]);

/* Opens the file and fills the net and, unless they are NULL, the vectors. As dn_checkpoint_open
 * and dn_checkpoint_load. */
dn_status trial_load(const char *path, dn_net *net, dn_optimizer_state *vectors);

/* The folder's newest intact checkpoint, or an empty path. */
dn_checkpoint trial_newest(const char *folder);

/* Loads into a new net of `model`; the status must be `expected`, and the message contain `part`
 * unless that is NULL. */
void trial_load_expect(const char *path, const char *model, dn_status expected, const char *part);

/* Appends the checksum of the file's bytes, as docs/checkpoint-format.md says. */
void trial_seal(const char *path);

#endif
