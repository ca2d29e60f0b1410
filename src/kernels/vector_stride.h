/*
 * The kernels of vector.c with a stride of 2; see dn_stride_kernels.
 *
 * Two registers of inputs give one of outputs: a shuffle separates even from odd columns, and
 * another interleaves the gradients of even and odd columns again.
 *
 *     load, load + VL    c0 c1 c0 c1 ..    even  c0 c0 ..    odd  c1 c1 ..
 *
 * Rows are written in ascending order: what a register writes beyond the end of a row is
 * overwritten by the next row, or is 0 and added.
 */

INLINE vec even(const float *p)
{
    return EVEN(load(p), load(p + DN_VL));
}

INLINE vec odd(const float *p)
{
    return ODD(load(p), load(p + DN_VL));
}

static void ISA(im2col)(int height, int width, const float *x, int row, int rows, float *to,
                        size_t to_ld)
{
    const int columns = (width + 1) / 2;
    for (int t = 0; t < 49; t++, to += to_ld) {
        const int shift = t % 7 - 3, first = shift < 0 ? (1 - shift) / 2 : 0;
        const int end = (width + 1 - shift) / 2;
        float *out = to;
        for (int r = row; r < row + rows; r++, out += columns) {
            const int y = 2 * r - 3 + t / 7;
            if (y < 0 || y >= height) {
                clear(out, (size_t)columns);
                continue;
            }
            const float *from = x + (ptrdiff_t)y * width + shift;
            store(out, (vec){0});
            for (int c = first; c < columns; c += DN_VL)
                store(out + c, (vec)((mask)even(from + 2 * c) & lanes_below(0, end - c)));
        }
    }
}

/* The pixels of the windows that begin at x, row by row, and their maxima. Outputs of a ReLU
 * compare like their bits, with NaN as the largest. */
INLINE mask window_maxima(const float *x, size_t pitch, mask window[9])
{
    mask best = {0};
    UNROLL
    for (int i = 0; i < 3; i++, x += pitch) {
        window[3 * i] = (mask)even(x);
        window[3 * i + 1] = (mask)odd(x);
        window[3 * i + 2] = (mask)even(x + 2);
        UNROLL
        for (int j = 3 * i; j < 3 * i + 3; j++) {
            const mask larger = (mask)(window[j] > best);
            best = (window[j] & larger) | (best & ~larger);
        }
    }
    return best;
}

static void ISA(max_pool)(const dn_padded *padded, const float *x, float *y)
{
    const size_t pitch = padded->pitch, columns = pitch / 2;
    for (int r = 0; r < padded->image_rows / 2; r++, x += 2 * pitch, y += columns)
        for (size_t c = 0; c < columns; c += DN_VL) {
            mask window[9];
            store(y + c, (vec)window_maxima(x + 2 * c - 1, pitch, window));
        }
}

/* The last lane of a, then all but the last of b. */
#if DN_VL == 16
#define FOLLOW(a, b)                                                                               \
    __builtin_shufflevector(a, b, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
#else
#define FOLLOW(a, b) __builtin_shufflevector(a, b, 7, 8, 9, 10, 11, 12, 13, 14)
#endif

/* to += `first` at even lanes, then `a` and `b` interleaved. */
INLINE void add_zipped(float *to, vec first, vec a, vec b)
{
    const vec zero = {0};
    store(to, (load(to) + ZIP_LOW(first, zero)) + ZIP_LOW(a, b));
    store(to + DN_VL, (load(to + DN_VL) + ZIP_HIGH(first, zero)) + ZIP_HIGH(a, b));
}

static void ISA(max_pool_grad)(const dn_padded *padded, const float *x, const float *dy, float *dx)
{
    const size_t width = (size_t)padded->width, pitch = padded->pitch, columns = pitch / 2;
    memset(dx, 0, (size_t)padded->rows * width * sizeof *dx);
    for (int r = 0; r < padded->image_rows / 2; r++, x += 2 * pitch, dy += columns) {
        vec right[3] = {{0}}; /* what the left neighbours add to their third columns */
        for (size_t c = 0; 2 * c <= width; c += DN_VL) {
            mask window[9];
            const mask best = window_maxima(x + 2 * c - 1, pitch, window);
            const mask used = lanes_below(0, (int)(columns - c)) & (mask)(best != 0);
            mask g = (mask)load(dy + c) & used; /* 0 once the maximum is found */
            UNROLL
            for (int i = 0; i < 3; i++) {
                vec part[3];
                UNROLL
                for (int j = 0; j < 3; j++) {
                    const mask here = (mask)(window[3 * i + j] == best);
                    part[j] = (vec)(g & here);
                    g &= ~here;
                }
                const int row = 2 * r - 1 + i;
                if (row >= 0 && row < padded->rows)
                    add_zipped(dx + (size_t)row * width + 2 * c - 1, FOLLOW(right[i], part[2]),
                               part[0], part[1]);
                right[i] = part[2];
            }
        }
    }
}

static void ISA(average_pool)(int rows, int width, const float *x, float *y)
{
    const size_t columns = (size_t)(width / 2);
    for (int r = 0; r + 1 < rows; r += 2, x += 2 * width, y += columns)
        for (size_t c = 0; c < columns; c += DN_VL) {
            const float *above = x + 2 * c, *below = above + width;
            store(y + c, 0.25f * ((even(above) + odd(above)) + (even(below) + odd(below))));
        }
}

static void ISA(average_pool_grad)(int rows, int width, const float *dy, float *dx)
{
    const size_t columns = (size_t)(width / 2);
    for (int r = 0; r < rows; r++, dx += width) {
        if (r + 1 == rows && rows % 2) {
            clear(dx, (size_t)width);
            return;
        }
        const float *from = dy + (size_t)(r / 2) * columns;
        for (size_t c = 0; c < columns; c += DN_VL) {
            const vec g = 0.25f * load(from + c);
            store(dx + 2 * c, ZIP_LOW(g, g));
            store(dx + 2 * c + DN_VL, ZIP_HIGH(g, g));
        }
        if (width % 2)
            dx[width - 1] = 0;
    }
}
