/*
 * `dn_dist bench`: times complete training steps on synthetic images, with allreduce and update.
 * The JSON shares its keys with the PyTorch script that the figures compare it with; that script is
 * not part of this project and is described in docs/figures.md.
 */
#include "commands/commands.h"

#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "commands/from_options.h"
#include "commands/memory.h"
#include "dn/json.h"
#include "dn/layer_info.h"
#include "dn/rng.h"
#include "job/placement.h"
#include "planning/profile.h"
#include "planning/roofline.h"
#include "training/step.h"

enum { SEED = 1 };

typedef struct bench {
    const dn_comm *comm;
    const dn_options *options;
    dn_net *net;
    dn_step step;
    double *seconds; /* of each timed step */
    dn_peaks peaks;  /* with --roofline */
} bench;

/* A dn_load_fn: all steps use the images drawn before the first. */
static dn_status load_nothing(void *user, int virtual_rank, float *images, int32_t *labels,
                              double *waited)
{
    (void)user, (void)virtual_rank, (void)images, (void)labels, (void)waited;
    return DN_OK;
}

static void draw_images(const bench *b)
{
    const dn_view net = dn_net_view(b->net);
    const size_t floats = (size_t)net.batch * dn_spec_values(net.spec);
    dn_random_normal(net.images, floats, 1, SEED, DN_STREAM_SYNTHETIC, (uint64_t)b->comm->rank);
    for (int i = 0; i < net.batch; i++)
        net.labels[i] = (int32_t)dn_random_below(
            dn_random(SEED, DN_STREAM_SYNTHETIC, ~(uint64_t)b->comm->rank, (uint64_t)i).word[0],
            (uint32_t)net.spec->classes);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static dn_status time_steps(bench *b)
{
    const int warmup = b->options->warmup, steps = b->options->steps;
    for (int i = 0; i < warmup + steps; i++) {
        if (i == warmup) {
            dn_net_phase_reset(b->net);
            b->step.times = (dn_step_times){0};
        }
        DN_COLLECTIVE(b->comm, MPI_Barrier(b->comm->world));
        const double start = MPI_Wtime();
        dn_step_result result;
        DN_TRY(dn_step_run(&b->step, i, 0.01, 0, &result));
        if (i >= warmup)
            b->seconds[i - warmup] = MPI_Wtime() - start;
    }
    qsort(b->seconds, (size_t)steps, sizeof *b->seconds, ascending);
    return DN_OK;
}

/* Operations per image of a training step: multiply-adds are two each, and a step takes three times
 * those of the forward pass. */
static double training_flops(const dn_net *net)
{
    double multiply_adds = 0;
    for (int i = 0; i < dn_net_view(net).layers; i++) {
        dn_layer_info layer;
        dn_net_layer_info(net, i, &layer);
        multiply_adds += layer.multiply_adds;
    }
    return 6 * multiply_adds;
}

static double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static json_t *encode_phases(const bench *b)
{
    const dn_step_times *t = &b->step.times;
    const double steps = b->options->steps;
    double forward[DN_MAX_PHASES] = {0}, backward[DN_MAX_PHASES] = {0};
    json_t *phases = json_object();
    for (int i = 0; i < dn_net_view(b->net).layers; i++) {
        dn_layer_info layer;
        dn_net_layer_info(b->net, i, &layer);
        forward[layer.phase] += layer.forward.seconds;
        backward[layer.phase] += layer.backward.seconds;
    }
    for (int p = 0; dn_phase_name(p); p++)
        json_object_set_new(phases, dn_phase_name(p),
                            json_pack("{s:f, s:f}", "forward", forward[p] / steps, "backward",
                                      backward[p] / steps));
    json_object_set_new(phases, "communication",
                        json_pack("{s:f, s:f}", "hidden", fmax(0, t->flight - t->wait) / steps,
                                  "exposed", t->exposed / steps));
    json_object_set_new(phases, "imbalance", json_real(t->imbalance / steps));
    json_object_set_new(phases, "update", json_real(t->update / steps));
    return phases;
}

static json_t *encode_bench(const bench *b)
{
    const dn_view net = dn_net_view(b->net);
    const double median = b->seconds[b->options->steps / 2];
    const double images = (double)b->comm->size * net.batch;
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:o}",
                     "model", net.spec->name, "mode", dn_dtype_name(b->options->dtype), "isa",
                     net.kernels->products[b->options->dtype].name, "size", net.spec->height,
                     "batch_per_rank", net.batch, "ranks", b->comm->size, "threads",
                     omp_get_max_threads(), "parameters", (json_int_t)net.parameter_count,
                     "images_per_s", images / median, "images_per_s_best", images / b->seconds[0],
                     "step_s", median, "gflops", images / median * training_flops(b->net) / 1e9,
                     "peak_rss_mib", peak_mib(), "phases_s", encode_phases(b));
}

static double figure(const json_t *report, const char *key)
{
    return json_real_value(json_object_get(report, key));
}

