/*
 * Tiles of 16 rows of 64 bytes: AMX's instructions where the compiler was told that they exist,
 * else the same in plain C.
 *
 *                     B6  B7      A: 16 rows x 16 pairs a tile
 *     rows  0-15  A4  C0  C1      B: 16 pairs x 16 columns; row k: b[2k], b[2k+1] by turns
 *     rows 16-31  A5  C2  C3      C: 16 rows x 16 columns of floats
 *
 * The names are macros because an instruction holds the number of its tile. The compiler does not
 * know what memory a tile load reads: hence the fences.
 */
#ifndef DN_KERNELS_AMX_TILE_H
#define DN_KERNELS_AMX_TILE_H

#include <stdint.h>
#include <string.h>

enum { DN_TILE_ROWS = 16, DN_TILE_BYTES = 64, DN_TILES = 8 };

/* What LDTILECFG reads: palette 1, bytes of a row and rows of each tile. */
typedef struct dn_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} dn_tile_config;

typedef struct dn_tiles {
    dn_tile_config config;
#ifndef __AMX_BF16__
    unsigned char tile[DN_TILES][DN_TILE_ROWS][DN_TILE_BYTES];
#endif
} dn_tiles;

#ifdef __AMX_BF16__
#include <immintrin.h>

#define DN_TILE_FENCE() __asm__ volatile("" ::: "memory")
#define DN_TILE_DO(t, what)                                                                        \
    do {                                                                                           \
        (void)(t);                                                                                 \
        DN_TILE_FENCE();                                                                           \
        what;                                                                                      \
    } while (0)

#define DN_TILE_CONFIGURE(t)             DN_TILE_DO(t, _tile_loadconfig(&(t)->config))
#define DN_TILE_RELEASE(t)               DN_TILE_DO(t, _tile_release())
#define DN_TILE_ZERO(t, n)               DN_TILE_DO(t, _tile_zero(n))
#define DN_TILE_LOAD(t, n, from, stride) DN_TILE_DO(t, _tile_loadd(n, from, stride))
#define DN_TILE_STORE(t, n, to, stride)  DN_TILE_DO(t, _tile_stored(n, to, stride))
#define DN_TILE_DOT(t, c, a, b)          DN_TILE_DO(t, _tile_dpbf16ps(c, a, b))

#else

#define DN_TILE_CONFIGURE(t)             memset((t)->tile, 0, sizeof(t)->tile)
#define DN_TILE_RELEASE(t)               ((void)(t))
#define DN_TILE_ZERO(t, n)               memset((t)->tile[n], 0, sizeof(t)->tile[n])
#define DN_TILE_LOAD(t, n, from, stride) dn_tile_load(t, n, from, stride)
#define DN_TILE_STORE(t, n, to, stride)  dn_tile_store(t, n, to, stride)
#define DN_TILE_DOT(t, c, a, b)          dn_tile_dot(t, c, a, b)

/* Rows past the configured ones become 0. */
static inline void dn_tile_load(dn_tiles *t, int n, const void *from, size_t stride)
{
    memset(t->tile[n], 0, sizeof t->tile[n]);
    for (int r = 0; r < t->config.rows[n]; r++)
        memcpy(t->tile[n][r], (const char *)from + (size_t)r * stride, t->config.row_bytes[n]);
}

static inline void dn_tile_store(const dn_tiles *t, int n, void *to, size_t stride)
{
    for (int r = 0; r < t->config.rows[n]; r++)
        memcpy((char *)to + (size_t)r * stride, t->tile[n][r], t->config.row_bytes[n]);
}

static inline float dn_tile_number(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void dn_tile_dot(dn_tiles *t, int c, int a, int b)
{
    enum { COLUMNS = DN_TILE_BYTES / 4 };
    uint16_t x[2 * COLUMNS], w[2 * COLUMNS];
    float sum[COLUMNS];
    for (int r = 0; r < t->config.rows[c]; r++) {
        memcpy(w, t->tile[a][r], sizeof w);
        memcpy(sum, t->tile[c][r], sizeof sum);
        for (int k = 0; k < t->config.rows[b]; k++) {
            memcpy(x, t->tile[b][k], sizeof x);
            for (int j = 0; j < COLUMNS; j++) {
                sum[j] += dn_tile_number(w[2 * k]) * dn_tile_number(x[2 * j]);
                sum[j] += dn_tile_number(w[2 * k + 1]) * dn_tile_number(x[2 * j + 1]);
            }
        }
        memcpy(t->tile[c][r], sum, sizeof sum);
    }
}
#endif

/* Sets the tiles up for 1 to 32 rows of A and C; they lose what they hold if that changes them.
 * `tiles` begins as zeros and ends with DN_TILE_RELEASE. */
static inline void dn_tiles_use(dn_tiles *tiles, int rows)
{
    const uint8_t upper = (uint8_t)(rows < DN_TILE_ROWS ? rows : DN_TILE_ROWS);
    const uint8_t lower = (uint8_t)(rows > DN_TILE_ROWS ? rows - DN_TILE_ROWS : DN_TILE_ROWS);
    dn_tile_config *config = &tiles->config;
    if (config->rows[0] == upper && config->rows[2] == lower)
        return;
    *config = (dn_tile_config){.palette = 1};
    for (int n = 0; n < DN_TILES; n++) {
        config->row_bytes[n] = DN_TILE_BYTES;
        config->rows[n] = DN_TILE_ROWS;
    }
    config->rows[0] = config->rows[1] = config->rows[4] = upper;
    config->rows[2] = config->rows[3] = config->rows[5] = lower;
    DN_TILE_CONFIGURE(tiles);
}

#endif
