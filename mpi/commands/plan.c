/*
 * `dn_dist plan`: predicts a step's time on 1, 2, 4, ... nodes from a step measured here, or from a
 * profile measured elsewhere, and from the network's latency and bandwidth (mpi/scaling.h).
 *
 * Weak scaling, one virtual rank of --batch-size images a rank, unless --virtual-ranks fixes the
 * global batch.
 */
#include "commands/commands.h"

#include <jansson.h>
#include <stdio.h>

#include "planning/scaling.h"

static dn_scaling_job job_of(const dn_options *o, const dn_profile *profile)
{
    return (dn_scaling_job){
        .profile = profile,
        .network = {.inside = {o->inside_latency * 1e-6, o->inside_bandwidth * 1e9},
                    .between = {o->latency * 1e-6, o->bandwidth * 1e9}},
        .ranks_per_node = o->ranks_per_node > 0 ? o->ranks_per_node : profile->ranks,
        .virtual_ranks = o->step.virtual_ranks,
        .bucket_floats = (size_t)(o->step.bucket_mb * (1 << 20) / sizeof(float)),
        .polls = o->step.comm_thread != DN_COMM_THREAD_ON,
    };
}

/* images/s over so many times those of one node. */
static double efficiency(const dn_prediction *p, int nodes, double single)
{
    return p->images_per_second / (nodes * single);
}

static void print_head(const dn_scaling_job *job)
{
    const dn_profile *p = job->profile;
    const dn_link inside = job->network.inside, between = job->network.between;
    printf("%s, %dx%d images, batch %d a virtual rank, %s, kernels %s; measured with %d ranks x %d "
           "threads:\n  forward %.4f s, backward %.4f s, update %.4f s, %.2f MiB to sum\n",
           p->model, p->size, p->size, p->batch, p->mode, p->isa, p->ranks, p->threads, p->forward,
           dn_profile_backward_seconds(p), p->update,
           (double)dn_profile_floats(p) * sizeof(float) / (1 << 20));
    printf("links: %g us and %g GB/s between nodes, %g us and %g GB/s inside; buckets of at most "
           "%g MiB\n",
           between.latency * 1e6, between.bandwidth / 1e9, inside.latency * 1e6,
           inside.bandwidth / 1e9, (double)job->bucket_floats * sizeof(float) / (1 << 20));
    printf("%s\n\n", job->virtual_ranks > 0 ? "strong scaling: the global batch stays"
                                            : "weak scaling: each rank has one virtual rank");
    printf("%6s %6s %10s %10s %10s %10s %10s %10s  %s\n", "nodes", "ranks", "step s", "compute s",
           "sum s", "exposed s", "images/s", "efficiency", "limit");
}

static void print_row(const dn_prediction *p, int nodes, double single)
{
    printf("%6d %6d %10.4f %10.4f %10.4f %10.4f %10.1f %8.1f %%  %s\n", nodes, p->ranks, p->step,
           p->compute, p->communication, p->exposed, p->images_per_second,
           100 * efficiency(p, nodes, single), p->limit);
}

static json_t *row(const dn_prediction *p, int nodes, double single)
{
    return json_pack("{s:i,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:s}", "nodes", nodes, "ranks", p->ranks,
                     "step_s", p->step, "compute_s", p->compute, "communication_s",
                     p->communication, "hidden_s", p->communication - p->exposed, "exposed_s",
                     p->exposed, "images_per_s", p->images_per_second, "efficiency",
                     efficiency(p, nodes, single), "limit", p->limit);
}

static dn_status print_json(json_t *rows, const dn_profile *profile)
{
    json_t *root = json_pack("{s:s,s:i,s:i,s:O}", "model", profile->model, "size", profile->size,
                             "batch_per_virtual_rank", profile->batch, "plan", rows);
    DN_CHECK(root != NULL, DN_ENOMEM, "memory: found none for the results");
    const int failed = json_dumpf(root, stdout, JSON_REAL_PRECISION(6)) || putchar('\n') == EOF ||
                       fflush(stdout) == EOF;
    json_decref(root);
    DN_CHECK(!failed, DN_EIO, "standard output: results not written");
    return DN_OK;
}

/* 1, 2, 4, ... and the most. */
static int next_nodes(int nodes, int most)
{
    return nodes < most && 2 * nodes > most ? most : 2 * nodes;
}

static dn_status print_plan(const dn_options *o, const dn_profile *profile)
{
    dn_scaling_job job = job_of(o, profile);
    const int ranks = job.ranks_per_node * o->nodes;
    DN_CHECK(ranks <= DN_SCALING_MOST_RANKS, DN_EINVAL,
             "--nodes %d of %d ranks: found %d ranks, expected at most %d", o->nodes,
             job.ranks_per_node, ranks, DN_SCALING_MOST_RANKS);
    json_t *rows = json_array();
    double single = 0;
    dn_status status = DN_OK;
    if (!o->json)
        print_head(&job);
    for (int nodes = 1; nodes <= o->nodes; nodes = next_nodes(nodes, o->nodes)) {
        dn_prediction p;
        job.nodes = nodes;
        DN_TRY_OR_DONE(dn_scaling_predict(&job, &p));
        single = nodes == 1 ? p.images_per_second : single;
        if (o->json)
            json_array_append_new(rows, row(&p, nodes, single));
        else
            print_row(&p, nodes, single);
    }
    if (o->json)
        status = print_json(rows, profile);
done:
    json_decref(rows);
    return status;
}

/* The options that say what to measure mean nothing beside a profile. */
static dn_status check_options(const dn_options *options)
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
    DN_TRY_OR_DONE(check_options(options));
    if (options->profile[0] == '\0')
        DN_TRY_OR_DONE(dn_bench_profile(comm, options, &profile));
    else
        DN_TRY_OR_DONE(dn_comm_agree(
            comm, comm->rank == 0 ? dn_profile_read(&profile, options->profile) : DN_OK));
    status = dn_comm_agree(comm, comm->rank == 0 ? print_plan(options, &profile) : DN_OK);
done:
    dn_profile_destroy(&profile);
    return status;
}
