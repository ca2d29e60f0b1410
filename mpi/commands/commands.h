/*
 * The commands of dn_dist. Collective; the same status on all ranks, with dn_message set
 * everywhere. Results go to standard output of rank 0. Those of DN_COMMAND_ALONE get no `comm`.
 */
#ifndef DN_COMMANDS_H
#define DN_COMMANDS_H

#include "job/comm.h"
#include "options/options.h"
#include "planning/profile.h"

dn_status dn_train(const dn_comm *comm, dn_options *options);
dn_status dn_eval(const dn_comm *comm, dn_options *options);
dn_status dn_predict(const dn_comm *comm, dn_options *options);
dn_status dn_export(const dn_comm *comm, dn_options *options);
dn_status dn_info_command(const dn_comm *comm, dn_options *options);
dn_status dn_bench(const dn_comm *comm, dn_options *options);
dn_status dn_bench_reader(const dn_comm *comm, dn_options *options); /* dn_bench, with --reader */
dn_status dn_report_command(const dn_comm *comm, dn_options *options);
dn_status dn_top_command(const dn_comm *comm, dn_options *options);
dn_status dn_plan_command(const dn_comm *comm, dn_options *options);
dn_status dn_models_command(const dn_comm *comm, dn_options *options);
dn_status dn_recipes_command(const dn_comm *comm, dn_options *options);

/* Measures steps as dn_bench does; each rank gets the profile of its own, to be destroyed by the
 * caller also after a failure. Collective. */
dn_status dn_bench_profile(const dn_comm *comm, const dn_options *options, dn_profile *profile);

#endif
