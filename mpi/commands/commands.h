/* The commands of dn_dist. Each is collective and returns the same status on all ranks, with
 * dn_message set everywhere; results go to standard output of rank 0. */
#ifndef DN_COMMANDS_H
#define DN_COMMANDS_H

#include "job/comm.h"
#include "dn/source.h"
#include "dn/metrics.h"
#include "dn/net.h"
#include "options/options.h"
#include "planning/profile.h"
#include "training/step.h"
#include "job/preempt.h"

dn_status dn_train(const dn_comm *comm, dn_options *options);
dn_status dn_eval(const dn_comm *comm, dn_options *options);
dn_status dn_info_command(const dn_comm *comm, dn_options *options);
dn_status dn_bench(const dn_comm *comm, dn_options *options);
dn_status dn_plan_command(const dn_comm *comm, dn_options *options);

/* Measures steps as dn_bench does; each rank gets the profile of its own, to be destroyed by the
 * caller also after a failure. Collective. */
dn_status dn_bench_profile(const dn_comm *comm, const dn_options *options, dn_profile *profile);

/* Fills the test fields of `scores` with loss and accuracy over all images of a split. Exact on any
 * number of ranks: the images are cut into batches of the net's size, each computed once, counts
 * are whole numbers, and losses are added along the tree over the batches. Ends with DN_STOPPED,
 * not evaluated, when `stop` (or NULL) says so on a rank. DN_ENOMEM. Collective. */
dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_source *images,
                      const dn_preempt *stop, dn_epoch_metrics *scores);

#endif
