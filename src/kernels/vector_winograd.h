/*
 * Winograd transforms in the vector types of vector.c; see dn_winograd_kernels.
 *
 * A register holds DN_VL / 2 pairs of adjacent tiles. Each pair may be of another tile row or
 * image, so that narrow maps fill registers, too. Windows begin four columns apart, and shuffles
 * gather column c of all of them:
 *
 *     load      c0 c1 c2 c3 c0 c1 c2 c3 (pair 0) ..      c0 c0 (pair 0) c0 c0 (pair 1) ..
 *     load + 4  c4 c5 .. .. c4 c5 .. .. (pair 0) ..      c4 c4 (pair 0) c4 c4 (pair 1) ..
 *
 * Each result has one order of operations and one way to contract them, so all tables give the same
 * bits.
 */

enum { PAIRS = DN_VL / 2, PAIR = 2 * DN_TILE /* floats in a row of a pair */ };

/* An iterator over the pairs of a padded layout, whose planes are image_rows x pitch floats. */
typedef struct pairs {
    int columns, rows, images; /* columns x rows pairs per image */
    size_t pitch, between;     /* from one row to the next, and additionally between images */
    int column, row, image;    /* next pair */
    size_t row_at, at;         /* offsets of its row, and of the pair */
} pairs;

INLINE pairs pairs_of(const dn_padded *padded, int image_rows, size_t pitch)
{
    const int rows = dn_tiles(padded->rows);
    return (pairs){.columns = dn_tile_columns(padded->width) / 2,
                   .rows = rows,
                   .images = padded->images,
                   .pitch = pitch,
                   .between = (size_t)(image_rows - DN_TILE * rows) * pitch};
}

INLINE void next_pair(pairs *p)
{
    p->at += PAIR;
    if (++p->column < p->columns)
        return;
    p->column = 0;
    p->row_at += DN_TILE * p->pitch;
    if (++p->row == p->rows) {
        p->row = 0;
        p->row_at += p->between;
        p->image++;
    }
    p->at = p->row_at;
}

/* Offsets of a register's pairs. The last pair is repeated for those that do not exist. */
INLINE void next_pairs(pairs *p, size_t at[PAIRS])
{
    for (int i = 0; i < PAIRS; i++) {
        at[i] = p->image < p->images ? p->at : at[i - 1];
        if (p->image < p->images)
            next_pair(p);
    }
}

INLINE vec load_halves(const float *low, const float *high)
{
    return JOIN(*(const half_in_memory *)low, *(const half_in_memory *)high);
}

INLINE void store_half(float *p, half_vec v)
{
    *(half_in_memory *)p = v;
}

/*
 * Four registers, called parts, hold one row of the tiles, four floats of each. Shuffles convert
 * parts to columns and back:
 *
 *     COLUMNS_01(a, b), COLUMNS_23(a, b)    columns 0 and 1, or 2 and 3, of two parts
 *     FIRST_OF(a, b), SECOND_OF(a, b)       the first, or the second, column of both
 *     LOW_TILES(a, b), HIGH_TILES(a, b)     of two columns the lanes of part 0, 1 or 2, 3
 *     FIRST_PART(a, b), SECOND_PART(a, b)   the first, or the second, part of these
 */
#if DN_VL == 16
#define COLUMNS_01(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 4, 8, 12, 1, 5, 9, 13, 16, 20, 24, 28, 17, 21, 25, 29)
#define COLUMNS_23(a, b)                                                                           \
    __builtin_shufflevector(a, b, 2, 6, 10, 14, 3, 7, 11, 15, 18, 22, 26, 30, 19, 23, 27, 31)
#define FIRST_OF(a, b)                                                                             \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define SECOND_OF(a, b)                                                                            \
    __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#define LOW_TILES(a, b)                                                                            \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define HIGH_TILES(a, b)                                                                           \
    __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#define FIRST_PART(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27)
#define SECOND_PART(a, b)                                                                          \
    __builtin_shufflevector(a, b, 4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22, 30, 7, 15, 23, 31)

/* Part i is pairs 2 i and 2 i + 1. */
INLINE vec load_part(const float *x, const size_t at[PAIRS], const int i)
{
    return load_halves(x + at[2 * i], x + at[2 * i + 1]);
}

