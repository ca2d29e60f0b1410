/*
 * bfloat16: the upper half of a float, stored in 16 bits.
 *
 * Conversion rounds to nearest, ties to even, and overflows to infinity. The kernels' rounding adds
 * to the bits without a test for NaN, which saves an instruction. Some NaNs that arithmetic does
 * not produce are lost: an upper half of 0x7fff or 0xffff becomes zero if the lower half is 0x8000
 * or more; an upper half of 0x7f80 or 0xff80 becomes an infinity if the lower half is 0x8000 or
 * less. Only dn_round_to_bf16 preserves every NaN.
 */
#ifndef DN_BF16_H
#define DN_BF16_H

#include <stdint.h>
#include <string.h>

static inline float dn_bf16_to_float(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The bits of a float whose upper half is the rounded bf16 value. */
static inline uint32_t dn_round_upper(uint32_t bits)
{
    return bits + 0x7fffu + (bits >> 16 & 1u);
}

/* The bf16 value that kernels store in a map. Loses some NaNs (see above). */
static inline uint16_t dn_float_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)(dn_round_upper(bits) >> 16);
}

/* The rounded value as a float. NaN stays NaN, made quiet. */
static inline float dn_round_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    bits = (is_nan ? bits | 0x400000u : dn_round_upper(bits)) & 0xffff0000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
