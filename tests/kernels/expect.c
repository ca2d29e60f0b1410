/* The framework of the kernel tests; see expect.h. */
#include "expect.h"
#include "kernel_tables.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The relative error of a float operation is at most 2^-24. To first order, the error of a sum of n
 * products, in any order, is then at most n * 2^-24 times the sum of their magnitudes; SUM_EXTRA
 * covers the merging of lanes, the start value and second order. A pointwise result has at most
 * POINT_ROUNDINGS. Storing as bf16 has a relative error of at most 2^-8.
 */
#define ROUNDING      0x1p-24
#define BF16_ROUNDING 0x1p-8
enum { SUM_EXTRA = 8, POINT_ROUNDINGS = 4 };

enum { MAX_TABLES = 10, SHOWN_FAILURES = 20 };

static struct {
    const dn_kernels *tables[MAX_TABLES];
    int count;
    uint64_t seed, state; /* as given; of the next draw */
    dn_guard_side side;
    char shape[200], now[300]; /* what runs, for messages */
    int failures;
    long cases;
} trial;

static ssize_t say(const char *text)
{
    return write(STDOUT_FILENO, text, strlen(text));
}

/* Reports which kernel touched a guard page, by async-signal-safe functions. */
static void on_fault(int number)
{
    const ssize_t said = say(number == SIGILL ? "FAILED unknown instruction in "
                                              : "FAILED touched a guard page (or worse) in ") +
                         say(trial.now) + say("\n");
    _exit(said > 0 ? EXIT_FAILURE : number);
}

