/*
 * A training run that is set up (train.c), and its way from the step it begins with to its end.
 *
 * The position of a run is one number, its steps done: epoch, place in the epoch's order and
 * learning rate follow from it.
 */
#ifndef DN_RUN_H
#define DN_RUN_H

#include "training/dataset.h"
#include "dn/checkpoint.h"
#include "dn/loader.h"
#include "dn/metrics.h"
#include "options/options.h"
#include "training/step.h"

typedef struct dn_run {
    const dn_comm *comm;
    dn_options *options;
    char folder[DN_PATH_SIZE];
    char resume[DN_PATH_SIZE], saved[DN_PATH_SIZE]; /* checkpoints: gone on from, last; or empty */
    dn_split train, test;
    dn_net *net;
    dn_step step;
    dn_metrics *metrics; /* rank 0 */
    dn_saver *saver;     /* rank 0 */
    dn_checkpoint state; /* momentum points at the step's */
    dn_rate rate;
    dn_sequence sequence; /* of this rank's batches */
    dn_loader *loader;    /* of batch done x (virtual ranks of this rank), and on */
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
