/*
 * A training run that is set up (train.c), and its way from the step it begins with to its end.
 *
 * The position of a run is one number, its steps done: epoch and place in the epoch's order follow
 * from it, and the learning rate from it and the schedule's state.
 */
#ifndef DN_RUN_H
#define DN_RUN_H

#include <limits.h>

#include "dn/checkpoint.h"
#include "dn/loader.h"
#include "dn/metrics.h"
#include "dn/optimizer.h"
#include "dn/schedule.h"
#include "training/dataset.h"
#include "training/step.h"

typedef struct dn_run_settings {
    const char *data;              /* the data set's folder, for messages */
    uint64_t seed;                 /* of order, augmentation and dropout */
    int batch_size;                /* images of a virtual rank */
    int augment;                   /* 1: pad, crop and flip */
    int64_t steps_per_epoch, last; /* last: steps done when it ends */
    dn_optimizer_settings optimizer; /* its rate is set in each step */
    float label_smoothing;
    int eval_every;           /* epochs between evaluations; 0: none */
    int64_t checkpoint_every; /* steps, besides every epoch's and the run's end; 0: none */
} dn_run_settings;

typedef struct dn_run {
    const dn_comm *comm;
    dn_run_settings settings;
    char folder[PATH_MAX]; /* of checkpoints and metrics */
    char saved[PATH_MAX];  /* the last checkpoint, or empty */
    dn_split train, test;
    dn_net *net;
    dn_step step;
    dn_metrics *metrics;      /* rank 0 */
    dn_saver *saver;          /* rank 0 */
    dn_checkpoint state;      /* what the run goes on from, or saved last */
    dn_checkpoint_file *from; /* rank 0: what it goes on from, until that is loaded; or NULL */
    dn_rate rate;
    dn_sequence sequence; /* of this rank's batches */
    dn_loader *loader;    /* of batch done x (virtual ranks of this rank), and on */
    int64_t done;         /* steps */
    dn_preempt stop;
    dn_status failure; /* of metrics and checkpoints, met by rank 0, told at the next checkpoint */
    char reason[1024]; /* its message */
} dn_run;

/*
 * Trains, evaluates and saves until the last step, or until a rank is asked to stop: then saves and
 * returns DN_STOPPED. On DN_EDIVERGED the state before the step is saved. Rank 0 writes checkpoints
 * and metrics; all ranks compare the hash of their weights whenever one is reported. Collective.
 */
dn_status dn_run_to_end(dn_run *run);

/* Fills the test fields of `scores` with loss and accuracy over all images of a split (evaluate.c).
 * Exact on any number of ranks: the images are cut into batches of the net's size, each computed
 * once, counts are whole numbers, and losses are added along the tree over the batches. Ends with
 * DN_STOPPED, not evaluated, when `stop` (or NULL) says so on a rank. DN_ENOMEM. Collective. */
dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_source *images,
                      const dn_preempt *stop, dn_epoch_metrics *scores);

#endif
