/*
 * Elementary functions in double whose bits do not depend on the processor.
 *
 * The C library picks other code, with other last bits, where it finds FMA units; a run that moves
 * between machines must not notice. Plain additions and multiplications in a fixed order, compiled
 * without contraction; relative error below 1e-15.
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

/* *largest of x(count), and the logarithm of the sum of exp(x - *largest). */
double dn_log_sum_exp(const float *x, int count, double *largest);

/* Of logits(classes), those that come before the label's: larger ones, and equal ones of a lower
 * number; all where the label's is no number. */
int dn_label_rank(const float *logits, int classes, int label);

#endif
