/*
 * The table of phases and layers beside the machine's roofs; see roofline.h.
 *
 * A layer's bound is the longer of its operations at the peak rate and its bytes at memory's best
 * rate; the fraction is that over the seconds it took. Layers are ranked by the seconds between
 * the two. Small maps stay in the caches from layer to layer, so a layer may beat memory's bound.
 */
#include "planning/roofline.h"
#include "dn/layer_info.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORST = 8 };

typedef struct row {
    char name[128];
    const char *direction;
    double seconds, flops, bytes, bound; /* of one step */
} row;

static void row_add(row *to, const row *from)
{
    to->seconds += from->seconds;
    to->flops += from->flops;
    to->bytes += from->bytes;
    to->bound += from->bound;
}

static double lost(const row *r)
{
    return r->seconds - r->bound;
}

static int most_lost_first(const void *a, const void *b)
{
    const double x = lost(a), y = lost(b);
    return x > y ? -1 : x < y;
}

/* Each layer forward and backward. */
static int row_count(const dn_net *net)
{
    return 2 * dn_net_view(net).layers;
}

/* Each phase forward and backward. */
static int phase_rows(void)
{
    int phases = 0;
    while (dn_phase_name(phases))
        phases++;
    return 2 * phases;
}

/* rows(row_count) of the layers, forward and backward, most lost first; phases(phase_rows) their
 * sums. */
static void measure_rows(const dn_net *net, const dn_peaks *peaks, int steps, row *rows,
                         row *phases)
{
    for (int p = 0; p < phase_rows(); p++) {
        phases[p] = (row){.direction = p % 2 ? "backward" : "forward"};
        snprintf(phases[p].name, sizeof phases->name, "%s", dn_phase_name(p / 2));
    }
    for (int i = 0; i < row_count(net); i++) {
        dn_layer_info info;
        dn_net_layer_info(net, i / 2, &info);
        const dn_layer_work work = i % 2 ? info.backward : info.forward;
        rows[i] = (row){.direction = i % 2 ? "backward" : "forward",
                        .seconds = work.seconds / steps,
                        .flops = work.flops,
                        .bytes = work.bytes,
                        .bound = dn_peaks_bound(peaks, work.flops, work.bytes)};
        snprintf(rows[i].name, sizeof rows->name, "%s %dx%d", info.name, info.out_height,
                 info.out_width);
        row_add(&phases[2 * info.phase + i % 2], &rows[i]);
    }
    qsort(rows, (size_t)row_count(net), sizeof *rows, most_lost_first);
}

static void print_roofline_row(const row *r)
{
    if (r->seconds > 0)
        printf("%-46s %-8s %9.5f %9.1f %9.1f %7.1f %9.2f\n", r->name, r->direction, r->seconds,
               r->flops / r->seconds * 1e-9, r->bytes * 1e-6, r->bytes / r->seconds * 1e-9,
               r->bound / r->seconds);
}

static void print_roofline_heading(const char *what)
{
    printf("%-46s %-8s %9s %9s %9s %7s %9s\n", what, "pass", "seconds", "GFLOP/s", "MB", "GB/s",
           "of bound");
}

static void print_roofline(const dn_peaks *peaks, const row *phases, const row *rows, int count)
{
    row total = {.name = "all layers", .direction = "both"};
    printf(
        "\nroofs of a rank's %d threads: %.1f GFLOP/s, memory %.1f GB/s read, %.1f GB/s read and "
        "written\n",
        omp_get_max_threads(), peaks->flops * 1e-9, peaks->read * 1e-9, peaks->scale * 1e-9);
    print_roofline_heading("phase");
    for (int p = 0; p < phase_rows(); p++) {
        print_roofline_row(&phases[p]);
        row_add(&total, &phases[p]);
    }
    print_roofline_row(&total);
    print_roofline_heading("layers that lose most");
    for (int i = 0; i < WORST && i < count; i++)
        print_roofline_row(&rows[i]);
}

static json_t *encode_rows(const row *rows, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(array, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "name",
                                               rows[i].name, "pass", rows[i].direction, "s",
                                               rows[i].seconds, "flops", rows[i].flops, "bytes",
                                               rows[i].bytes, "bound_s", rows[i].bound));
    return array;
}

dn_status dn_roofline_report(const dn_net *net, const dn_peaks *peaks, int steps, json_t *report)
{
    const int count = row_count(net);
    row phases[2 * DN_MAX_PHASES], *rows = calloc((size_t)count, sizeof *rows);
    DN_CHECK(rows != NULL, DN_ENOMEM, "memory: found none for a roofline");
    measure_rows(net, peaks, steps, rows, phases);
    if (report == NULL)
        print_roofline(peaks, phases, rows, count);
    else
        json_object_set_new(report, "roofline",
                            json_pack("{s:f, s:f, s:f, s:o, s:o}", "peak_gflops",
                                      peaks->flops * 1e-9, "read_gb_per_s", peaks->read * 1e-9,
                                      "scale_gb_per_s", peaks->scale * 1e-9, "phases",
                                      encode_rows(phases, phase_rows()), "layers",
                                      encode_rows(rows, count)));
    free(rows);
    return DN_OK;
}