/* Stores from the last pair to the first, so that the real one overwrites its repetitions. */
INLINE void store_parts(float *y, const size_t at[PAIRS], const vec part[4])
{
    UNROLL
    for (int i = 3; i >= 0; i--) {
        store_half(y + at[2 * i + 1], HIGH(part[i]));
        store_half(y + at[2 * i], LOW(part[i]));
    }
}
#else
#define COLUMNS_01(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define COLUMNS_23(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define FIRST_OF(a, b)   __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define SECOND_OF(a, b)  __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_TILES        COLUMNS_01 /* a transposition of 4 x 4 is its own inverse */
#define HIGH_TILES       COLUMNS_23
#define FIRST_PART       FIRST_OF
#define SECOND_PART      SECOND_OF

/* Part i is tile i, of pair 0 or 1, and tile i + 4. */
INLINE vec load_part(const float *x, const size_t at[PAIRS], const int i)
{
    const float *from = x + DN_TILE * (i % 2);
    return load_halves(from + at[i / 2], from + at[2 + i / 2]);
}

/* Stores from the last pair to the first, so that the real one overwrites its repetitions. */
INLINE void store_parts(float *y, const size_t at[PAIRS], const vec part[4])
{
    UNROLL
    for (int i = 3; i >= 0; i--)
        store_half(y + at[2 + i / 2] + DN_TILE * (i % 2), HIGH(part[i]));
    UNROLL
    for (int i = 3; i >= 0; i--)
        store_half(y + at[i / 2] + DN_TILE * (i % 2), LOW(part[i]));
}
#endif

/* Loads columns [0, count), 4 or 6, of the tiles or windows of the pairs at x + at[pair], one per
 * lane. */
INLINE void load_columns(const float *x, const size_t at[PAIRS], const int count, vec c[])
{
    const vec p[4] = {load_part(x, at, 0), load_part(x, at, 1), load_part(x, at, 2),
                      load_part(x, at, 3)};
    const vec a = COLUMNS_01(p[0], p[1]), b = COLUMNS_01(p[2], p[3]);
    const vec d = COLUMNS_23(p[0], p[1]), e = COLUMNS_23(p[2], p[3]);
    c[0] = FIRST_OF(a, b);
    c[1] = SECOND_OF(a, b);
    c[2] = FIRST_OF(d, e);
    c[3] = SECOND_OF(d, e);
    if (count > DN_TILE) {
        const float *y = x + DN_TILE;
        const vec f = COLUMNS_01(load_part(y, at, 0), load_part(y, at, 1));
        const vec g = COLUMNS_01(load_part(y, at, 2), load_part(y, at, 3));
        c[4] = FIRST_OF(f, g);
        c[5] = SECOND_OF(f, g);
    }
}

/* Stores the four columns of the tiles. */
INLINE void store_columns(float *y, const size_t at[PAIRS], const vec c[DN_TILE])
{
    const vec a = LOW_TILES(c[0], c[1]), b = LOW_TILES(c[2], c[3]);
    const vec d = HIGH_TILES(c[0], c[1]), e = HIGH_TILES(c[2], c[3]);
    const vec part[4] = {FIRST_PART(a, b), SECOND_PART(a, b), FIRST_PART(d, e), SECOND_PART(d, e)};
    store_parts(y, at, part);
}

/* to = B' d. */
INLINE void times_b_transposed(const vec d[DN_WINDOW], vec to[DN_WINDOW])
{
    const vec even_near = d[4] - DN_FAR2 * d[2], odd_near = d[3] - DN_FAR2 * d[1];
    const vec even_far = d[4] - DN_NEAR2 * d[2], odd_far = d[3] - DN_NEAR2 * d[1];
    to[0] = DN_NEAR2 * DN_FAR2 * d[0] + (d[4] - (DN_NEAR2 + DN_FAR2) * d[2]);
    to[1] = even_near + DN_NEAR * odd_near;
    to[2] = even_near - DN_NEAR * odd_near;
    to[3] = even_far + DN_FAR * odd_far;
    to[4] = even_far - DN_FAR * odd_far;
    to[5] = DN_NEAR2 * DN_FAR2 * d[1] + (d[5] - (DN_NEAR2 + DN_FAR2) * d[3]);
}

