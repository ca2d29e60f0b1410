/*
 * Shared by the kernel tests: the tables under test, random cases, and comparisons of results with
 * expected values and, between tables in vector types, bit for bit.
 *
 * One test runs at a time, so its state is one static structure in expect.c.
 */
#ifndef DN_EXPECT_H
#define DN_EXPECT_H

#include "guarded.h"
#include "tables.h"

/* Collects the tables to test, all that this build and processor have or the one named `only`, and
 * returns their number. Prints which ones are skipped, and why. Afterwards faults are reported. */
int dn_trial_start(uint64_t seed, const char *only);

/* Prints the numbers of cases and failures; returns 1 if there was no failure. */
int dn_trial_end(void);

/* Sets the side of the guard page of the next matrices. */
void dn_trial_guard(dn_guard_side side);

/* Describes the next case, for messages. */
void dn_trial_describe(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reports a failure of the current table. */
void dn_trial_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Table `index`, which becomes the current one; NULL past the last. */
const dn_kernels *dn_trial_table(int index);

/* 1 if a table under test has products that round their operands. */
int dn_trial_rounds(void);

/* A random integer in [low, high]; and a seed. */
int dn_trial_draw(int low, int high);
uint64_t dn_trial_seed(void);

/* A guarded matrix of canaries; one filled at random up to column n, with a pad up to `extent`. */
dn_guarded dn_trial_matrix(int rows, size_t before, size_t extent);
dn_guarded dn_trial_filled(int rows, size_t before, size_t n, size_t extent);

/* The same for rows of a map. */
dn_guarded dn_trial_map(dn_dtype dtype, int rows, size_t extent);
dn_guarded dn_trial_filled_map(dn_dtype dtype, int rows, size_t n, size_t extent);

/* dy(outputs, n) packed for wgrad. */
dn_guarded dn_trial_pack_dy(const dn_product_kernels *products, int outputs, size_t n,
                            const float *dy, size_t dy_ld);

/* Room for an operand of `rows` rows of n pixels, the one before them and the pad. */
dn_guarded dn_trial_operand_rows(dn_form form, int rows, size_t n);

/* The operand of gemm (DN_PAIRED) or wgrad (DN_PLANAR) for the columns [-before, n) of a matrix:
 * the matrix itself, or if the products need another form an operand `made` from it, whose first
 * pixel is column -before. The taps count from the matrix's column 0. */
typedef struct dn_trial_operand {
    const float *x;
    size_t ld;
    dn_taps taps;
    dn_guarded made;
} dn_trial_operand;

dn_trial_operand dn_trial_operand_of(const dn_product_kernels *products, dn_form form,
                                     const dn_guarded *matrix, size_t before, size_t n,
                                     const dn_taps *taps);

/* Columns [-before, columns - before) of an output: expected values, tolerances, and the bits of
 * the first vector table. */
typedef struct dn_expect {
    const char *kernel;
    dn_dtype products; /* DN_BF16: bits differ in tables whose products round */
    int rows;
    size_t before, columns;
    double *want, *slack;
    float *bits;
    const char *bits_of;
} dn_expect;

/* Expects exact zeros in columns [-before, count) by default. */
dn_expect dn_expect_create(const char *kernel, int rows, size_t before, size_t count);
void dn_expect_destroy(dn_expect *expect);

/* Expects the result of an expression over values whose magnitudes add up to `magnitude`; NaN
 * expects NaN. */
void dn_expect_point(dn_expect *expect, int row, size_t column, double want, double magnitude);

/* Expects a sum of `terms` terms, in any order. */
void dn_expect_sum(dn_expect *expect, int row, size_t column, double want, size_t terms,
                   double magnitude);

/* Compares the matrix that table `kernels` wrote, and checks its canaries. In bf16 the tolerance of
 * inexact results includes their rounding. */
void dn_expect_verify(dn_expect *expect, const dn_kernels *kernels, const dn_guarded *matrix);

#endif
