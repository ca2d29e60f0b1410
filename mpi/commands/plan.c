/*
 * `dn_dist plan`: predicts a step's time on 1, 2, 4, ... nodes from a step measured here, or from a
 * profile measured elsewhere, and from the network's latency and bandwidth (planning/scaling.h).
 *
 * Weak scaling, one virtual rank of --batch-size images a rank, unless --virtual-ranks fixes the
 * global batch.
 */
#include "commands/commands.h"

#include <jansson.h>
#include <stdio.h>

#include "planning/scaling.h"

static const double mib = 1 << 20, kib = 1 << 10;

static dn_scaling_job job_of(const dn_options *o, const dn_profile *profile)
{
    return (dn_scaling_job){
        .profile = profile,
        .network = {.inside = {o->inside_latency * 1e-6, o->inside_bandwidth * 1e9},
                    .between = {o->latency * 1e-6, o->bandwidth * 1e9}},
        .ranks_per_node = o->ranks_per_node > 0 ? o->ranks_per_node : profile->ranks,
        .virtual_ranks = o->step.virtual_ranks,
        .bucket_floats = (size_t)(o->step.bucket_mb * mib / sizeof(float)),
        .polls = o->step.comm_thread != DN_COMM_THREAD_ON,
    };
}

static void print_plan_heading(const dn_scaling_job *job)
{
    const dn_profile *p = job->profile;
    const dn_link inside = job->network.inside, between = job->network.between;
    printf("%s, %dx%d images, batch %d a virtual rank, %s, kernels %s; measured with %d ranks x %d "
           "threads:\n  forward %.4f s, backward %.4f s, update %.4f s, %.2f MiB to sum\n",
           p->model, p->size, p->size, p->batch, p->mode, p->isa, p->ranks, p->threads, p->forward,
           p->backward, p->update, (double)p->floats * sizeof(float) / mib);
    printf("links: %g us and %g GB/s between nodes, %g us and %g GB/s inside; buckets of at most "
           "%g MiB\n",
           between.latency * 1e6, between.bandwidth / 1e9, inside.latency * 1e6,
           inside.bandwidth / 1e9, (double)job->bucket_floats * sizeof(float) / mib);
    printf("%s; messages: what a rank sends a step, and the median one\n\n",
           job->virtual_ranks > 0 ? "strong scaling: the global batch stays"
                                  : "weak scaling: each rank has one virtual rank");
    printf("%6s %6s %9s %9s %9s %9s %10s %10s %8s %8s  %s\n", "nodes", "ranks", "step s",
           "compute s", "sum s", "exposed s", "images/s", "efficiency", "messages", "KiB", "limit");
}

/* efficiency: images/s over `nodes` times those of one node. */
static void print_plan_row(const dn_prediction *p, int nodes, double efficiency)
{
    printf("%6d %6d %9.5f %9.5f %9.5f %9.5f %10.1f %8.1f %% %8.0f %8.1f  %s\n", nodes, p->ranks,
           p->step, p->compute, p->communication, p->exposed, p->images_per_second,
           100 * efficiency, p->messages, p->median_message / kib, p->limit);
}

static json_t *encode_plan_row(const dn_prediction *p, int nodes, double efficiency)
{
    return json_pack("{s:i,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:i,s:f,s:f,s:f,s:s}", "nodes", nodes,
                     "ranks", p->ranks, "step_s", p->step, "compute_s", p->compute,
                     "communication_s", p->communication, "hidden_s", p->communication - p->exposed,
                     "exposed_s", p->exposed, "images_per_s", p->images_per_second, "efficiency",
                     efficiency, "rounds", p->rounds, "messages", p->messages,
                     "median_message_bytes", p->median_message, "least_message_bytes",
                     p->least_message, "limit", p->limit);
}

/* 1, 2, 4, ... and the most. */
static int next_nodes(int nodes, int most)
{
    return nodes < most && 2 * nodes > most ? most : 2 * nodes;
}

static dn_status print_predictions(const dn_options *o, const dn_profile *profile)
{
    dn_scaling_job job = job_of(o, profile);
    const int64_t ranks = (int64_t)job.ranks_per_node * o->nodes;
    DN_CHECK(ranks <= DN_SCALING_MOST_RANKS, DN_EINVAL,
             "--nodes %d of %d ranks: found %lld ranks, expected at most %d", o->nodes,
             job.ranks_per_node, (long long)ranks, DN_SCALING_MOST_RANKS);
    json_t *rows = json_array();
    double single = 0; /* images/s of one node */
    dn_status status = DN_OK;
    if (!o->json)
        print_plan_heading(&job);
    for (int nodes = 1; nodes <= o->nodes; nodes = next_nodes(nodes, o->nodes)) {
        dn_prediction p;
        job.nodes = nodes;
        DN_TRY_OR_DONE(dn_scaling_predict(&job, &p));
        single = nodes == 1 ? p.images_per_second : single;
        const double efficiency = p.images_per_second / (nodes * single);
        if (o->json)
            json_array_append_new(rows, encode_plan_row(&p, nodes, efficiency));
        else
            print_plan_row(&p, nodes, efficiency);
    }
    if (o->json)
        status = dn_json_write(json_pack("{s:s,s:i,s:i,s:O}", "model", profile->model, "size",
                                         profile->size, "batch_per_virtual_rank", profile->batch,
                                         "plan", rows),
                               NULL);
done:
    json_decref(rows);
    return status;
}

/* The options that say what to measure mean nothing beside a profile. */
static dn_status check_plan_options(const dn_options *options)
{
    static const char *const measured[] = {"model",      "size",      "classes", "channels",
                                           "batch-size", "steps",     "warmup",  "threads",
                                           "dtype",      "recompute", "isa"};
    for (size_t i = 0; options->profile[0] && i < sizeof measured / sizeof *measured; i++)
        DN_CHECK(!dn_options_given(options, measured[i]), DN_EINVAL,
                 "--%s: found it beside --profile, expected one of them: the profile has its own",
                 measured[i]);
    return DN_OK;
}

dn_status dn_plan_command(const dn_comm *comm, dn_options *options)
{
    dn_profile profile = {0};
    dn_status status;
    DN_TRY_OR_DONE(check_plan_options(options));
    if (options->profile[0] == '\0')
        DN_TRY_OR_DONE(dn_bench_profile(comm, options, &profile));
    else
        DN_TRY_OR_DONE(dn_comm_agree(
            comm, comm->rank == 0 ? dn_profile_read(&profile, options->profile) : DN_OK));
    status = dn_comm_agree(comm, comm->rank == 0 ? print_predictions(options, &profile) : DN_OK);
done:
    dn_profile_destroy(&profile);
    return status;
}
