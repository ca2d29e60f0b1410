/* Argument reduction and Taylor or atanh series; see include/dn/math.h. */
#include "dn/math.h"

#include <math.h>
#include <string.h>

static const double ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;

/* x + integers has the integer nearest to x in its low bits, if |x| < 2^51. */
static const double integers = 0x1.8p52;

/* exp(x) / 2^n for the integer *n; without branches or calls, so that loops vectorize. */
static inline double exp_fraction(double x, double *n)
{
    *n = (x * 0x1.71547652b82fep+0 + integers) - integers;
    const double r = (x - *n * ln2_high) - *n * ln2_low; /* |r| <= ln(2) / 2 */
    double sum = 1;
#pragma GCC unroll 16
    for (int k = 16; k > 0; k--)
        sum = 1 + sum * r / k;
    return sum;
}

double dn_exp(double x)
{
    double n;
    if (!(x >= -745))
        return isnan(x) ? x : 0;
    if (x > 709.7)
        return INFINITY;
    const double sum = exp_fraction(x, &n);
    return ldexp(sum, (int)n);
}

void dn_exps(const float *x, int count, double largest, double normal, double *restrict to)
{
    for (int i = 0; i < count; i++) {
        double n, power;
        const double sum = exp_fraction(x[i] - largest - normal, &n), shifted = n + integers;
        uint64_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        bits = (bits + 1023) << 52; /* the exponent of 2^n */
        memcpy(&power, &bits, sizeof power);
        to[i] = sum * power;
    }
    for (int i = 0; i < count; i++)
        if (!(fabs(x[i] - largest - normal) <= 700)) /* 2^n or the result may not be normal */
            to[i] = dn_exp(x[i] - largest - normal);
}

double dn_log(double x)
{
    int exponent;
    double m = frexp(x, &exponent); /* [0.5, 1) */
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        exponent--;
    }
    /* log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172 */
    const double s = (m - 1) / (m + 1), s2 = s * s;
    double sum = 0;
    for (int k = 23; k > 0; k -= 2)
        sum = sum * s2 + 1.0 / k;
    return exponent * ln2_high + (2 * s * sum + exponent * ln2_low);
}

/* sin(x + quarters * pi / 2): the series of sin or cos at the distance |r| <= pi/4 from the nearest
 * multiple of pi/2. */
static double sine(double x, int quarters)
{
    const double n = nearbyint(x * 0x1.45f306dc9c883p-1);
    const double r = ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
    const int q = (int)((long long)n + quarters) & 3;
    const int first = q & 1 ? 0 : 1; /* cos: 1 - r2/2!...; sin: r (1 - r2/3!...) */
    const double r2 = r * r;
    double sum = 1;
    for (int k = 20 + first; k > first; k -= 2)
        sum = 1 - sum * r2 / (k * (k - 1));
    const double value = q & 1 ? sum : r * sum;
    return q & 2 ? -value : value;
}

double dn_sin(double x)
{
    return sine(x, 0);
}

double dn_cos(double x)
{
    return sine(x, 1);
}

double dn_power(double x, int64_t n)
{
    double power = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1)
            power *= x;
    return power;
}

double dn_log_sum_exp(const float *x, int count, double *largest)
{
    enum { BLOCK = 64 };
    double terms[BLOCK], sum = 0;
    *largest = x[0];
    for (int i = 1; i < count; i++)
        if (x[i] > *largest)
            *largest = x[i];
    for (int i = 0; i < count; i += BLOCK) {
        const int block = count - i < BLOCK ? count - i : BLOCK;
        dn_exps(x + i, block, *largest, 0, terms);
        for (int j = 0; j < block; j++)
            sum += terms[j];
    }
    return dn_log(sum);
}

int dn_label_rank(const float *logits, int classes, int label)
{
    int rank = isfinite(logits[label]) ? 0 : classes;
    for (int o = 0; o < classes; o++)
        rank += logits[o] > logits[label] || (logits[o] == logits[label] && o < label);
    return rank;
}
