/*
 * AMX tile registers, 16 rows of 64 bytes: AMX instructions if the compiler targets them, otherwise
 * the same in plain C.
 *
 *                     B6  B7      A: 16 rows x 16 pairs a tile
 *     rows  0-15  A4  C0  C1      B: 16 pairs x 16 columns; row k: b[2k], b[2k+1] interleaved
 *     rows 16-31  A5  C2  C3      C: 16 rows x 16 columns of floats
 *
 * The tile number is part of an instruction, so functions that take one are macros. The compiler
 * does not know which memory a tile load reads: hence the fences.
 */
#ifndef DN_KERNELS_AMX_TILE_H
#define DN_KERNELS_AMX_TILE_H

#include <stdint.h>
#include <string.h>

#include "dn/bf16.h"

enum { AMX_ROWS = 16, AMX_BYTES = 64, AMX_TILES = 8 };

/* The operand of LDTILECFG: palette 1, and bytes per row and rows of each tile. */
typedef struct amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_config;

/*
 * Rows of the tiles in two arrangements of the sums; `pairs` of the inner dimension in a row of A
 * and a column of B:
 *
 *     lower > 0: 2 x 2 tiles, as drawn above      lower = 0: 1 x 4     B5  B6  B7  B5
 *                                                                  A4  C0  C1  C2  C3
 */
typedef struct amx_shape {
    int upper, lower, pairs;
} amx_shape;

typedef struct amx_tiles {
    amx_config config;
    amx_shape shape;
#ifndef __AMX_BF16__
    unsigned char tile[AMX_TILES][AMX_ROWS][AMX_BYTES];
#endif
} amx_tiles;

#ifdef __AMX_BF16__
#include <immintrin.h>

#define AMX_FENCED(t, instruction)                                                                 \
    do {                                                                                           \
        (void)(t);                                                                                 \
        __asm__ volatile("" ::: "memory");                                                         \
        instruction;                                                                               \
    } while (0)

#define amx_configure(t)             AMX_FENCED(t, _tile_loadconfig(&(t)->config))
#define amx_release(t)               AMX_FENCED(t, _tile_release())
#define amx_zero(t, n)               AMX_FENCED(t, _tile_zero(n))
#define amx_load(t, n, from, stride) AMX_FENCED(t, _tile_loadd(n, from, stride))
#define amx_store(t, n, to, stride)  AMX_FENCED(t, _tile_stored(n, to, stride))
#define amx_dot(t, c, a, b)          AMX_FENCED(t, _tile_dpbf16ps(c, a, b))

#else

static inline void amx_configure(amx_tiles *t)
{
    memset(t->tile, 0, sizeof t->tile);
}

static inline void amx_release(amx_tiles *t)
{
    (void)t;
}

static inline void amx_zero(amx_tiles *t, int n)
{
    memset(t->tile[n], 0, sizeof t->tile[n]);
}

/* Rows after the configured ones become 0. */
static inline void amx_load(amx_tiles *t, int n, const void *from, size_t stride)
{
    amx_zero(t, n);
    for (int r = 0; r < t->config.rows[n]; r++)
        memcpy(t->tile[n][r], (const char *)from + (size_t)r * stride, t->config.row_bytes[n]);
}

static inline void amx_store(const amx_tiles *t, int n, void *to, size_t stride)
{
    for (int r = 0; r < t->config.rows[n]; r++)
        memcpy((char *)to + (size_t)r * stride, t->tile[n][r], t->config.row_bytes[n]);
}

static inline void amx_dot(amx_tiles *t, int c, int a, int b)
{
    enum { COLUMNS = AMX_BYTES / 4 };
    uint16_t x[2 * COLUMNS], w[2 * COLUMNS];
    float sum[COLUMNS];
    for (int r = 0; r < t->config.rows[c]; r++) {
        memcpy(w, t->tile[a][r], sizeof w);
        memcpy(sum, t->tile[c][r], sizeof sum);
        for (int k = 0; k < t->config.rows[b]; k++) {
            memcpy(x, t->tile[b][k], sizeof x);
            for (int j = 0; j < COLUMNS; j++) {
                sum[j] += dn_bf16_to_float(w[2 * k]) * dn_bf16_to_float(x[2 * j]);
                sum[j] += dn_bf16_to_float(w[2 * k + 1]) * dn_bf16_to_float(x[2 * j + 1]);
            }
        }
        memcpy(t->tile[c][r], sum, sizeof sum);
    }
}
#endif

/* Configures the tiles if their shape differs; they become 0. `tiles` is zeroed first, and
 * amx_release ends its use. */
static inline void amx_use(amx_tiles *tiles, amx_shape s)
{
    const amx_shape now = tiles->shape;
    if (now.upper == s.upper && now.lower == s.lower && now.pairs == s.pairs)
        return;
    tiles->shape = s;
    const int rows[AMX_TILES] = {s.upper,
                                 s.upper,
                                 s.lower ? s.lower : s.upper,
                                 s.lower ? s.lower : s.upper,
                                 s.upper,
                                 s.lower ? s.lower : s.pairs,
                                 s.pairs,
                                 s.pairs};
    tiles->config = (amx_config){.palette = 1};
    for (int n = 0; n < AMX_TILES; n++) {
        const int a = n == 4 || (n == 5 && s.lower);
        tiles->config.rows[n] = (uint8_t)rows[n];
        tiles->config.row_bytes[n] = (uint16_t)(a ? 4 * s.pairs : AMX_BYTES);
    }
    amx_configure(tiles);
}

#endif
