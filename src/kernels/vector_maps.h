/*
 * The kernels of vector.c that read or write maps, included once an element type:
 *
 *     ELEMENT         how a map's element is stored
 *     NAMED(name)     a kernel's name for that type
 *     LOAD, STORE     a register of elements, widened from or rounded to that type
 *
 * Rows are written in ascending order, whole registers at a time: what a register spills past the
 * end of a row of pixels is overwritten by the border and the next row.
 */

/* Fills one framed row with VALUE(p), p counting source elements. */
#define FILL_FRAME(VALUE)                                                                          \
    do {                                                                                           \
        const size_t width = (size_t)frame->width, n = dn_frame_floats(frame);                     \
        const size_t total = dn_round_lanes(n);                                                    \
        if (!frame->border) {                                                                      \
            for (size_t p = 0; p < n; p += DN_VL)                                                  \
                store(to + p, VALUE(p));                                                           \
            memset(to + n, 0, (total - n) * sizeof *to);                                           \
            break;                                                                                 \
        }                                                                                          \
        float *row = to;                                                                           \
        row[-1] = 0;                                                                               \
        for (int i = 0; i < frame->images; i++) {                                                  \
            size_t from = (size_t)i * frame->source_image;                                         \
            row = clear(row, (size_t)frame->skip * (width + 1));                                   \
            for (int r = 0; r < frame->rows; r++, from += width, row += width + 1) {               \
                for (size_t p = 0; p < width; p += DN_VL)                                          \
                    store(row + p, VALUE(from + p));                                               \
                row[width] = 0;                                                                    \
            }                                                                                      \
        }                                                                                          \
        memset(row, 0, (size_t)(to + total - row) * sizeof *to);                                   \
    } while (0)

static void NAMED(norm_relu)(int rows, const dn_frame *frame, const void *map, size_t x_ld,
                             const float *scale, const float *shift, float *to, size_t to_ld)
{
    const ELEMENT *x = map;
    for (int c = 0; c < rows; c++, x += x_ld, to += to_ld) {
        const vec a = splat(scale[c]), b = splat(shift[c]);
#define NORM_RELU(p) relu(a *LOAD(x + (p)) + b)
        FILL_FRAME(NORM_RELU);
    }
}

static void NAMED(affine)(int rows, const dn_frame *frame, const float *g, size_t g_ld,
                          const void *map, size_t x_ld, const float *c, float *to, size_t to_ld)
{
    const ELEMENT *x = map;
    for (int k = 0; k < rows; k++, g += g_ld, x += x_ld, to += to_ld, c += 3) {
        const vec c0 = splat(c[0]), c1 = splat(c[1]), c2 = splat(c[2]);
#define AFFINE(p) (c0 * load(g + (p)) + (c1 * LOAD(x + (p)) + c2))
        FILL_FRAME(AFFINE);
    }
}

static void NAMED(store_map)(int rows, const dn_frame *frame, const float *y, size_t y_ld,
                             void *map, size_t to_ld)
{
    ELEMENT *to = map;
    const size_t width = (size_t)frame->width, pitch = width + (size_t)frame->border;
    const size_t rows_apart = (size_t)(frame->border ? frame->image_rows : frame->rows);
    const size_t n = (size_t)frame->images * (size_t)frame->rows * width;
    const size_t written = (width + DN_VL - 1) / DN_VL * DN_VL;
    for (int c = 0; c < rows; c++, y += y_ld, to += to_ld) {
        size_t p = 0;
        for (int i = 0; i < frame->images; i++) {
            const float *from = y + (size_t)i * rows_apart * pitch;
            for (int r = 0; r < frame->rows; r++, from += pitch, p += width) {
                const size_t room = n - p < written ? (n - p) / DN_VL * DN_VL : written;
                size_t q = 0;
                for (; q < width && q < room; q += DN_VL)
                    STORE(to + p + q, load(from + q));
                if (q < width) {
                    ELEMENT last[DN_VL];
                    STORE(last, load(from + q));
                    memcpy(to + p + q, last, (width - q) * sizeof *to);
                }
            }
        }
    }
}

