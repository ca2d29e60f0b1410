/*
 * The commands of dn_dist. Collective; all ranks return the same status, with the same dn_message.
 * Rank 0 prints the results to standard output. `comm` is NULL for the commands of
 * DN_COMMAND_ALONE.
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

/* Measures steps as dn_bench does; *profile = this rank's profile. The caller destroys it, even
 * after a failure. Collective. */
dn_status dn_bench_profile(const dn_comm *comm, const dn_options *options, dn_profile *profile);

#endif
