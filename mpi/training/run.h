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
#include "dn/claim.h"
#include "dn/loader.h"
#include "dn/metrics.h"
#include "dn/optimizer.h"
#include "dn/monitor.h"
#include "dn/schedule.h"
#include "dn/subset.h"
#include "training/evaluate.h"
#include "training/split.h"
#include "training/step.h"

typedef struct dn_run {
    const dn_comm *comm;
    dn_run_settings settings;
    uint8_t *data_set;     /* rank 0: its dataset.json, for checkpoints */
    char folder[PATH_MAX]; /* of checkpoints and metrics */
    dn_claim claim;        /* rank 0: of that folder */
    dn_split train, test, val;
    int64_t window;                         /* of the order of an epoch; 0: the whole split */
    dn_subset kept, held_out;               /* of the train split, where images are held out */
    const dn_source *training;              /* what is trained on: `train` or `kept` */
    const dn_source *validation;            /* the run is judged by: test, val or held_out */
    dn_transform transform, eval_transform; /* of the train and test images */
    dn_net *net;
    float *class_weights;     /* (classes) of the loss, or NULL */
    uint32_t *order;          /* of epoch `ordered`, where the loss is weighed; or NULL */
    int64_t ordered;          /* -1: none yet */
    dn_step step;             /* whose batches come from dn_run_load */
    dn_metrics *metrics;      /* rank 0 */
    dn_saver *saver;          /* rank 0 */
    dn_checkpoint state;      /* what the run goes on from, or saved last; `path` is that file's */
    dn_checkpoint_file *from; /* rank 0: what it goes on from, until that is loaded; or NULL */
    dn_rate rate;
    dn_monitor monitor;
    dn_sequence sequence; /* of this rank's batches */
    dn_loader *loader;    /* of batch done x (virtual ranks of this rank), and on */
    int64_t done, last;   /* steps: trained so far, and when the run ends */
    int64_t saved;        /* steps done when this process saved last, -1 before */
    dn_preempt preempt;
    dn_failure failure; /* the first that rank 0 met in writing metrics or a checkpoint: told at the
                           next checkpoint, so that no work is lost to it */
} dn_run;

/* The scores that judge the run, by their name in its epochs: on which images, and of averaged
 * weights where there are such. */
const char *dn_run_judge(const dn_run *run);

/* *best = the best epoch so far; 0 where there is none. */
int dn_run_best(const dn_run *run, dn_metrics_best *best);

/* The dn_load_fn of a run: batches of its next step. */
dn_load_fn dn_run_load;

/*
 * Trains, evaluates and saves until the last step, or an early stop, or until a rank is preempted:
 * then saves and returns DN_STOPPED. On DN_EDIVERGED nothing is saved, and checkpoints of that step
 * are set aside (dn_run_set_aside). Rank 0 writes checkpoints and metrics; all ranks compare the
 * hash of their weights whenever one is reported. Collective.
 */
dn_status dn_run_to_end(dn_run *run);

/* 1 where the run was stopped in the evaluation at the end of its last epoch, or before the
 * averages of its last step had their statistics. */
int dn_run_awaits_evaluation(const dn_run *run);

/* Puts the averaged weights into the net's place, with statistics of the training images that are
 * measured anew: averages of running statistics would be those of other weights. And back; to be
 * called after a failure, too. Until then nothing saves the run. DN_STOPPED, DN_ENOMEM. Collective
 * (average.c). */
dn_status dn_average_begin(dn_run *run);
void dn_average_end(dn_run *run);

#endif
