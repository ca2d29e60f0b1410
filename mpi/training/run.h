/*
 * A training run that is set up (train.c), and its way from the step it begins with to its end.
 *
 * The position of a run is one number, its steps done: epoch and place in the epoch's order follow
 * from it, and the learning rate from it and the schedule's state.
 */
#ifndef DN_RUN_H
#define DN_RUN_H

#include "training/dataset.h"
#include "dn/checkpoint.h"
#include "dn/metrics.h"
#include "options/options.h"
#include "training/step.h"

typedef struct dn_run {
    const dn_comm *comm;
    dn_options *options;
    char folder[DN_PATH_SIZE];
    char saved[DN_PATH_SIZE]; /* the last checkpoint, or empty */
    dn_split train, test;
    dn_net *net;
    dn_step step;
    dn_metrics *metrics;      /* rank 0 */
    dn_saver *saver;          /* rank 0 */
    dn_checkpoint state;      /* what the run goes on from, or saved last */
    dn_checkpoint_file *from; /* rank 0: what it goes on from, until that is loaded; or NULL */
    dn_rate rate;
    uint32_t *order;                            /* the epoch's permutation */
    int64_t ordered_epoch;                      /* that `order` is of; -1: none */
    int64_t steps_per_epoch, first, done, last; /* steps; first: done at the start */
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

#endif