int dn_trial_start(uint64_t seed, const char *only)
{
    const char *name;
    trial.seed = trial.state = seed;
    for (int i = 0; (name = dn_test_table_name(i)) != NULL; i++) {
        if (only && strcmp(only, name) != 0)
            continue;
        const dn_kernels *table = dn_test_table(name);
        if (table)
            trial.tables[trial.count++] = table;
        else
            printf("%s: skipped, this build or processor does not have its instructions\n", name);
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* so that lines before a fault are not lost */
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    signal(SIGILL, on_fault);
    return trial.count;
}

int dn_trial_end(void)
{
    for (int i = 0; i < trial.count; i++)
        printf("%s%s", trial.tables[i]->name, i + 1 < trial.count ? ", " : ": ");
    printf("%ld cases, %d failures, --seed %llu\n", trial.cases, trial.failures,
           (unsigned long long)trial.seed);
    return trial.failures == 0;
}

void dn_trial_guard(dn_guard_side side)
{
    trial.side = side;
}

void dn_trial_describe(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(trial.shape, sizeof trial.shape, format, args);
    va_end(args);
    trial.cases++;
}

void dn_trial_fail(const char *format, ...)
{
    va_list args;
    if (++trial.failures > SHOWN_FAILURES)
        return;
    printf("FAILED %s: ", trial.now);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

const dn_kernels *dn_trial_table(int index)
{
    if (index >= trial.count)
        return NULL;
    snprintf(trial.now, sizeof trial.now, "%s, %s, guard page %s, --seed %llu",
             trial.tables[index]->name, trial.shape,
             trial.side == DN_GUARD_AFTER ? "after" : "before", (unsigned long long)trial.seed);
    return trial.tables[index];
}

uint64_t dn_trial_seed(void)
{
    return dn_guarded_draw(&trial.state);
}

int dn_trial_draw(int low, int high)
{
    return low + (int)(dn_trial_seed() % (uint64_t)(high - low + 1));
}

dn_guarded dn_trial_matrix(int rows, size_t before, size_t extent)
{
    return dn_guarded_create(DN_FP32, rows, before, extent, trial.side);
}

dn_guarded dn_trial_filled(int rows, size_t before, size_t n, size_t extent)
{
    dn_guarded m = dn_trial_matrix(rows, before, extent);
    dn_guarded_fill(&m, n, dn_trial_seed());
    return m;
}

dn_guarded dn_trial_map(dn_dtype dtype, int rows, size_t extent)
{
    return dn_guarded_create(dtype, rows, 0, extent, trial.side);
}

dn_guarded dn_trial_filled_map(dn_dtype dtype, int rows, size_t n, size_t extent)
{
    dn_guarded m = dn_trial_map(dtype, rows, extent);
    dn_guarded_fill(&m, n, dn_trial_seed());
    return m;
}

dn_guarded dn_trial_pack_dy(const dn_product_kernels *products, int outputs, size_t n,
                            const float *dy, size_t dy_ld)
{
    dn_guarded packed = dn_trial_matrix(1, 0, products->packed_dy_floats(outputs, n));
    products->pack_dy(packed.data, outputs, n, dy, dy_ld);
    if (!dn_guarded_intact(&packed))
        dn_trial_fail("pack_dy: wrote outside its output");
    return packed;
}

int dn_trial_rounds(void)
{
    for (int i = 0; i < trial.count; i++)
        if (dn_test_rounds(trial.tables[i]))
            return 1;
    return 0;
}

dn_guarded dn_trial_operand_rows(dn_form form, int rows, size_t n)
{
    const size_t pixels = n + DN_FORM_PAD;
    return form == DN_PAIRED ? dn_trial_matrix((rows + 1) / 2, 1, pixels)
                             : dn_trial_matrix(rows, 1, (pixels + 1) / 2);
}

dn_trial_operand dn_trial_operand_of(const dn_product_kernels *products, dn_form form,
                                     const dn_guarded *m, size_t before, size_t n,
                                     const dn_taps *taps)
{
    dn_trial_operand o = {.x = m->data, .ld = m->ld, .taps = *taps};
    if (products->operands == NULL)
        return o;
    o.made = dn_trial_operand_rows(form, m->rows, before + n);
    products->operands->round(form, m->rows, before + n, m->data - before, m->ld, o.made.data,
                              o.made.ld);
    o.x = o.made.data;
    o.ld = o.made.ld;
    for (int t = 0; t < taps->count; t++)
        o.taps.shift[t] += (ptrdiff_t)before;
    return o;
}

dn_expect dn_expect_create(const char *kernel, int rows, size_t before, size_t count)
{
    const size_t cells = (size_t)rows * (before + count);
    dn_expect e = {.kernel = kernel, .rows = rows, .before = before, .columns = before + count};
    e.want = calloc(cells, sizeof *e.want);
    e.slack = calloc(cells, sizeof *e.slack);
    e.bits = calloc(cells, sizeof *e.bits);
    if (!e.want || !e.slack || !e.bits) {
        perror("expectation");
        exit(EXIT_FAILURE);
    }
    return e;
}

void dn_expect_destroy(dn_expect *e)
{
    free(e->want);
    free(e->slack);
    free(e->bits);
    *e = (dn_expect){0};
}

static void expect_at(dn_expect *e, int row, size_t column, double want, double slack)
{
    const size_t cell = (size_t)row * e->columns + e->before + column;
    e->want[cell] = want;
    e->slack[cell] = slack;
}

void dn_expect_point(dn_expect *e, int row, size_t column, double want, double magnitude)
{
    expect_at(e, row, column, want, POINT_ROUNDINGS * ROUNDING * magnitude);
}

void dn_expect_sum(dn_expect *e, int row, size_t column, double want, size_t terms,
                   double magnitude)
{
    expect_at(e, row, column, want, (double)(terms + SUM_EXTRA) * ROUNDING * magnitude);
}

static int agrees(double got, double want, double slack)
{
    return isnan(want) ? isnan(got) : got == want || fabs(got - want) <= slack;
}

/* Reports the first wrong value of a row. */
static void compare_row(const dn_expect *e, int row, const dn_guarded *m)
{
    for (size_t p = 0; p < e->columns; p++) {
        const ptrdiff_t column = (ptrdiff_t)p - (ptrdiff_t)e->before;
        const double want = e->want[(size_t)row * e->columns + p];
        const double got = dn_guarded_get(m, row, column);
        double slack = e->slack[(size_t)row * e->columns + p];
        if (m->dtype == DN_BF16 && slack > 0)
            slack += BF16_ROUNDING * (fabs(want) + slack);
        if (!agrees(got, want, slack)) {
            dn_trial_fail("%s, row %d, column %td: found %.9g, expected %.9g within %.2g",
                          e->kernel, row, column, got, want, slack);
            return;
        }
    }
}

void dn_expect_verify(dn_expect *e, const dn_kernels *kernels, const dn_guarded *m)
{
    const int vector =
        kernels != &dn_kernels_generic && (e->products == DN_FP32 || !dn_test_rounds(kernels));
    for (int r = 0; r < e->rows; r++) {
        const void *got = dn_guarded_at(m, r, -(ptrdiff_t)e->before);
        const size_t bytes = e->columns * dn_dtype_size(m->dtype);
        float *bits = e->bits + (size_t)r * e->columns;
        compare_row(e, r, m);
        if (vector && !e->bits_of)
            memcpy(bits, got, bytes);
        else if (vector && memcmp(bits, got, bytes) != 0)
            dn_trial_fail("%s, row %d: other bits than %s", e->kernel, r, e->bits_of);
    }
    if (vector && !e->bits_of)
        e->bits_of = kernels->name;
    if (!dn_guarded_intact(m))
        dn_trial_fail("%s: wrote outside the rows of its output", e->kernel);
}
