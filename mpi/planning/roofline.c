/*
 * The table of phases and layers with their bounds; see roofline.h.
 *
 * A layer's bound is the larger of its operations / peak FLOP/s and its bytes / peak memory
 * bandwidth; its fraction is the bound over the measured time. Layers are ranked by measured time
 * minus bound. Small maps stay in the caches between layers, so a layer may beat its memory bound.
 */
#include "planning/roofline.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "dn/layer_info.h"

enum { WORST = 8 };

typedef struct row {
    char name[128];
    const char *pass;
    double seconds, flops, bytes, bound; /* of one step */
} row;

static const char *const pass_name[] = {"forward", "backward"};

static void row_add(row *to, const row *from)
{
    to->seconds += from->seconds;
    to->flops += from->flops;
    to->bytes += from->bytes;
    to->bound += from->bound;
}

static int most_lost_first(const void *a, const void *b)
{
    const row *r = a, *s = b;
    const double x = r->seconds - r->bound, y = s->seconds - s->bound;
    return x > y ? -1 : x < y;
}

/* Names a row for each phase forward and backward; returns the number of rows. */
static int name_phases(row *phases)
{
    int count = 0;
    for (const char *name; (name = dn_phase_name(count / 2)) != NULL; count++) {
        phases[count] = (row){.pass = pass_name[count % 2]};
        snprintf(phases[count].name, sizeof phases->name, "%s", name);
    }
    return count;
}

/* rows(count) = each layer forward and backward, by descending lost time; also adds them to the
 * rows of their phases. */
static void measure_rows(const dn_net *net, const dn_peaks *peaks, int steps, row *phases,
                         row *rows, int count)
{
    for (int i = 0; i < count; i++) {
        const int backward = i % 2;
        dn_layer_info info;
        dn_net_layer_info(net, i / 2, &info);
        const dn_layer_work work = backward ? info.backward : info.forward;
        rows[i] = (row){.pass = pass_name[backward],
                        .seconds = work.seconds / steps,
                        .flops = work.flops,
                        .bytes = work.bytes,
                        .bound = dn_peaks_bound(peaks, work.flops, work.bytes)};
        snprintf(rows[i].name, sizeof rows->name, "%s %dx%d", info.name, info.out_height,
                 info.out_width);
        row_add(&phases[2 * info.phase + backward], &rows[i]);
    }
    qsort(rows, (size_t)count, sizeof *rows, most_lost_first);
}

static void print_roofline_row(const row *r)
{
    if (r->seconds > 0)
        printf("%-46s %-8s %9.5f %9.1f %9.1f %7.1f %9.2f\n", r->name, r->pass, r->seconds,
               r->flops / r->seconds * 1e-9, r->bytes * 1e-6, r->bytes / r->seconds * 1e-9,
               r->bound / r->seconds);
}

static void print_rows(const char *heading, const row *rows, int count)
{
    printf("%-46s %-8s %9s %9s %9s %7s %9s\n", heading, "pass", "seconds", "GFLOP/s", "MB", "GB/s",
           "of bound");
    for (int i = 0; i < count; i++)
        print_roofline_row(&rows[i]);
}

static json_t *encode_rows(const row *rows, int count)
{
    json_t *array = json_array();
    for (const row *r = rows; r < rows + count; r++)
        json_array_append_new(array, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "name", r->name,
                                               "pass", r->pass, "s", r->seconds, "flops", r->flops,
                                               "bytes", r->bytes, "bound_s", r->bound));
    return array;
}

dn_status dn_roofline_report(const dn_net *net, const dn_peaks *peaks, int steps, json_t *report)
{
    const int count = 2 * dn_net_view(net).layers;
    const double flops = peaks->flops * 1e-9, read = peaks->read * 1e-9;
    const double scale = peaks->scale * 1e-9;
    row phases[2 * DN_MAX_PHASES], total = {.name = "all layers", .pass = "both"};
    row *rows = calloc((size_t)count, sizeof *rows);
    DN_CHECK(rows != NULL, DN_ENOMEM, "out of memory for a roofline");
    const int phase_count = name_phases(phases);
    measure_rows(net, peaks, steps, phases, rows, count);
    if (report != NULL) {
        json_object_set_new(report, "roofline",
                            json_pack("{s:f, s:f, s:f, s:o, s:o}", "peak_gflops", flops,
                                      "read_gb_per_s", read, "scale_gb_per_s", scale, "phases",
                                      encode_rows(phases, phase_count), "layers",
                                      encode_rows(rows, count)));
    } else {
        printf("\nroofs of a rank's %d threads: %.1f GFLOP/s, memory %.1f GB/s read, %.1f GB/s "
               "read and written\n",
               omp_get_max_threads(), flops, read, scale);
        print_rows("phase", phases, phase_count);
        for (int p = 0; p < phase_count; p++)
            row_add(&total, &phases[p]);
        print_roofline_row(&total);
        print_rows("layers that lose most", rows, count < WORST ? count : WORST);
    }
    free(rows);
    return DN_OK;
}