static void NAMED(moments)(int rows, size_t n, const void *map, size_t x_ld, float *result)
{
    const ELEMENT *x = map;
    const size_t whole = n / DN_LANES * DN_LANES;
    const vec zero[HALVES] = {{0}};
    for (int c = 0; c < rows; c++, x += x_ld) {
        vec sum[HALVES] = {{0}}, squares[HALVES] = {{0}};
        for (size_t p = 0; p < whole; p += DN_LANES) {
            UNROLL
            for (int h = 0; h < HALVES; h++)
                sum[h] += LOAD(x + p + h * DN_VL);
        }
        UNROLL
        for (int h = 0; h < HALVES && whole < n; h++)
            sum[h] += (vec)((mask)LOAD(x + whole + h * DN_VL) & lanes_below(h, (int)(n - whole)));
        const float mean = sum4(sum, zero, zero, zero)[0] / (float)n;
        for (size_t p = 0; p < whole; p += DN_LANES) {
            UNROLL
            for (int h = 0; h < HALVES; h++) {
                const vec d = LOAD(x + p + h * DN_VL) - mean;
                squares[h] += d * d;
            }
        }
        UNROLL
        for (int h = 0; h < HALVES && whole < n; h++) {
            const vec d = LOAD(x + whole + h * DN_VL) - mean;
            squares[h] += (vec)((mask)(d * d) & lanes_below(h, (int)(n - whole)));
        }
        result[2 * c] = mean;
        result[2 * c + 1] = sum4(squares, zero, zero, zero)[0];
    }
}

INLINE void NAMED(norm_relu_grad_row)(const dn_norm_grad *a, int c, const int accumulate)
{
    const float *g = a->gradient + (size_t)c * a->gradient_ld;
    const ELEMENT *x = (const ELEMENT *)a->x + (size_t)c * a->x_ld;
    float *to = a->sum + (size_t)c * a->sum_ld;
    const vec scale = splat(a->scale[c]), shift = splat(a->shift[c]), gamma = splat(a->gamma[c]);
    const vec mean = splat(a->mean[c]), zero[HALVES] = {{0}};
    vec sum[HALVES] = {{0}}, moment[HALVES] = {{0}};
    for (size_t p = 0; p < a->n; p += DN_LANES) {
        const int left = a->n - p < DN_LANES ? (int)(a->n - p) : DN_LANES;
        UNROLL
        for (int h = 0; h < HALVES; h++) {
            const size_t q = p + (size_t)h * DN_VL;
            const vec v = LOAD(x + q);
            const mask used = lanes_below(h, left);
            const mask open = ~(mask)(scale * v + shift <= (vec){0}) & used;
            const vec masked = (vec)((mask)load(g + q) & open);
            sum[h] += masked;
            moment[h] += masked * (vec)((mask)(v - mean) & used); /* a pad may hold anything */
            const vec result = accumulate ? gamma * masked + load(to + q) : gamma * masked;
            if (left == DN_LANES)
                store(to + q, result);
            else
                for (int l = 0; l < DN_VL && h * DN_VL + l < left; l++)
                    to[q + (size_t)l] = result[l];
        }
    }
    const vec4 sums = sum4(sum, moment, zero, zero);
    a->sums[2 * c] = sums[0];
    a->sums[2 * c + 1] = sums[1];
}

static void NAMED(norm_relu_grad)(const dn_norm_grad *args)
{
    for (int c = 0; c < args->rows; c++)
        if (args->accumulate)
            NAMED(norm_relu_grad_row)(args, c, 1);
        else
            NAMED(norm_relu_grad_row)(args, c, 0);
}

#undef FILL_FRAME
#undef NORM_RELU
#undef AFFINE
#undef ELEMENT
#undef NAMED
#undef LOAD
#undef STORE
