/*
 * bf16: the upper half of a float, kept in 16 bits.
 *
 * Rounding is to nearest, ties to even; too large becomes infinite. It adds to the bits, and of
 * NaN, to save kernels an instruction, loses some that arithmetic on numbers does not make: one
 * whose upper half is 0x7fff or 0xffff becomes a zero where its lower half is 0x8000 or more, one
 * whose upper half is 0x7f80 or 0xff80 an infinity where its lower half is 0x8000 or less. Only
 * dn_round_to_bf16 keeps all.
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

/* Bits of a float whose upper half is the rounded bf16. */
static inline uint32_t dn_round_upper(uint32_t bits)
{
    return bits + 0x7fffu + (bits >> 16 & 1u);
}

/* What kernels store in a map. */
static inline uint16_t dn_float_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)(dn_round_upper(bits) >> 16);
}

/* The same as a float, but NaN stays NaN, a quiet one. */
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
