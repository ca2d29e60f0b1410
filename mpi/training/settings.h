/*
 * Settings of a run, of its steps, and of reading its splits, in a header of their own so that
 * options (options/options.h) depend on nothing else. Pointers and functions are not options: the
 * run sets them.
 */
#ifndef DN_TRAINING_SETTINGS_H
#define DN_TRAINING_SETTINGS_H

#include <limits.h>
#include <stdint.h>

#include "dn/kernels.h"
#include "dn/mixing.h"
#include "dn/optimizer.h"
#include "dn/status.h"

typedef struct dn_run_settings {
    int64_t max_steps;        /* in total, including those before a resume; 0: no limit */
    int eval_every;           /* epochs between evaluations; 0: only those of a plateau schedule */
    int best, early_stop;     /* of the monitor: dn_monitored; patience in epochs */
    double val_fraction;      /* of the training images, to hold out; 0: none */
    int64_t checkpoint_every; /* steps between further checkpoints than those of epochs; 0: none */
    int keep;                 /* number of newest checkpoints to keep; 0: all */
} dn_run_settings;

/* How a split is read. */
typedef struct dn_reading {
    int io_threads;       /* of each rank; 0: one; for encoded images a quarter of its threads */
    char stage[PATH_MAX]; /* folder on the node's disk to copy encoded shards to; or empty */
} dn_reading;

/* Automatic: on if the cores have room for one more thread of every rank on them, and so has the
 * CPU quota. A norm group has none. */
typedef enum dn_comm_thread {
    DN_COMM_THREAD_AUTO,
    DN_COMM_THREAD_ON,
    DN_COMM_THREAD_OFF
} dn_comm_thread;

/* Fills the images and labels of virtual rank `virtual_rank` for the current step; on failure they
 * are unchanged. Adds the seconds that it waited to *waited. */
typedef dn_status dn_load_fn(void *user, int virtual_rank, float *images, int32_t *labels,
                             double *waited);

/* What all steps have in common. */
typedef struct dn_step_settings {
    int virtual_ranks; /* of the job, >= its ranks; a norm group has 1 of them, or all */
    dn_load_fn *load;  /* called for each virtual rank of this rank; in runs dn_run_load, set by
                          dn_train_build */
    void *user;        /* of `load` */
    uint64_t seed;     /* of all random draws of the run */
    double label_smoothing;
    dn_mixing mixing;           /* within each virtual rank's batch */
    const float *class_weights; /* (classes) of the loss, or NULL; not owned */
    const uint8_t *label_sets;  /* as of dn_pass; not owned */
    int optimizer;              /* index for dn_optimizer_get */
    dn_optimizer_settings rule; /* of the optimizer, without the learning rate */
    double head_rate;           /* learning rate of the head as a multiple of the others' */
    double clip_norm; /* maximum norm of the mean gradient, as of PyTorch's clip_grad_norm_; 0: no
                         limit */
    double average_decay; /* of averaged weights (EMA); 0: no averaging */
    double bucket_mb;     /* MiB of gradients per bucket; capped (allreduce.h) */
    dn_dtype wire; /* of gradients between ranks; bf16: sums of virtual ranks are rounded too */
    dn_comm_thread comm_thread;
    struct dn_preempt *preempt; /* checked in each step, which updates its longest_step; or NULL */
    struct dn_rescue *rescue;   /* held in each update (rescue.h); or NULL */
} dn_step_settings;

#endif
