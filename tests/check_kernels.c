/*
 * Every kernel of every table against plain loops in double, in the manner of dav1d's checkasm.
 *
 *     check_kernels [--table NAME] [--seed N]      --bench prints speeds instead
 *
 * Operands stand in guarded matrices (guarded.h) as large as the contracts of dn/kernels.h say, to
 * the float: once with a guard page behind them, once with one before. Tables in vector types, and
 * `wide` (the AVX-512 source on AVX2 registers) among them, must agree to the bit.
 */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "grid.h"
#include "guarded.h"
#include "tables.h"

/*
 * A float operation is off by at most 2^-24 of its result. A sum of n products in whatever order is
 * then off by n * 2^-24 of the sum of their magnitudes, to first order; SUM_EXTRA covers the merging
 * of lanes, the start value and second order. A pointwise result takes at most POINT_ROUNDINGS.
 */
#define ROUNDING 0x1p-24
enum { SUM_EXTRA = 8, POINT_ROUNDINGS = 4 };

/* A ReLU's input so close to 0 could be rounded to the other side; such inputs are moved away. */
#define KINK 1e-3f

enum { MAX_TABLES = 8, SHOWN_FAILURES = 20 };

#if DN_WIDE
extern const dn_kernels dn_kernels_wide;
#endif

static struct {
    const dn_kernels *tables[MAX_TABLES];
    int count;
    uint64_t seed, state; /* as given; of the next draw */
    dn_guard_side side;
    char shape[200], now[300]; /* what runs, for messages */
    int failures;
    long cases;
} test;

