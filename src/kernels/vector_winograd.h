/*
 * Winograd's transforms in the vector types of vector.c; see dn_winograd_kernels.
 *
 * A register is two slots of DN_VL / 2 neighbouring tiles; the second slot may lie on another tile
 * row or image, so that narrow maps fill registers too. Windows of one slot begin two columns
 * apart: one load of DN_VL floats has all their columns 0 and 1, a load two floats on columns 2 and
 * 3, and a shuffle parts the even from the odd.
 *
 *     load      c0 c1 c0 c1 c0 c1 ..      even  c0 c0 c0 .. (slot 0) c0 c0 c0 .. (slot 1)
 *     load + 2  c2 c3 c2 c3 c2 c3 ..      odd   c1 c1 c1 .. (slot 0) c1 c1 c1 .. (slot 1)
 *
 * Only sums and differences occur, each in one order, so all tables agree to the bit. Slots are
 * stored in ascending order: what a slot spills past the end of a tile row the next one overwrites.
 */

enum { SLOT = DN_VL / 2 };

typedef float half_in_memory __attribute__((vector_size(2 * DN_VL), aligned(4), may_alias));
typedef float half __attribute__((vector_size(2 * DN_VL)));

/* Walks the slots of a padded layout. */
typedef struct slots {
    int image, row, column; /* of the next slot's first tile */
    int images, rows, columns;
    size_t tile; /* its number */
} slots;

INLINE slots slots_of(const dn_padded *padded)
{
    return (slots){.images = padded->images,
                   .rows = (padded->rows + 1) / 2,
                   .columns = (padded->width + 1) / 2};
}

INLINE void next_slot(slots *s)
{
    const int left = s->columns - s->column;
    s->tile += (size_t)(left < SLOT ? left : SLOT);
    s->column += SLOT;
    if (s->column >= s->columns) {
        s->column = 0;
        if (++s->row == s->rows) {
            s->row = 0;
            s->image++;
        }
    }
}

#if DN_VL == 16
#define LOW(v)  __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define HIGH(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
#define JOIN(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#else
#define LOW(v)     __builtin_shufflevector(v, v, 0, 1, 2, 3)
#define HIGH(v)    __builtin_shufflevector(v, v, 4, 5, 6, 7)
#define JOIN(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#endif

/* Two slots, and where their tiles stand in a row of tiles. After the last slot the second is the
 * first once more. */
typedef struct pair {
    size_t tile, second; /* second: from the first */
} pair;

/* Where a slot's first tile begins in images of `rows` rows that are `pitch` apart. */
INLINE size_t slot_at(const slots *s, int rows, size_t pitch)
{
    return (size_t)(s->image * rows + 2 * s->row) * pitch + 2 * (size_t)s->column;
}

/* The next two slots, and where they begin. */
INLINE pair next_pair(slots *s, int rows, size_t pitch, size_t at[2])
{
    pair p = {.tile = s->tile};
    at[0] = at[1] = slot_at(s, rows, pitch);
    next_slot(s);
    if (s->image < s->images) {
        p.second = s->tile - p.tile;
        at[1] = slot_at(s, rows, pitch);
        next_slot(s);
    }
    return p;
}

/* Stores both slots; slot 1 after slot 0. */
INLINE void store_pair(float *to, const pair *p, vec v)
{
    if (p->second == SLOT) {
        store(to, v);
        return;
    }
    *(half_in_memory *)to = LOW(v);
    *(half_in_memory *)(to + p->second) = HIGH(v);
}

/* Of each row d0..d3 of the windows: d0 - d2, d1 + d2, d2 - d1, d1 - d3; then of the columns. */
INLINE void transform_windows(const float *const x[2], size_t pitch, float *u, size_t matrix,
                              const pair *p)
{
    vec h[4][4];
    UNROLL
    for (int r = 0; r < 4; r++) {
        const float *a = x[0] + (size_t)r * pitch, *b = x[1] + (size_t)r * pitch;
        const vec left[2] = {load(a), load(b)}, right[2] = {load(a + 2), load(b + 2)};
        const vec d0 = EVEN(left[0], left[1]), d1 = ODD(left[0], left[1]);
        const vec d2 = EVEN(right[0], right[1]), d3 = ODD(right[0], right[1]);
        h[r][0] = d0 - d2;
        h[r][1] = d1 + d2;
        h[r][2] = d2 - d1;
        h[r][3] = d1 - d3;
    }
    u += p->tile;
    UNROLL
    for (int j = 0; j < 4; j++, u += matrix)
        store_pair(u, p, h[0][j] - h[2][j]);
    UNROLL
    for (int j = 0; j < 4; j++, u += matrix)
        store_pair(u, p, h[1][j] + h[2][j]);
    UNROLL
    for (int j = 0; j < 4; j++, u += matrix)
        store_pair(u, p, h[2][j] - h[1][j]);
    UNROLL
    for (int j = 0; j < 4; j++, u += matrix)
        store_pair(u, p, h[1][j] - h[3][j]);
}

