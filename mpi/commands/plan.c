/*
 * `dn_dist plan`: predicts the time of a step on 1, 2, 4, ... nodes from a step measured here or a
 * profile measured elsewhere, and the network's latency and bandwidth (planning/scaling.h).
 *
 * It assumes weak scaling, one virtual rank of --batch-size images a rank, unless --virtual-ranks
 * fixes the global batch. An epoch is that of --data, or of the best-known data set with images of
 * the net's size.
 */
#include "commands/commands.h"
#include "commands/from_options.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dn/json.h"
#include "dn/manifest.h"
#include "dn/terminal.h"
#include "planning/scaling.h"

typedef struct image_set {
    char name[64];
    int64_t train, judging; /* images of an epoch, and of the evaluation after it */
    int most_size;          /* largest image size that this set is assumed for */
} image_set;

/* Assumed without --data, by image size. */
static const image_set known_sets[] = {{"MNIST", 60000, 10000, 28},
                                       {"CIFAR", 50000, 10000, 32},
                                       {"Tiny ImageNet", 100000, 10000, 64},
                                       {"ImageNet", 1281167, 50000, INT_MAX}};

static const double mib = 1 << 20, kib = 1 << 10, longest = 1e12; /* seconds that are printed */

static dn_scaling_job job_of(const dn_options *o, const dn_profile *profile)
{
    return (dn_scaling_job){
        .profile = profile,
        .network = {.inside = {o->inside_latency * 1e-6, o->inside_bandwidth * 1e9},
                    .between = {o->latency * 1e-6, o->bandwidth * 1e9}},
        .ranks_per_node = o->ranks_per_node > 0 ? o->ranks_per_node : profile->ranks,
        .step = &o->step,
    };
}

/* *set = that of --data; the net to measure takes image size and classes from it. */
static dn_status read_set(dn_options *o, image_set *set)
{
    dn_manifest *manifest;
    DN_TRY(dn_manifest_load(&manifest, o->data));
    const dn_data_info *const info = &manifest->info;
    const int64_t val = manifest->split[DN_VAL].count;
    *set = (image_set){.train = manifest->split[DN_TRAIN].count,
                       .judging = val > 0 ? val : manifest->split[DN_TEST].count};
    snprintf(set->name, sizeof set->name, "%s", info->dataset);
    dn_options_fit(o, info);
    free(manifest);
    DN_CHECK(set->train > 0, DN_EINVAL,
             "--data: found no train split in %s, expected one to plan epochs of", o->data);
    return DN_OK;
}

static void guess_set(int size, image_set *set)
{
    int known = 0;
    while (size > known_sets[known].most_size)
        known++;
    *set = known_sets[known];
}

/* Seconds of an epoch: its steps, and the evaluation, whose batches are divided between the ranks
 * and cost as much as a forward pass in training. NaN if a global batch is larger than an epoch. */
static double epoch_seconds(const dn_scaling_job *job, const image_set *set, const dn_prediction *p)
{
    const int v = job->step->virtual_ranks;
    const int64_t batch = job->profile->batch;
    const int64_t steps = set->train / (batch * (v > 0 ? v : p->ranks));
    const double batches = ceil((double)set->judging / (double)batch);
    const double evaluation = ceil(batches / p->ranks) * job->profile->forward;
    return steps > 0 ? (double)steps * p->step + evaluation : (double)NAN;
}

static void print_plan_heading(const dn_scaling_job *job, const image_set *set, int epochs)
{
    const dn_profile *p = job->profile;
    const dn_link inside = job->network.inside, between = job->network.between;
    printf("%s, %dx%d images, batch %d a virtual rank, %s, kernels %s; measured with %d ranks x %d "
           "threads:\n  forward %.4f s, backward %.4f s, update %.4f s, %.2f MiB to sum\n",
           p->model, p->size, p->size, p->batch, p->mode, p->isa, p->ranks, p->threads, p->forward,
           p->backward, p->update, (double)p->floats * sizeof(float) / mib);
    printf("links: %g us and %g GB/s between nodes, %g us and %g GB/s inside; buckets of at most "
           "%g MiB, sent as %s\n",
           between.latency * 1e6, between.bandwidth / 1e9, inside.latency * 1e6,
           inside.bandwidth / 1e9, job->step->bucket_mb, dn_dtype_name(job->step->wire));
    printf("%s; messages: what a rank sends a step, and the median one\n",
           job->step->virtual_ranks > 0 ? "strong scaling: the global batch stays"
                                        : "weak scaling: each rank has one virtual rank");
    printf("%s%s: an epoch has %" PRId64 " images, and is followed by an evaluation on %" PRId64
           "; a run has %d epochs (--epochs)\n\n",
           set->name, set->most_size > 0 ? " by the images' size (--data says which)" : "",
           set->train, set->judging, epochs);
    printf("%6s %6s %9s %9s %9s %9s %10s %10s %9s %10s %8s %8s  %s\n", "nodes", "ranks", "step s",
           "compute s", "sum s", "exposed s", "images/s", "efficiency", "epoch", "run", "messages",
           "KiB", "limit");
}

