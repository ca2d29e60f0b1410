/* The sum over the leaves of a summation tree by its definition, one element at a time, for the
 * tests of dn/tree.h and of the sum across ranks. */
#ifndef DN_TESTS_TREE_SUM_H
#define DN_TESTS_TREE_SUM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Element i of a leaf. Magnitudes differ, so that another order of additions changes the last bits.
 */
static inline float leaf_value(int leaf, size_t i)
{
    uint32_t h = (uint32_t)(leaf * 1000003 + (int)i) * 2654435761u;
    h = (h ^ h >> 15) * 2246822519u;
    return ldexpf((float)(h >> 8) * 0x1p-24f - 0.5f, (int)(h % 31) - 15);
}

/* x in bf16, computed in double: seven bits of mantissa after the first, ties to even. */
static inline float in_bf16(float x)
{
    int exponent;
    const double mantissa = frexp(x, &exponent);
    return (float)ldexp(nearbyint(mantissa * 256), exponent - 8);
}

/* Element i of node [lo, hi). All sums and leaves of the first `rounded` elements are in bf16. */
static inline float tree_sum(int lo, int hi, size_t i, size_t rounded)
{
    float sum = leaf_value(lo, i);
    if (hi - lo > 1) {
        int size = 1;
        while (2 * size < hi - lo)
            size *= 2;
        sum = tree_sum(lo, lo + size, i, rounded) + tree_sum(lo + size, hi, i, rounded);
    }
    return i < rounded ? in_bf16(sum) : sum;
}

#endif