static void fail(const char *format, ...)
{
    va_list args;
    if (++test.failures > SHOWN_FAILURES)
        return;
    printf("FAILED %s: ", test.now);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

/* A guard page was touched: says by whom, with what a signal handler may use. */
static void on_fault(int signal)
{
    static const char text[] = "FAILED a guard page was touched (or worse) by ";
    (void)signal;
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    (void)!write(STDOUT_FILENO, test.now, strlen(test.now));
    (void)!write(STDOUT_FILENO, "\n", 1);
    _exit(EXIT_FAILURE);
}

static void describe(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(test.shape, sizeof test.shape, format, args);
    va_end(args);
    test.cases++;
}

/* Table `index`, which runs from here on. */
static const dn_kernels *begin(int index)
{
    snprintf(test.now, sizeof test.now, "%s %s, guard page %s, --seed %llu",
             test.tables[index]->name, test.shape, test.side == DN_GUARD_AFTER ? "after" : "before",
             (unsigned long long)test.seed);
    return test.tables[index];
}

/* A number from `low` to `high`, both included. */
static int draw(int low, int high)
{
    return low + (int)(dn_guarded_draw(&test.state) % (uint64_t)(high - low + 1));
}

static dn_guarded matrix(int rows, size_t before, size_t extent)
{
    return dn_guarded_create(rows, before, extent, test.side);
}

/* A matrix filled up to `n`, with a pad up to `extent`. */
static dn_guarded filled(int rows, size_t before, size_t n, size_t extent)
{
    dn_guarded m = matrix(rows, before, extent);
    dn_guarded_fill(&m, n, dn_guarded_draw(&test.state));
    return m;
}

static const float *row_of(const dn_guarded *m, int row)
{
    return m->data + (size_t)row * m->ld;
}

/* ---- what a result must be ----------------------------------------------------------------- */

/* Columns [-before, count) of an output: wanted numbers, how far off they may be, and the first
 * vector table's bits. */
typedef struct expectation {
    const char *kernel;
    size_t before, columns;
    double *want, *slack;
    float *bits;
    const char *bits_of;
} expectation;

static expectation expect(const char *kernel, int rows, size_t before, size_t count)
{
    const size_t cells = (size_t)rows * (before + count);
    expectation e = {.kernel = kernel, .before = before, .columns = before + count};
    e.want = calloc(cells, sizeof *e.want); /* where nothing is set, exactly 0 */
    e.slack = calloc(cells, sizeof *e.slack);
    e.bits = calloc(cells, sizeof *e.bits);
    if (!e.want || !e.slack || !e.bits)
        abort();
    return e;
}

static void expect_done(expectation *e)
{
    free(e->want);
    free(e->slack);
    free(e->bits);
}

static void expect_at(expectation *e, int row, size_t column, double want, double slack)
{
    const size_t cell = (size_t)row * e->columns + e->before + column;
    e->want[cell] = want;
    e->slack[cell] = slack;
}

static void expect_point(expectation *e, int row, size_t column, double want, double magnitude)
{
    expect_at(e, row, column, want, POINT_ROUNDINGS * ROUNDING * magnitude);
}

static void expect_sum(expectation *e, int row, size_t column, double want, size_t terms,
                       double magnitude)
{
    expect_at(e, row, column, want, (double)(terms + SUM_EXTRA) * ROUNDING * magnitude);
}

/* Compares what table `k` left in `m`, with the reference and with the other vector tables. */
static void verify(expectation *e, const dn_kernels *k, const dn_guarded *m)
{
    const int vector = k != &dn_kernels_generic;
    int wrong = 0, differs = 0;
    for (int r = 0; r < m->rows; r++) {
        const float *got = row_of(m, r) - e->before;
        float *bits = e->bits + (size_t)r * e->columns;
        for (size_t p = 0; p < e->columns; p++) {
            const double want = e->want[(size_t)r * e->columns + p];
            const double slack = e->slack[(size_t)r * e->columns + p];
            const int good = isnan(want) ? isnan(got[p]) : fabs(got[p] - want) <= slack;
            if (!good && !wrong++)
                fail("%s, row %d, column %td: found %.9g, expected %.9g within %.2g", e->kernel, r,
                     (ptrdiff_t)p - (ptrdiff_t)e->before, got[p], want, slack);
        }
        if (vector && !e->bits_of)
            memcpy(bits, got, e->columns * sizeof *bits);
        else if (vector && memcmp(bits, got, e->columns * sizeof *bits) != 0 && !differs++)
            fail("%s, row %d: other bits than %s", e->kernel, r, e->bits_of);
    }
    if (vector && !e->bits_of)
        e->bits_of = k->name;
    if (!dn_guarded_intact(m))
        fail("%s: wrote outside the rows of its output", e->kernel);
}

/* ---- matrix products ----------------------------------------------------------------------- */

/* One tap, or nine over planes of such a width; and the farthest a tap reaches. */
static dn_taps make_taps(int count, int width, size_t *reach)
{
    *reach = count == 1 ? 0 : (size_t)width + 2;
    return count == 1 ? (dn_taps){.count = 1} : dn_taps_3x3(width, draw(0, 1) ? 1 : -1);
}

/* Random weights (outputs, inputs, taps), or the transposed view of (inputs, outputs, taps). */
static dn_weights make_weights(dn_guarded *m, int outputs, int inputs, int taps, int transposed)
{
    const size_t columns = (size_t)((transposed ? outputs : inputs) * taps);
    *m = filled(transposed ? inputs : outputs, 0, columns, columns);
    const ptrdiff_t ld = (ptrdiff_t)m->ld;
    return (dn_weights){m->data, outputs, inputs, taps, transposed ? taps : ld,
                        transposed ? ld : taps};
}

static double weight(const dn_weights *w, int o, int c, int t)
{
    return w->w[o * w->out_step + c * w->in_step + t];
}

static dn_guarded pack(const dn_kernels *k, const dn_weights *weights)
{
    dn_guarded packed =
        matrix(1, 0, k->packed_floats(weights->outputs, weights->inputs, weights->taps));
    k->pack(packed.data, weights);
    if (!dn_guarded_intact(&packed))
        fail("pack: wrote outside its output");
    return packed;
}

/* Packed weights of a multiple of DN_PACK_OUTPUTS are a prefix of those of more. */
static void check_prefix(const dn_kernels *k, dn_weights weights, const dn_guarded *packed)
{
    for (weights.outputs -= 1; weights.outputs > 0; weights.outputs--)
        if (weights.outputs % DN_PACK_OUTPUTS == 0) {
            dn_guarded head = pack(k, &weights);
            if (memcmp(head.data, packed->data, head.extent * sizeof(float)) != 0)
                fail("pack: %d outputs are no prefix", weights.outputs);
            dn_guarded_destroy(&head);
        }
}

static void check_conv(int outputs, int inputs, int tap_count, int width, size_t n)
{
    const int accumulate = draw(0, 1), transposed = draw(0, 1);
    const size_t padded = dn_round_lanes(n), terms = (size_t)inputs * (size_t)tap_count;
    const uint64_t seed = dn_guarded_draw(&test.state);
    size_t reach;
    const dn_taps taps = make_taps(tap_count, width, &reach);
    dn_guarded w, x = filled(inputs, reach, n + reach, padded + reach);
    dn_guarded y = matrix(outputs, 0, padded);
    const dn_weights weights = make_weights(&w, outputs, inputs, tap_count, transposed);
    expectation e = expect("conv", outputs, 0, n);
    describe("%d from %d channels, %d taps, width %d, n = %zu, %s%s", outputs, inputs, tap_count,
             width, n, accumulate ? "added" : "written", transposed ? ", transposed" : "");
    dn_guarded_fill(&y, n, seed);
    for (int o = 0; o < outputs; o++)
        for (size_t p = 0; p < n; p++) {
            double sum = accumulate ? row_of(&y, o)[p] : 0, magnitude = fabs(sum);
            for (int t = 0; t < tap_count; t++)
                for (int c = 0; c < inputs; c++) {
                    const double product =
                        weight(&weights, o, c, t) * row_of(&x, c)[(ptrdiff_t)p + taps.shift[t]];
                    sum += product;
                    magnitude += fabs(product);
                }
            expect_sum(&e, o, p, sum, terms, magnitude);
        }
    for (int i = 0; i < test.count; i++) {
        const dn_kernels *k = begin(i);
        dn_guarded packed = pack(k, &weights);
        check_prefix(k, weights, &packed);
        if (accumulate)
            dn_guarded_fill(&y, n, seed);
        else
            dn_guarded_blank(&y);
        k->conv(packed.data, outputs, inputs, &taps, n, x.data, x.ld, y.data, y.ld, accumulate);
        verify(&e, k, &y);
        dn_guarded_destroy(&packed);
    }
    expect_done(&e);
    dn_guarded_destroy(&w);
    dn_guarded_destroy(&x);
    dn_guarded_destroy(&y);
}

static void check_conv_weight_grad(int outputs, int inputs, int tap_count, int width, size_t n)
{
    const size_t padded = dn_round_lanes(n), matrix_floats = (size_t)outputs * (size_t)inputs;
    const uint64_t seed = dn_guarded_draw(&test.state);
    size_t reach;
    const dn_taps taps = make_taps(tap_count, width, &reach);
    dn_guarded x = filled(inputs, reach, n + reach, padded + reach);
    dn_guarded dy = filled(outputs, 0, n, padded);
    dn_guarded dw = matrix(1, 0, (size_t)tap_count * matrix_floats);
    expectation e = expect("conv_weight_grad", 1, 0, dw.extent);
    describe("%d from %d channels, %d taps, width %d, n = %zu", outputs, inputs, tap_count, width,
             n);
    dn_guarded_fill(&dw, dw.extent, seed);
    for (int t = 0; t < tap_count; t++)
        for (int o = 0; o < outputs; o++)
            for (int c = 0; c < inputs; c++) {
                const size_t cell = ((size_t)t * (size_t)outputs + (size_t)o) * (size_t)inputs +
                                    (size_t)c;
                double sum = dw.data[cell], magnitude = fabs(sum);
                for (size_t p = 0; p < n; p++) {
                    const double product =
                        (double)row_of(&dy, o)[p] * row_of(&x, c)[(ptrdiff_t)p + taps.shift[t]];
                    sum += product;
                    magnitude += fabs(product);
                }
                expect_sum(&e, 0, cell, sum, n, magnitude);
            }
    for (int i = 0; i < test.count; i++) {
        const dn_kernels *k = begin(i);
        dn_guarded_fill(&dw, dw.extent, seed);
        k->conv_weight_grad(outputs, inputs, &taps, n, dy.data, dy.ld, x.data, x.ld, dw.data);
        verify(&e, k, &dw);
    }
    expect_done(&e);
    dn_guarded_destroy(&x);
    dn_guarded_destroy(&dy);
    dn_guarded_destroy(&dw);
}