/* efficiency: images/s over `nodes` times those of one node; epoch, run: seconds. */
static void print_plan_row(const dn_prediction *p, int nodes, double efficiency, double epoch,
                           double run)
{
    char epoch_text[32] = "none", run_text[32] = "none";
    if (isfinite(run)) {
        dn_duration_text(fmin(epoch, longest), epoch_text);
        dn_duration_text(fmin(run, longest), run_text);
    }
    printf("%6d %6d %9.5f %9.5f %9.5f %9.5f %10.1f %8.1f %% %9s %10s %8.0f %8.1f  %s\n", nodes,
           p->ranks, p->step, p->compute, p->communication, p->exposed, p->images_per_second,
           100 * efficiency, epoch_text, run_text, p->messages, p->median_message / kib, p->limit);
}

static json_t *encode_plan_row(const dn_prediction *p, int nodes, double efficiency, double epoch,
                               double run)
{
    return json_pack("{s:i,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:o,s:o,s:i,s:f,s:f,s:f,s:s}", "nodes",
                     nodes, "ranks", p->ranks, "step_s", p->step, "compute_s", p->compute,
                     "communication_s", p->communication, "hidden_s", p->communication - p->exposed,
                     "exposed_s", p->exposed, "images_per_s", p->images_per_second, "efficiency",
                     efficiency, "epoch_s", dn_json_number(epoch), "run_s", dn_json_number(run),
                     "rounds", p->rounds, "messages", p->messages, "median_message_bytes",
                     p->median_message, "least_message_bytes", p->least_message, "limit", p->limit);
}

/* The next of 1, 2, 4, ... and `most`. */
static int next_nodes(int nodes, int most)
{
    return nodes < most && 2 * nodes > most ? most : 2 * nodes;
}

static dn_status print_predictions(const dn_options *o, const dn_profile *profile,
                                   const image_set *set)
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
        print_plan_heading(&job, set, o->epochs);
    for (int nodes = 1; nodes <= o->nodes; nodes = next_nodes(nodes, o->nodes)) {
        dn_prediction p;
        job.nodes = nodes;
        DN_TRY_OR_DONE(dn_scaling_predict(&job, &p));
        single = nodes == 1 ? p.images_per_second : single;
        const double efficiency = p.images_per_second / (nodes * single);
        const double epoch = epoch_seconds(&job, set, &p), run = o->epochs * epoch;
        if (o->json)
            json_array_append_new(rows, encode_plan_row(&p, nodes, efficiency, epoch, run));
        else
            print_plan_row(&p, nodes, efficiency, epoch, run);
    }
    if (o->json)
        status = dn_json_save(
            json_pack("{s:s,s:i,s:i,s:s,s:I,s:I,s:i,s:O}", "model", profile->model, "size",
                      profile->size, "batch_per_virtual_rank", profile->batch, "data_set",
                      set->name, "train_images", (json_int_t)set->train, "judging_images",
                      (json_int_t)set->judging, "epochs", o->epochs, "plan", rows),
            NULL, JSON_REAL_PRECISION(6));
done:
    json_decref(rows);
    return status;
}

static dn_status check_given(const dn_options *o)
{
    return o->profile[0]
               ? dn_options_check_use(o, DN_COMMAND_PROFILED,
                                      "found it beside --profile, expected one of them: the "
                                      "profile has its own")
               : DN_OK;
}

dn_status dn_plan_command(const dn_comm *comm, dn_options *options)
{
    dn_profile profile = {0};
    image_set set = {.name = ""};
    dn_status status;
    DN_TRY_OR_DONE(dn_comm_agree(comm, check_given(options)));
    if (dn_options_given(options, "data"))
        DN_TRY_OR_DONE(dn_comm_agree(comm, read_set(options, &set)));
    if (options->profile[0] == '\0')
        DN_TRY_OR_DONE(dn_bench_profile(comm, options, &profile));
    else
        DN_TRY_OR_DONE(DN_ON_RANK_0(comm, dn_profile_read(&profile, options->profile)));
    if (set.name[0] == '\0')
        guess_set(profile.size, &set);
    status = DN_ON_RANK_0(comm, print_predictions(options, &profile, &set));
done:
    dn_profile_destroy(&profile);
    return status;
}
