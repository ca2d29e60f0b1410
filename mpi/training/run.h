/*
 * A training run: the state that mpi/commands/train*.c set up, and the loop from its first step to
 * its end.
 *
 * The position of a run is one number, the steps done: the epoch and the position in its order
 * follow from it, and with the schedule's state the learning rate.
 */
#ifndef DN_RUN_H
#define DN_RUN_H

#include <limits.h>

#include "dn/checkpoint.h"
#include "dn/claim.h"
#include "dn/loader.h"
#include "dn/metrics.h"
#include "dn/monitor.h"
#include "dn/schedule.h"
#include "dn/subset.h"
#include "job/preempt.h"
#include "training/split.h"
#include "training/step.h"

typedef struct dn_run {
    const dn_comm *comm;
    dn_run_settings settings;
    uint8_t *data_set;     /* rank 0: the contents of dataset.json, for checkpoints */
    char folder[PATH_MAX]; /* of checkpoints and metrics */
    dn_claim claim;        /* rank 0: of that folder */
    dn_split train, test, val;
    int64_t window;                /* shuffle window, images; 0: the whole split */
    dn_subset remaining, held_out; /* parts of the train split, if images are held out */
    const dn_source *training;     /* the training images: `train` or `remaining` */
    const dn_source *validation;   /* the images that judge the run: test, val or held_out */
    dn_transform transform, eval_transform; /* of images to train on, and to score */
    dn_net *net;
    float *class_weights;     /* (classes) of the loss, or NULL */
    uint32_t *order;          /* of epoch `ordered`, if the loss has class weights; or NULL */
    int64_t ordered;          /* -1: none yet */
    dn_step step;             /* whose batches come from dn_run_load */
    dn_metrics *metrics;      /* rank 0 */
    dn_saver *saver;          /* rank 0 */
    dn_checkpoint state;      /* the checkpoint that the run resumed from or saved last */
    dn_checkpoint_file *from; /* rank 0: the checkpoint to resume from, until it is loaded */
    dn_rate rate;
    dn_monitor monitor;
    dn_sequence sequence; /* of this rank's batches */
    dn_loader *loader;    /* begins with batch done x (virtual ranks of this rank) */
    int64_t done, last;   /* steps: trained so far, and at the run's end */
    int64_t saved;        /* `done` when this process saved last, -1 before */
    int64_t hashed;       /* `done` when state.hash was computed, -1 before */
    int lacks_scores;     /* 1: the evaluation after the last step is missing in metrics.jsonl */
    dn_preempt preempt;
    dn_failure failure; /* the first in saving; ends the run */
} dn_run;

/* The name of the scores that judge the run, as the objects of epochs in metrics.jsonl have it:
 * "val" or "test", or with averaged weights "ema_val" or "ema_test". Not collective. */
const char *dn_run_judge(const dn_run *run);

/* *best = the best epoch so far. Returns 0 if there is none. Not collective. */
int dn_run_best(const dn_run *run, dn_metrics_best *best);

/* Why a complete run has ended, as metrics.jsonl has it. Not collective. */
const char *dn_run_end_reason(const dn_run *run);

/* 1 if no step and no evaluation is left. Not collective. */
int dn_run_is_complete(const dn_run *run);

/* 1 if the evaluation after the run's last step is for metrics.jsonl alone: no checkpoint tells
 * whether it was done. Not collective. */
int dn_run_only_records_scores(const dn_run *run);

/* The dn_load_fn of a run, with the batches of its next step. */
dn_load_fn dn_run_load;

/*
 * Trains, evaluates and saves until the last step or an early stop. If a rank is preempted it saves
 * and returns DN_STOPPED. On DN_EDIVERGED nothing is saved, and checkpoints of that step are set
 * aside (dn_run_set_aside). Rank 0 writes checkpoints and metrics; all ranks compare the hash of
 * their weights whenever one is reported. Collective.
 */
dn_status dn_run_to_end(dn_run *run);

/* 1 if the run was stopped in the evaluation after its last epoch, or before the statistics of its
 * last averaged weights were measured. Not collective. */
int dn_run_awaits_evaluation(const dn_run *run);

/* At the end of a complete run that validation images judge: scores the test images with the
 * weights of best.h5 (of averages: with these), or the last ones if no epoch is the best, and
 * records the scores. A failure is a warning; DN_STOPPED if it was stopped. The net then has these
 * weights, and the run can no longer save. Collective (final_test.c). */
dn_status dn_run_test(dn_run *run);

/* 1 if dn_run_test scores images. Not collective. */
int dn_run_has_test(const dn_run *run);

/* dn_average_begin puts the averaged weights into the net and measures their statistics on training
 * images, since averaged running statistics would belong to other weights. dn_average_end restores
 * the trained weights; call it even after a failure. The run must not be saved in between.
 * DN_STOPPED, DN_ENOMEM. Collective (average.c). */
dn_status dn_average_begin(dn_run *run);
void dn_average_end(dn_run *run);

#endif
