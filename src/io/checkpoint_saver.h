/* Shared by checkpoint_write.c, which writes during training, and checkpoint_rescue.c, whose child
 * writes before the process is killed. */
#ifndef DN_CHECKPOINT_SAVER_H
#define DN_CHECKPOINT_SAVER_H

#include <pthread.h>

#include "dn/checkpoint.h"

/* Suffix of a child's file until it is complete: the parent may be writing the same step. */
#define DN_RESCUED ".rescued"

/* Whether the last write failed, and whether that was reported. */
enum { DN_NO_FAILURE, DN_UNREPORTED, DN_WARNED_OF };

struct dn_saver {
    const dn_net *net;
    const dn_optimizer_state *optimizer;
    const char *folder;
    int keep;
    dn_checkpoint state;
    pthread_t thread;
    int is_writing;          /* the thread has to be joined */
    double seconds, longest; /* of the last write; the longest of those joined */
    dn_failure failure;      /* of the last write, until it is returned */
    _Atomic int report;      /* of `failure`: final once the thread has ended, or is about to */
    _Atomic int64_t written; /* step of the last file on disk, -1: none yet */
    pthread_mutex_t library; /* HDF5's lock: no child is forked while a thread holds it */
    const float *parameters, *running, *vectors; /* what is written: in `copy`, except in a child */
    float copy[]; /* parameters, running statistics, the optimizer's vectors */
};

/* *bytes(*count) = the checkpoint's file with its checksum; the caller frees it. Errors: DN_ENOMEM.
 */
dn_status dn_saver_build(const dn_saver *saver, char **bytes, size_t *count);

/* dn_file_write_as for a checkpoint. Errors: also DN_EIO if `path` is no regular file. */
dn_status dn_saver_write(const char *path, const char *suffix, const void *bytes, size_t count);

/* Checks that what is written is finite. Errors: DN_EDIVERGED (names the first tensor that is not).
 */
dn_status dn_saver_check_finite(const dn_saver *saver);

#endif
