/*
 * Elementary functions in double whose results do not depend on the processor.
 *
 * The C library selects other code, which rounds differently, on processors with FMA units; a run
 * that moves between machines must not notice. These use plain additions and multiplications in a
 * fixed order, compiled without contraction; the relative error is below 1e-15. Thread-safe. Not
 * collective.
 */
#ifndef DN_MATH_H
#define DN_MATH_H

#include <stdint.h>

#define DN_PI 3.14159265358979323846

double dn_exp(double x);
double dn_log(double x); /* x > 0, normal */
double dn_sin(double x); /* |x| up to a few thousand */
double dn_cos(double x);
double dn_power(double x, int64_t n); /* x^n, n >= 0; relative error below n 2^-52 */

/* to(count) = dn_exp(x - largest - normal) of each x, the same bits. */
void dn_exps(const float *x, int count, double largest, double normal, double *to);

/* *largest = the maximum of x(count). Returns log(sum of exp(x - *largest)). */
double dn_log_sum_exp(const float *x, int count, double *largest);

/* The rank of the label's logit, 0 if it is the largest: the number of logits(classes) that are
 * larger, or equal with a lower index; at least `classes` if the label's logit is not finite. */
int dn_label_rank(const float *logits, int classes, int label);

#endif