/* to = A d. */
INLINE void times_a(const vec d[DN_TILE], vec to[DN_WINDOW])
{
    const vec even_near = d[0] + DN_NEAR2 * d[2], odd_near = d[1] + DN_NEAR2 * d[3];
    const vec even_far = d[0] + DN_FAR2 * d[2], odd_far = d[1] + DN_FAR2 * d[3];
    to[0] = d[0];
    to[1] = even_near + DN_NEAR * odd_near;
    to[2] = even_near - DN_NEAR * odd_near;
    to[3] = even_far + DN_FAR * odd_far;
    to[4] = even_far - DN_FAR * odd_far;
    to[5] = d[3];
}

/* to = A' d. Terms of both points are added with powers of DN_NEAR / DN_FAR = 1/2, and then
 * multiplied by a power of DN_FAR in the form sum + product: the next pass could contract a bare
 * product. */
INLINE void times_a_transposed(const vec d[DN_WINDOW], vec to[DN_TILE])
{
    const float ratio = DN_NEAR / DN_FAR;
    const vec near_sum = d[1] + d[2], near_difference = d[1] - d[2];
    const vec far_sum = d[3] + d[4], far_difference = d[3] - d[4];
    const vec odd = far_difference + ratio * near_difference;
    const vec even = far_sum + ratio * ratio * near_sum;
    const vec cubic = far_difference + ratio * ratio * ratio * near_difference;
    to[0] = (d[0] + near_sum) + far_sum;
    to[1] = odd + (DN_FAR - 1) * odd;
    to[2] = (even + even) + (DN_FAR2 - 2) * even;
    to[3] = DN_FAR2 * DN_FAR * cubic + d[5];
}

/* to = the windows or tiles of all pairs, `count` rows each, the first rows at `first`; `times`
 * multiplies by the matrix, applied once for rows and once for columns. */
INLINE void transform(const dn_padded *padded, const float *first, const int count,
                      void (*const times)(const vec *, vec *), float *to, size_t matrix)
{
    pairs p = pairs_of(padded, padded->image_rows, padded->pitch);
    for (; p.image < p.images; to += DN_VL) {
        size_t at[PAIRS];
        next_pairs(&p, at);
        vec d[DN_WINDOW][DN_WINDOW]; /* columns, then rows */
        for (int i = 0; i < count; i++) {
            vec row[DN_WINDOW], turned[DN_WINDOW];
            load_columns(first + (size_t)i * p.pitch, at, count, row);
            times(row, turned);
            UNROLL
            for (int j = 0; j < DN_WINDOW; j++)
                d[j][i] = turned[j];
        }
        for (int j = 0; j < DN_WINDOW; j++) {
            vec column[DN_WINDOW];
            times(d[j], column);
            UNROLL
            for (int i = 0; i < DN_WINDOW; i++)
                store(to + (size_t)(DN_WINDOW * i + j) * matrix, column[i]);
        }
    }
}

static void ISA(winograd_input)(const dn_padded *padded, const float *x, float *u, size_t matrix)
{
    transform(padded, x - 1, DN_WINDOW, times_b_transposed, u,
              matrix); /* a column before the tile */
}

static void ISA(winograd_output_grad)(const dn_padded *padded, const float *dy, float *m,
                                      size_t matrix)
{
    transform(padded, dy + padded->pitch, DN_TILE, times_a, m, matrix); /* below padded row 0 */
}

static void ISA(winograd_output)(const dn_padded *padded, const float *m, size_t matrix, float *y,
                                 size_t y_pitch)
{
    pairs p = pairs_of(padded, DN_TILE * dn_tiles(padded->rows), y_pitch);
    for (; p.image < p.images; m += DN_VL) {
        size_t at[PAIRS];
        next_pairs(&p, at);
        vec d[DN_TILE][DN_WINDOW]; /* rows, then columns */
        for (int j = 0; j < DN_WINDOW; j++) {
            vec column[DN_WINDOW], to[DN_TILE];
            UNROLL
            for (int i = 0; i < DN_WINDOW; i++)
                column[i] = load(m + (size_t)(DN_WINDOW * i + j) * matrix);
            times_a_transposed(column, to);
            UNROLL
            for (int i = 0; i < DN_TILE; i++)
                d[i][j] = to[i];
        }
        for (int i = 0; i < DN_TILE; i++) {
            vec to[DN_TILE];
            times_a_transposed(d[i], to);
            store_columns(y + (size_t)i * y_pitch, at, to);
        }
    }
}

static const dn_winograd_kernels winograd = {ISA(winograd_input), ISA(winograd_output),
                                             ISA(winograd_output_grad)};
