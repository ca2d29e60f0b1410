/*
 * Winograd's transforms in the vector types of vector.c; see dn_winograd_kernels.
 *
 * A register is two slots of DN_VL / 2 neighbouring tiles; the second slot may lie on another tile
 * row or image, so that narrow maps fill registers too. Windows of one slot begin two columns
 * apart: one load of DN_VL floats has all their columns 0 and 1, a load two floats on columns 2 and
 * 3, and a shuffle separates the even from the odd.
 *
 *     load      c0 c1 c0 c1 c0 c1 ..      even  c0 c0 c0 .. (slot 0) c0 c0 c0 .. (slot 1)
 *     load + 2  c2 c3 c2 c3 c2 c3 ..      odd   c1 c1 c1 .. (slot 0) c1 c1 c1 .. (slot 1)
 *
 * Only sums and differences occur, each in one order, so all tables agree to the bit. Slots are
 * stored in ascending order: what a slot spills past the end of a tile row the next one overwrites.
 */

enum { SLOT = DN_VL / 2 };

/* A walk over the slots of a padded layout, whose planes are image_rows x pitch pixels. */
typedef struct slots {
    int images, rows, columns; /* rows x columns tiles an image */
    int image_rows;
    size_t pitch;
    int image, row, column; /* of the next slot's first tile */
    size_t tile;            /* its number */
} slots;

/* Two neighbouring slots: the number of the first one's first tile, from there to the second's, and
 * where each begins in its plane. After the last slot the second is the first once more. */
typedef struct pair {
    size_t tile, second, at[2];
} pair;

INLINE slots slots_of(const dn_padded *padded, int image_rows, size_t pitch)
{
    return (slots){.images = padded->images,
                   .rows = (padded->rows + 1) / 2,
                   .columns = (padded->width + 1) / 2,
                   .image_rows = image_rows,
                   .pitch = pitch};
}

INLINE size_t slot_at(const slots *s)
{
    return (size_t)(s->image * s->image_rows + 2 * s->row) * s->pitch + 2 * (size_t)s->column;
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

INLINE pair next_pair(slots *s)
{
    pair p = {.tile = s->tile, .at = {slot_at(s), slot_at(s)}};
    next_slot(s);
    if (s->image < s->images) {
        p.second = s->tile - p.tile;
        p.at[1] = slot_at(s);
        next_slot(s);
    }
    return p;
}

/* Where no register holds a vec, two loads are as good as one, and from a choice between them GCC
 * 14 makes code for aarch64 that gets lanes wrong. */
INLINE vec load_pair(const float *u, const pair *p)
{
#ifdef __AVX__
    if (p->second == SLOT)
        return load(u);
#endif
    const half_vec a = *(const half_in_memory *)u, b = *(const half_in_memory *)(u + p->second);
    return JOIN(a, b);
}

/* Slot 1 after slot 0, whose spill it overwrites. */
INLINE void store_pair(float *u, const pair *p, vec v)
{
    if (p->second == SLOT) {
        store(u, v);
        return;
    }
    *(half_in_memory *)u = LOW(v);
    *(half_in_memory *)(u + p->second) = HIGH(v);
}

/* Element i of B' d, of A d and of A' d. */
INLINE vec times_b(const int i, vec d0, vec d1, vec d2, vec d3)
{
    return i == 0 ? d0 - d2 : i == 1 ? d1 + d2 : i == 2 ? d2 - d1 : d1 - d3;
}

INLINE vec times_a(const int i, vec d0, vec d1)
{
    return i == 0 ? d0 : i == 1 ? d0 + d1 : i == 2 ? d0 - d1 : -d1;
}

INLINE vec times_a_transposed(const int i, const vec d[4])
{
    return i == 0 ? (d[0] + d[1]) + d[2] : (d[1] - d[2]) - d[3];
}

static void ISA(winograd_input)(const dn_padded *padded, const float *x, float *u, size_t matrix)
{
    slots s = slots_of(padded, padded->image_rows, padded->pitch);
    while (s.image < s.images) {
        const pair p = next_pair(&s);
        vec d[4][4];
        UNROLL
        for (int i = 0; i < 4; i++) { /* a window begins a column before its tile */
            const float *a = x - 1 + p.at[0] + (size_t)i * s.pitch;
            const float *b = x - 1 + p.at[1] + (size_t)i * s.pitch;
            const vec left[2] = {load(a), load(b)}, right[2] = {load(a + 2), load(b + 2)};
            const vec d0 = EVEN(left[0], left[1]), d1 = ODD(left[0], left[1]);
            const vec d2 = EVEN(right[0], right[1]), d3 = ODD(right[0], right[1]);
            UNROLL
            for (int j = 0; j < 4; j++)
                d[i][j] = times_b(j, d0, d1, d2, d3);
        }
        float *to = u + p.tile;
        UNROLL
        for (int e = 0; e < 16; e++, to += matrix)
            store_pair(to, &p, times_b(e / 4, d[0][e % 4], d[1][e % 4], d[2][e % 4], d[3][e % 4]));
    }
}

static void ISA(winograd_output_grad)(const dn_padded *padded, const float *dy, float *m,
                                      size_t matrix)
{
    const float *first = dy + padded->pitch; /* below padded row 0 */
    slots s = slots_of(padded, padded->image_rows, padded->pitch);
    while (s.image < s.images) {
        const pair p = next_pair(&s);
        vec d[2][4];
        UNROLL
        for (int i = 0; i < 2; i++) {
            const vec a = load(first + p.at[0] + (size_t)i * s.pitch);
            const vec b = load(first + p.at[1] + (size_t)i * s.pitch);
            UNROLL
            for (int j = 0; j < 4; j++)
                d[i][j] = times_a(j, EVEN(a, b), ODD(a, b));
        }
        float *to = m + p.tile;
        UNROLL
        for (int e = 0; e < 16; e++, to += matrix)
            store_pair(to, &p, times_a(e / 4, d[0][e % 4], d[1][e % 4]));
    }
}

static void ISA(winograd_output)(const dn_padded *padded, const float *m, size_t matrix, float *y,
                                 size_t y_pitch)
{
    slots s = slots_of(padded, (padded->rows + 1) / 2 * 2, y_pitch);
    while (s.image < s.images) {
        const pair p = next_pair(&s);
        const float *from = m + p.tile;
        vec d[2][4];
        UNROLL
        for (int j = 0; j < 4; j++, from += matrix) {
            vec column[4];
            UNROLL
            for (int i = 0; i < 4; i++)
                column[i] = load_pair(from + (size_t)(4 * i) * matrix, &p);
            d[0][j] = times_a_transposed(0, column);
            d[1][j] = times_a_transposed(1, column);
        }
        UNROLL
        for (int i = 0; i < 2; i++) {
            const vec c0 = times_a_transposed(0, d[i]), c1 = times_a_transposed(1, d[i]);
            store(y + p.at[0] + (size_t)i * s.pitch, ZIP_LOW(c0, c1));
            store(y + p.at[1] + (size_t)i * s.pitch, ZIP_HIGH(c0, c1));
        }
    }
}

static const dn_winograd_kernels winograd = {ISA(winograd_input), ISA(winograd_output),
                                             ISA(winograd_output_grad)};
