/*
 * What is set of a run, of its steps and of how its splits are read, by options
 * (options/options.h), which need nothing else of what runs by it; and what a run adds for its
 * steps: pointers and functions of its own.
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
    int64_t max_steps;        /* in all, those before a resumption counted; 0: no limit */
    int eval_every;           /* epochs between evaluations; 0: none */
    int best, early_stop;     /* of the monitor: dn_monitored, and its patience */
    double val_fraction;      /* of the training images, held out; 0: none */
    int64_t checkpoint_every; /* steps, besides every epoch's and the run's end; 0: none */
    int keep;                 /* newest checkpoints; 0: all */
} dn_run_settings;

/* How a split is read. */
typedef struct dn_reading {
    int io_threads;       /* of each rank; 0: one, or for encoded images a quarter of its threads */
    char stage[PATH_MAX]; /* a folder on the node's own disk to copy encoded shards to; or empty */
} dn_reading;

/* Automatic: where a rank may use more cores than it runs threads. */
typedef enum dn_comm_thread {
    DN_COMM_THREAD_AUTO,
    DN_COMM_THREAD_ON,
    DN_COMM_THREAD_OFF
} dn_comm_thread;

/* Fills images and labels of virtual rank `virtual_rank` for the running step, or leaves them as
 * they are and fails; adds to *waited the seconds that it waited for them. */
typedef dn_status dn_load_fn(void *user, int virtual_rank, float *images, int32_t *labels,
                             double *waited);

/* What all steps have in common. */
typedef struct dn_step_settings {
    int virtual_ranks; /* of the job, at least its ranks; 1 or this many form a norm group */
    dn_load_fn *load;  /* called for each of this rank's virtual ranks; of runs dn_run_load */
    void *user;        /* of `load` */
    uint64_t seed;     /* of dropout and mixing */
    double label_smoothing;
    dn_mixing mixing;           /* of each virtual rank's batch */
    const float *class_weights; /* (classes) of the loss, or NULL; not owned */
    double label_weights;       /* of the next step: what a virtual rank's labels weigh, in the mean
                                   over all; 0: each divides by its own labels' */
    int optimizer;              /* as dn_optimizer_get counts them */
    dn_optimizer_settings rule; /* of the optimizer; each step has its own rate */
    double head_rate;           /* of the linear layer: its rate over the others' */
    double clip_norm; /* the greatest norm of the mean gradient, as PyTorch's clip_grad_norm_ scales
                         it; 0: any */
    double average_decay; /* of averaged weights; 0: none are kept */
    double bucket_mb;     /* MiB of the gradient that travel together; at most an eighth of all */
    dn_dtype wire; /* of gradients between ranks; bf16: sums of virtual ranks are rounded too */
    dn_comm_thread comm_thread; /* a thread that only communicates */
    struct dn_preempt *preempt; /* asked in each step, its longest_step kept up to date; or NULL */
    struct dn_rescue *rescue;   /* held in each update (rescue.h); or NULL */
} dn_step_settings;

#endif