static void ISA(winograd_input)(const dn_padded *padded, const float *x, float *u, size_t matrix)
{
    const float *first = x - 1; /* a window begins a column before its tile */
    const size_t pitch = padded->pitch;
    const int rows = padded->image_rows;
    slots s = slots_of(padded);
    while (s.image < s.images) {
        size_t at[2];
        const pair p = next_pair(&s, rows, pitch, at);
        const float *from[2] = {first + at[0], first + at[1]};
        transform_windows(from, pitch, u, matrix, &p);
    }
}

/* Element (i, j) of A dy A' from the columns of its two rows: A = (1 0, 1 1, 1 -1, 0 -1). */
INLINE void transform_outputs(const float *const dy[2], size_t pitch, float *m, size_t matrix,
                              const pair *p)
{
    vec row[2][4];
    UNROLL
    for (int r = 0; r < 2; r++) {
        const vec d[2] = {load(dy[0] + (size_t)r * pitch), load(dy[1] + (size_t)r * pitch)};
        const vec c0 = EVEN(d[0], d[1]), c1 = ODD(d[0], d[1]);
        row[r][0] = c0;
        row[r][1] = c0 + c1;
        row[r][2] = c0 - c1;
        row[r][3] = -c1;
    }
    m += p->tile;
    UNROLL
    for (int j = 0; j < 4; j++, m += matrix)
        store_pair(m, p, row[0][j]);
    UNROLL
    for (int j = 0; j < 4; j++, m += matrix)
        store_pair(m, p, row[0][j] + row[1][j]);
    UNROLL
    for (int j = 0; j < 4; j++, m += matrix)
        store_pair(m, p, row[0][j] - row[1][j]);
    UNROLL
    for (int j = 0; j < 4; j++, m += matrix)
        store_pair(m, p, -row[1][j]);
}

static void ISA(winograd_output_grad)(const dn_padded *padded, const float *dy, float *m,
                                      size_t matrix)
{
    const size_t pitch = padded->pitch;
    const float *first = dy + pitch; /* below padded row 0 */
    const int rows = padded->image_rows;
    slots s = slots_of(padded);
    while (s.image < s.images) {
        size_t at[2];
        const pair p = next_pair(&s, rows, pitch, at);
        const float *from[2] = {first + at[0], first + at[1]};
        transform_outputs(from, pitch, m, matrix, &p);
    }
}

INLINE vec load_pair(const float *m, const pair *p)
{
    if (p->second == SLOT)
        return load(m);
    const half a = *(const half_in_memory *)m, b = *(const half_in_memory *)(m + p->second);
    return JOIN(a, b);
}

INLINE void transform_products(const float *m, size_t matrix, const pair *p, float *const y[2],
                               size_t pitch)
{
    vec sum[2][4];
    m += p->tile;
    UNROLL
    for (int j = 0; j < 4; j++, m += matrix) {
        vec e[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            e[i] = load_pair(m + (size_t)(4 * i) * matrix, p);
        sum[0][j] = (e[0] + e[1]) + e[2];
        sum[1][j] = (e[1] - e[2]) - e[3];
    }
    UNROLL
    for (int r = 0; r < 2; r++) {
        const vec c0 = (sum[r][0] + sum[r][1]) + sum[r][2];
        const vec c1 = (sum[r][1] - sum[r][2]) - sum[r][3];
        store(y[0] + (size_t)r * pitch, ZIP_LOW(c0, c1));
        store(y[1] + (size_t)r * pitch, ZIP_HIGH(c0, c1));
    }
}

static void ISA(winograd_output)(const dn_padded *padded, const float *m, size_t matrix, float *y,
                                 size_t y_pitch)
{
    slots s = slots_of(padded);
    while (s.image < s.images) {
        size_t at[2];
        const pair p = next_pair(&s, 2 * s.rows, y_pitch, at);
        float *const to[2] = {y + at[0], y + at[1]};
        transform_products(m, matrix, &p, to, y_pitch);
    }
}

static const dn_winograd_kernels winograd = {ISA(winograd_input), ISA(winograd_output),
                                             ISA(winograd_output_grad)};
