/*
 * What the kernel tests share: the tables under test, random cases, and results compared with what
 * they must be and, between tables in vector types, bit for bit.
 *
 * One test runs at a time, so its state is one static structure in expect.c.
 */
#ifndef DN_EXPECT_H
#define DN_EXPECT_H

#include "guarded.h"
#include "tables.h"

/* Collects the tables to test, all that this build and processor have or the one of that name, and
 * returns how many. Says which ones are skipped, and why. Faults are reported from here on. */
int dn_trial_start(uint64_t seed, const char *only);

/* Whether all went well; prints the count of cases and failures. */
int dn_trial_end(void);

/* On which side the next matrices have their guard page. */
void dn_trial_guard(dn_guard_side side);

/* Says what the next case is, for messages. */
void dn_trial_describe(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reports a failure of the table that runs. */
void dn_trial_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Table `index`, which runs from here on; NULL past the last. */
const dn_kernels *dn_trial_table(int index);

/* Whether a table under test has products that round their operands. */
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

/* What gemm (DN_PAIRED) or wgrad (DN_PLANAR) read of the columns [-before, n) of a matrix: the
 * matrix itself, or where the products want it an operand `made` of it, whose first pixel is column
 * -before; the taps go on from the matrix's column 0. */
typedef struct dn_trial_operand {
    const float *x;
    size_t ld;
    dn_taps taps;
    dn_guarded made;
} dn_trial_operand;

dn_trial_operand dn_trial_operand_of(const dn_product_kernels *products, dn_form form,
                                     const dn_guarded *matrix, size_t before, size_t n,
                                     const dn_taps *taps);

const char *dn_trial_type(dn_dtype dtype);

/* Columns [-before, columns - before) of an output: expected values, how far off they may be, and
 * the bits of the first vector table. */
typedef struct dn_expect {
    const char *kernel;
    dn_dtype products; /* DN_BF16: not the same bits in tables whose products round */
    int rows;
    size_t before, columns;
    double *want, *slack;
    float *bits;
    const char *bits_of;
} dn_expect;

/* Expects exact zeros in columns [-before, count) until told otherwise. */
dn_expect dn_expect_create(const char *kernel, int rows, size_t before, size_t count);
void dn_expect_destroy(dn_expect *expect);

/* The result of an expression over values whose magnitudes add up to `magnitude`; a NaN expects a
 * NaN. */
void dn_expect_point(dn_expect *expect, int row, size_t column, double want, double magnitude);

/* A sum of so many terms, in any order. */
void dn_expect_sum(dn_expect *expect, int row, size_t column, double want, size_t terms,
                   double magnitude);

/* Compares what table `kernels` left in the matrix, and checks its canaries. In bf16, results that
 * may be off may be off by their rounding as well. */
void dn_expect_verify(dn_expect *expect, const dn_kernels *kernels, const dn_guarded *matrix);

#endif
