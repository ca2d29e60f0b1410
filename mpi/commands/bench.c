/*
 * `dn_dist bench`: training steps on synthetic images, the whole of them, allreduce and update
 * included. The JSON's common keys are those of the PyTorch script that was measured beside it,
 * which is not part of this project; README.md says what it does.
 */
#include "commands/commands.h"

#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

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
    double *seconds; /* of each counted step */
    dn_peaks peaks;  /* with --roofline */
} bench;

/* The same images for every step: drawn once, before the first. */
static dn_status load_nothing(void *user, int virtual_rank, float *images, int32_t *labels)
{
    (void)user, (void)virtual_rank, (void)images, (void)labels;
    return DN_OK;
}

static void draw_images(const bench *b)
{
    const dn_view net = dn_net_view(b->net);
    const dn_spec *spec = net.spec;
    const size_t floats =
        (size_t)net.batch * (size_t)spec->channels * (size_t)spec->height * (size_t)spec->width;
    dn_random_normal(net.images, floats, 1, SEED, DN_STREAM_SYNTHETIC, (uint64_t)b->comm->rank);
    for (int i = 0; i < net.batch; i++)
        net.labels[i] = (int32_t)dn_random_below(
            dn_random(SEED, DN_STREAM_SYNTHETIC, ~(uint64_t)b->comm->rank, (uint64_t)i).word[0],
            (uint32_t)spec->classes);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static dn_status run_steps(bench *b)
{
    const int warmup = b->options->warmup, steps = b->options->steps;
    for (int i = 0; i < warmup + steps; i++) {
        if (i == warmup) {
            dn_net_phase_reset(b->net);
            b->step.times = (dn_step_times){0};
        }
        DN_MPI(MPI_Barrier(b->comm->world));
        const double start = MPI_Wtime();
        dn_step_result result;
        DN_TRY(dn_step_run(&b->step, i, 0.01, &result));
        if (i >= warmup)
            b->seconds[i - warmup] = MPI_Wtime() - start;
    }
    qsort(b->seconds, (size_t)steps, sizeof *b->seconds, ascending);
    return DN_OK;
}

/* Multiply-adds of a training step an image, three times the forward pass, in operations. */
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

/* Communication under computation. */
static double hidden(const dn_step_times *times)
{
    return times->flight > times->wait ? times->flight - times->wait : 0;
}

static json_t *phases(const bench *b)
{
    const dn_phase_times times = dn_net_phase_times(b->net);
    const double steps = b->options->steps;
    json_t *object = json_object();
    for (int p = 0; dn_phase_name(p); p++)
        json_object_set_new(object, dn_phase_name(p),
                            json_pack("{s:f, s:f}", "forward", times.forward[p] / steps, "backward",
                                      times.backward[p] / steps));
    const dn_step_times *t = &b->step.times;
    json_object_set_new(
        object, "communication",
        json_pack("{s:f, s:f}", "hidden", hidden(t) / steps, "exposed", t->exposed / steps));
    json_object_set_new(object, "imbalance", json_real(t->imbalance / steps));
    json_object_set_new(object, "update", json_real(t->update / steps));
    return object;
}

static const char *mode(const bench *b)
{
    return b->options->dtype == DN_BF16 ? "bf16" : "fp32";
}

static dn_status print_bench_json(const bench *b)
{
    const double median = b->seconds[b->options->steps / 2];
    const dn_view net = dn_net_view(b->net);
    const double images = (double)b->comm->size * net.batch;
    json_t *row = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:o}", "peer",
        "dn_dist", "model", net.spec->name, "mode", mode(b), "isa", net.kernels->name, "size",
        net.spec->height, "batch_per_rank", net.batch, "ranks", b->comm->size, "threads",
        omp_get_max_threads(), "parameters", (json_int_t)net.parameter_count, "images_per_s",
        images / median, "images_per_s_best", images / b->seconds[0], "step_s", median, "gflops",
        images / median * training_flops(b->net) / 1e9, "peak_rss_mib", peak_mib(), "phases_s",
        phases(b));
    dn_status status = DN_OK;
    if (row != NULL && b->options->roofline)
        status = dn_roofline_report(b->net, &b->peaks, b->options->steps, row);
    const dn_status written = dn_json_write(row, NULL);
    return status == DN_OK ? written : status;
}

static void print_bench_text(const bench *b)
{
    const dn_phase_times times = dn_net_phase_times(b->net);
    const double steps = b->options->steps, median = b->seconds[b->options->steps / 2];
    const double images = (double)b->comm->size * dn_net_view(b->net).batch;
    printf("images/s       %9.2f median, %.2f best\n", images / median, images / b->seconds[0]);
    printf("GFLOP/s        %9.1f\n", images / median * training_flops(b->net) / 1e9);
    printf("peak memory    %9.1f MiB (rank 0)\n", peak_mib());
    printf("seconds a step %9.4f median; means of phases:\n", median);
    for (int p = 0; dn_phase_name(p); p++)
        printf("  %-12s %9.4f forward %9.4f backward\n", dn_phase_name(p), times.forward[p] / steps,
               times.backward[p] / steps);
    const dn_step_times *t = &b->step.times;
    printf("  %-12s %9.4f hidden  %9.4f exposed\n", "communication", hidden(t) / steps,
           t->exposed / steps);
    printf("  %-12s %9.4f between ranks\n  %-12s %9.4f\n", "imbalance", t->imbalance / steps,
           "update", t->update / steps);
}

