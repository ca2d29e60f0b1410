/* What checkpoint_write.c, which writes while training goes on, and checkpoint_rescue.c, whose
 * child writes when it is about to end, share. */
#ifndef DN_CHECKPOINT_SAVER_H
#define DN_CHECKPOINT_SAVER_H

#include <pthread.h>

#include "dn/checkpoint.h"

/* What a child's file ends in until it is whole: the parent may be writing, too. */
#define DN_RESCUED ".rescued"

/* What was told of a write's failure. */
typedef enum dn_told { DN_NO_FAILURE, DN_UNTOLD, DN_WARNED_OF } dn_told;

struct dn_saver {
    const dn_net *net;
    const dn_optimizer_state *optimizer;
    const char *folder;
    int keep;
    dn_checkpoint state;
    pthread_t thread;
    int is_writing;          /* the thread has to be joined */
    double seconds, longest; /* of the last write; of those that were joined */
    dn_failure failure;      /* of the last write, until it was reported */
    _Atomic dn_told told; /* of it: not DN_NO_FAILURE once the thread has ended, or will at once */
    _Atomic int64_t written; /* the step of the last file that is on the disk, -1 before */
    pthread_mutex_t library; /* HDF5's: no child is forked while a thread is inside */
    const float *parameters, *running, *vectors; /* what is written: in `copy`, but in a child */
    float copy[]; /* of parameters, running statistics, the optimizer's vectors */
};

/* bytes(count) = the checkpoint's file, sealed; the caller frees it. DN_ENOMEM. */
dn_status dn_saver_build(const dn_saver *saver, char **bytes, size_t *count);

/* As dn_checkpoint_check_finite, of what is written. */
dn_status dn_saver_check_finite(const dn_saver *saver);

#endif