/* Prints the same figures as a table. */
static void print_bench(const json_t *report)
{
    json_t *phases = json_object_get(report, "phases_s"), *phase, *seconds;
    const char *name, *part;
    printf("images/s       %9.2f median, %.2f best\n", figure(report, "images_per_s"),
           figure(report, "images_per_s_best"));
    printf("GFLOP/s        %9.1f\n", figure(report, "gflops"));
    printf("peak memory    %9.1f MiB (rank 0)\n", figure(report, "peak_rss_mib"));
    printf("seconds a step %9.4f median; means of phases:\n", figure(report, "step_s"));
    json_object_foreach(phases, name, phase)
    {
        if (!json_is_object(phase))
            continue;
        printf("  %-12s", name);
        json_object_foreach(phase, part, seconds)
            printf(" %9.4f %-7s", json_real_value(seconds), part);
        puts("");
    }
    printf("  imbalance    %9.4f between ranks\n", figure(phases, "imbalance"));
    printf("  update       %9.4f\n", figure(phases, "update"));
}

static dn_status create_bench(bench *b)
{
    DN_TRY(dn_options_net(b->options, DN_NET_TRAINS, NULL, NULL, b->comm->size, &b->net));
    dn_step_settings settings = b->options->step;
    settings.virtual_ranks = b->comm->size;
    settings.load = load_nothing;
    settings.head_rate = 1;
    DN_TRY(dn_step_create(&b->step, b->comm, b->net, &settings));
    b->seconds = calloc((size_t)b->options->steps, sizeof *b->seconds);
    DN_CHECK(b->seconds != NULL, DN_ENOMEM, "out of memory for %d steps", b->options->steps);
    return DN_OK;
}

static void destroy_bench(bench *b)
{
    dn_step_destroy(&b->step);
    dn_net_destroy(&b->net);
    free(b->seconds);
}

/* Creates and runs the bench; the caller destroys it, even after a failure. */
static dn_status run_bench(bench *b)
{
    const dn_options *o = b->options;
    DN_TRY(dn_comm_agree(b->comm, create_bench(b)));
    DN_TRY(dn_check_memory(b->comm, b->net, dn_step_bytes(&b->step),
                           "the optimizer's, which fewer ranks here would need less of"));
    const dn_view net = dn_net_view(b->net);
    if (!o->json)
        dn_info("%s: %d ranks x %d threads, batch %d a rank, kernels %s", net.spec->name,
                b->comm->size, omp_get_max_threads(), o->batch_size,
                net.kernels->products[o->dtype].name);
    DN_TRY(dn_place_report(b->comm, b->comm->size, !o->json));
    dn_net_init(b->net, DN_INIT_KAIMING, SEED);
    draw_images(b);
    DN_TRY(time_steps(b));
    if (!o->roofline)
        return DN_OK;
    DN_COLLECTIVE(b->comm,
                  MPI_Barrier(b->comm->world)); /* all ranks measure at once, as they work */
    return dn_comm_agree(b->comm,
                         dn_peaks_measure(&b->peaks, net.kernels, o->dtype, DN_PEAK_MEMORY_BYTES));
}

static json_t *encode_own_profile(const bench *b)
{
    return dn_profile_encode(b->net, b->options->dtype, b->comm->size, &b->step.times,
                             b->options->steps);
}

static dn_status report_bench(const bench *b)
{
    const dn_options *o = b->options;
    json_t *report = encode_bench(b);
    dn_status status = DN_OK;
    DN_CHECK(report != NULL, DN_ENOMEM, "out of memory for the bench's results");
    if (!o->json)
        print_bench(report);
    if (o->roofline)
        status = dn_roofline_report(b->net, &b->peaks, o->steps, o->json ? report : NULL);
    if (status == DN_OK && o->json)
        status = dn_json_save(json_incref(report), NULL, JSON_REAL_PRECISION(6));
    json_decref(report);
    DN_TRY(status);
    return o->profile[0] ? dn_json_save(encode_own_profile(b), o->profile,
                                        JSON_INDENT(1) | JSON_REAL_PRECISION(9))
                         : DN_OK;
}

static dn_status check_given(const dn_options *o)
{
    return o->reader
               ? dn_options_check_use(o, DN_COMMAND_READER,
                                      "found it with --reader: reading alone is timed, and no step")
               : dn_options_check_use(
                     o, DN_COMMAND_STEPS,
                     "found it without --reader: steps are timed on synthetic images");
}

dn_status dn_bench(const dn_comm *comm, dn_options *options)
{
    DN_TRY(dn_comm_agree(comm, check_given(options)));
    if (options->reader)
        return dn_bench_reader(comm, options);
    if (options->profile[0])
        DN_TRY(DN_ON_RANK_0(comm, dn_profile_check_path(options->profile)));
    bench b = {.comm = comm, .options = options};
    dn_status status = run_bench(&b);
    if (status == DN_OK)
        status = DN_ON_RANK_0(comm, report_bench(&b));
    destroy_bench(&b);
    return status;
}

dn_status dn_bench_profile(const dn_comm *comm, const dn_options *options, dn_profile *profile)
{
    bench b = {.comm = comm, .options = options};
    dn_status status = run_bench(&b);
    if (status == DN_OK)
        status = dn_comm_agree(
            comm, dn_profile_decode(profile, encode_own_profile(&b), "measured profile"));
    destroy_bench(&b);
    return status;
}