static dn_status create_bench(bench *b)
{
    DN_TRY(dn_options_net(b->options, NULL, b->comm->size, &b->net));
    dn_step_settings settings = b->options->step;
    settings.virtual_ranks = b->comm->size;
    settings.load = load_nothing;
    DN_TRY(dn_step_create(&b->step, b->comm, b->net, &settings));
    b->seconds = calloc((size_t)b->options->steps, sizeof *b->seconds);
    DN_CHECK(b->seconds != NULL, DN_ENOMEM, "memory: found none for %d steps", b->options->steps);
    return DN_OK;
}

/* Means over the counted steps. The last layer's floats include the batch statistics. */
static dn_status take_profile(const bench *b, dn_profile *profile)
{
    const double steps = b->options->steps;
    const dn_view net = dn_net_view(b->net);
    const int layers = net.layers;
    DN_TRY(dn_profile_create(profile, layers));
    snprintf(profile->model, sizeof profile->model, "%s", net.spec->name);
    snprintf(profile->mode, sizeof profile->mode, "%s", mode(b));
    snprintf(profile->isa, sizeof profile->isa, "%s", net.kernels->name);
    profile->size = net.spec->height;
    profile->batch = net.batch;
    profile->ranks = b->comm->size;
    profile->threads = omp_get_max_threads();
    for (int i = 0; i < layers; i++) {
        dn_layer_info layer;
        dn_net_layer_info(b->net, layers - 1 - i, &layer);
        profile->stage[i] = (dn_stage){layer.backward.seconds / steps, layer.parameters};
    }
    profile->statistics = net.leaf_count - net.parameter_count;
    profile->stage[layers - 1].floats += profile->statistics;
    profile->forward =
        fmax(0, b->step.times.compute / steps - dn_profile_backward_seconds(profile));
    profile->update = b->step.times.update / steps;
    return DN_OK;
}

static void destroy_bench(bench *b)
{
    dn_step_destroy(&b->step);
    dn_net_destroy(&b->net);
    free(b->seconds);
}

/* Creates and runs all; the caller destroys it, also after a failure. */
static dn_status run_bench(bench *b)
{
    const dn_options *o = b->options;
    DN_TRY(dn_comm_agree(b->comm, create_bench(b)));
    const dn_view net = dn_net_view(b->net);
    if (!o->json)
        dn_info("%s: %d ranks x %d threads, batch %d a rank, kernels %s", net.spec->name,
                b->comm->size, omp_get_max_threads(), o->batch_size, net.kernels->name);
    DN_TRY(dn_place_report(b->comm, b->comm->size, !o->json));
    dn_net_init(b->net, DN_INIT_KAIMING, SEED);
    draw_images(b);
    DN_TRY(run_steps(b));
    if (!o->roofline)
        return DN_OK;
    DN_MPI(MPI_Barrier(b->comm->world)); /* all ranks measure at once, as they work */
    return dn_comm_agree(b->comm,
                         dn_peaks_measure(&b->peaks, net.kernels, o->dtype, DN_PEAK_MEMORY_BYTES));
}

static dn_status report_bench(const bench *b)
{
    dn_profile profile = {0};
    dn_status status = DN_OK;
    if (b->options->json) {
        DN_TRY(print_bench_json(b));
    } else {
        print_bench_text(b);
        if (b->options->roofline)
            DN_TRY(dn_roofline_report(b->net, &b->peaks, b->options->steps, NULL));
    }
    if (b->options->profile[0] == '\0')
        return DN_OK;
    DN_TRY_OR_DONE(take_profile(b, &profile));
    DN_TRY_OR_DONE(dn_profile_write(&profile, b->options->profile));
done:
    dn_profile_destroy(&profile);
    return status;
}

dn_status dn_bench(const dn_comm *comm, dn_options *options)
{
    bench b = {.comm = comm, .options = options};
    dn_status status = run_bench(&b);
    if (status == DN_OK)
        status = dn_comm_agree(comm, comm->rank == 0 ? report_bench(&b) : DN_OK);
    destroy_bench(&b);
    return status;
}

dn_status dn_bench_profile(const dn_comm *comm, const dn_options *options, dn_profile *profile)
{
    bench b = {.comm = comm, .options = options};
    dn_status status = run_bench(&b);
    if (status == DN_OK)
        status = dn_comm_agree(comm, take_profile(&b, profile));
    destroy_bench(&b);
    return status;
}
