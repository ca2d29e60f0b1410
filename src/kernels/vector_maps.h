/*
 * The kernels of vector.c that read or write maps, and the product that is fused with one of them
 * (dgrad_norm_relu). Included once per element type, after vector_tile.h:
 *
 *     ELEMENT         a map's element as stored
 *     NAMED(name)     a function's name for that type
 *     LOAD, STORE     a register of elements, widened from or rounded to that type
 *
 * Rows are written in ascending order, in whole registers: what a register writes beyond the end of
 * a row of pixels is overwritten by the border and the next row, and what the border's zeros
 * overrun by the next row.
 */

/* A register of source pixels starting at p: for affine k[0] * g + (k[1] * x + k[2]); for
 * norm_relu, which has no g, max(0, k[1] * x + k[2]). */
INLINE vec NAMED(fill_value)(const int affine, const vec k[3], const ELEMENT *g, const ELEMENT *x,
                             size_t p)
{
    const vec value = k[1] * LOAD(x + p) + k[2];
    return affine ? k[0] * LOAD(g + p) + value : relu(value);
}

/* Fills the images of a channel's row with borders; returns the end. `narrow`: an image row is one
 * register. */
INLINE float *NAMED(fill_images)(const dn_padded *padded, const int narrow, const int affine,
                                 const vec k[3], const ELEMENT *g, const ELEMENT *x, float *row)
{
    const size_t width = (size_t)padded->width, pitch = padded->pitch, rows = (size_t)padded->rows;
    const size_t above = dn_padded_above(padded), below = dn_padded_below(padded);
    size_t image = 0;
    for (int i = padded->images; i > 0; i--, image += padded->source_image) {
        size_t from = image;
        row = clear(row, above);
        for (size_t r = rows; r > 0; r--, from += width, row += pitch) {
            size_t p = 0;
            do
                store(row + p, NAMED(fill_value)(affine, k, g, x, from + p));
            while (!narrow && (p += DN_VL) < width);
            store(row + width, (vec){0});
        }
        row = clear(row, below);
    }
    return row;
}

/* Fills one channel's row in the layout `padded` from its sources g and x. */
INLINE void NAMED(fill_padded)(const dn_padded *padded, const int affine, const vec k[3],
                               const ELEMENT *g, size_t g_ld, const ELEMENT *x, size_t x_ld,
                               float *to)
{
    const size_t n = dn_padded_floats(padded), total = dn_round_lanes(n);
    float *row = to + n;
    if (dn_padded_bordered(padded)) {
        to[-1] = 0;
        row = padded->width <= DN_VL ? NAMED(fill_images)(padded, 1, affine, k, g, x, to)
                                     : NAMED(fill_images)(padded, 0, affine, k, g, x, to);
    } else {
        for (size_t p = 0; p < n; p += DN_VL) {
            if (affine)
                __builtin_prefetch(g + PREFETCH_ROWS * g_ld + p);
            __builtin_prefetch(x + PREFETCH_ROWS * x_ld + p);
            store(to + p, NAMED(fill_value)(affine, k, g, x, p));
        }
    }
    memset(row, 0, (size_t)(to + total - row) * sizeof *to);
}

static void NAMED(norm_relu)(int rows, const dn_padded *padded, const void *map, size_t x_ld,
                             const float *scale, const float *shift, float *to, size_t to_ld)
{
    const ELEMENT *x = map;
    for (int c = 0; c < rows; c++, x += x_ld, to += to_ld) {
        const vec k[3] = {{0}, splat(scale[c]), splat(shift[c])};
        NAMED(fill_padded)(padded, 0, k, NULL, 0, x, x_ld, to);
    }
}

static void NAMED(affine)(int rows, const dn_padded *padded, const void *gradient, size_t g_ld,
                          const void *map, size_t x_ld, const float *c, float *to, size_t to_ld)
{
    const ELEMENT *g = gradient, *x = map;
    for (int row = 0; row < rows; row++, g += g_ld, x += x_ld, to += to_ld, c += 3) {
        const vec k[3] = {splat(c[0]), splat(c[1]), splat(c[2])};
        NAMED(fill_padded)(padded, 1, k, g, g_ld, x, x_ld, to);
    }
}

/* Stores the first `count` elements of a register. */
INLINE void NAMED(store_some)(ELEMENT *to, vec v, size_t count)
{
    ELEMENT all[DN_VL];
    STORE(all, v);
    memcpy(to, all, count * sizeof *to);
}

/* `count` rows of `width` pixels in whole registers, one if `narrow`. */
INLINE void NAMED(store_rows)(const int narrow, size_t count, size_t width, const float *from,
                              size_t pitch, ELEMENT *to)
{
    for (; count > 0; count--, from += pitch, to += width) {
        size_t p = 0;
        do
            STORE(to + p, load(from + p));
        while (!narrow && (p += DN_VL) < width);
    }
}

/* The last rows of a channel, without a write beyond their ends. */
INLINE void NAMED(store_last_rows)(size_t count, size_t width, const float *from, size_t pitch,
                                   ELEMENT *to)
{
    for (; count > 0; count--, from += pitch, to += width) {
        size_t p = 0;
        for (; p + DN_VL <= width; p += DN_VL)
            STORE(to + p, load(from + p));
        if (p < width)
            NAMED(store_some)(to + p, load(from + p), width - p);
    }
}

static void NAMED(store_map)(int rows, const dn_padded *padded, const float *y, size_t y_ld,
                             void *map, size_t to_ld)
{
    const size_t width = (size_t)padded->width, pitch = padded->pitch;
    const size_t height = (size_t)padded->rows, image = (size_t)padded->image_rows * pitch;
    const size_t beyond = (width + DN_VL - 1) / DN_VL * DN_VL - width; /* a row's write */
    const size_t count = (size_t)padded->images * height, last = (beyond + width - 1) / width;
    for (int c = 0; c < rows; c++, y += y_ld) {
        ELEMENT *to = (ELEMENT *)map + (size_t)c * to_ld;
        const float *from = y;
        size_t whole = count > last ? count - last : 0; /* rows whose write others overwrite */
        for (int i = padded->images; i > 0; i--, from += image, to += height * width) {
            const size_t n = whole < height ? whole : height;
            if (width <= DN_VL)
                NAMED(store_rows)(1, n, width, from, pitch, to);
            else
                NAMED(store_rows)(0, n, width, from, pitch, to);
            NAMED(store_last_rows)
            (height - n, width, from + n * pitch, pitch, to + n * width);
            whole -= n;
        }
    }
}

/* The sums over n pixels of four rows or, with `squares`, of (x - mean)^2. Four rows at once hide
 * the latency of the additions. */
INLINE vec4 NAMED(sum_rows)(const ELEMENT *const x[4], size_t n, const int squares, vec4 mean)
{
    const size_t whole = n / DN_LANES * DN_LANES;
    vec sum[4][HALVES] = {{{0}}};
    for (size_t p = 0; p < whole; p += DN_LANES) {
        UNROLL
        for (int i = 0; i < 4 * HALVES; i++) {
            const int r = i / HALVES, h = i % HALVES;
            const vec v = LOAD(x[r] + p + h * DN_VL), d = v - mean[r];
            sum[r][h] = squares ? sum[r][h] + d * d : sum[r][h] + v;
        }
    }
    UNROLL
    for (int i = 0; i < 4 * HALVES && whole < n; i++) {
        const int r = i / HALVES, h = i % HALVES;
        const vec v = LOAD(x[r] + whole + h * DN_VL), d = v - mean[r];
        sum[r][h] += (vec)((mask)(squares ? d * d : v) & lanes_below(h, (int)(n - whole)));
    }
    return sum4(sum[0], sum[1], sum[2], sum[3]);
}

static void NAMED(moments)(int rows, size_t n, const void *map, size_t x_ld, float *result)
{
    for (int first = 0; first < rows; first += 4) {
        const ELEMENT *x[4];
        const int count = rows - first < 4 ? rows - first : 4;
        for (int r = 0; r < 4; r++)
            x[r] = (const ELEMENT *)map + (size_t)(first + (r < count ? r : count - 1)) * x_ld;
        const vec4 mean = NAMED(sum_rows)(x, n, 0, (vec4){0}) / (float)n;
        const vec4 squares = NAMED(sum_rows)(x, n, 1, mean);
        for (int r = 0; r < count; r++) {
            *result++ = mean[r];
            *result++ = squares[r];
        }
    }
}

/* One register of norm_relu_grad: g is the gradient; x and `to` point at its pixels. Unless
 * `whole`, only the first `count` are used. */
INLINE void NAMED(norm_grad_step)(const norm_row *r, vec g, const ELEMENT *x, ELEMENT *to,
                                  const int whole, int count, vec *sum, vec *moment)
{
    const vec v = LOAD(x);
    const mask used = whole ? ~(mask){0} : lanes_below(0, count);
    const vec masked = (vec)((mask)where_open(r->scale * v + r->shift, g) & used);
    *sum += masked;
    *moment += masked * (vec)((mask)(v - r->mean) & used); /* a pad may hold any value */
    const vec before = r->accumulate
                           ? LOAD(to)
                           : (vec){0}; /* one expression, so that compilers contract it alike */
    const vec result = r->gamma * masked + before;
    if (whole || count >= DN_VL)
        STORE(to, result);
    else
        NAMED(store_some)(to, result, count > 0 ? (size_t)count : 0);
}

static void NAMED(norm_relu_grad)(const dn_norm_grad *a)
{
    for (int c = 0; c < a->rows; c++) {
        const float *g = a->gradient + (size_t)c * a->gradient_ld;
        const ELEMENT *x = (const ELEMENT *)a->x + (size_t)c * a->x_ld;
        ELEMENT *to = (ELEMENT *)a->map_gradient + (size_t)c * a->map_gradient_ld;
        const norm_row row = norm_row_of(a, c);
        lane_sums l = {0};
        size_t p = 0;
        for (; p + DN_LANES <= a->n; p += DN_LANES) {
            UNROLL
            for (int h = 0; h < HALVES; h++) {
                const size_t q = p + (size_t)h * DN_VL;
                NAMED(norm_grad_step)
                (&row, load(g + q), x + q, to + q, 1, DN_VL, l.sum + h, l.moment + h);
            }
        }
        for (int h = 0; h < HALVES && p < a->n; h++) {
            const size_t q = p + (size_t)h * DN_VL;
            const int left = (int)(a->n - p) - h * DN_VL;
            NAMED(norm_grad_step)
            (&row, load(g + q), x + q, to + q, 0, left, l.sum + h, l.moment + h);
        }
        store_lane_sums(a, c, &l);
    }
}

/* One row of a gemm tile; `left`: pixels up to the end of the channel's row. */
INLINE void NAMED(dgrad_row)(const int nv, const int whole, const vec g[TILE_VECTORS],
                             const dn_norm_grad *a, int c, const ELEMENT *x, ELEMENT *to, int left,
                             lane_sums *lanes)
{
    const norm_row row = norm_row_of(a, c);
    lane_sums l = lanes[c];
    UNROLL
    for (int v = 0; v < nv; v++)
        NAMED(norm_grad_step)
    (&row, g[v], x + v * DN_VL, to + v * DN_VL, whole, left - v * DN_VL, &l.sum[v % HALVES],
     &l.moment[v % HALVES]);
    lanes[c] = l;
}

/* Prefetches what a tile will be added to into the L1 cache, and the same of the next pixels, which
 * may come from memory, into the L2 cache. */
INLINE void NAMED(prefetch_tile)(const int nv, const dn_norm_grad *a, int rows, const ELEMENT *to)
{
    const int step = DN_LINE_BYTES / (int)sizeof *to;
    for (int i = 0; i < rows; i++, to += a->map_gradient_ld)
        for (int v = 0; v < nv * DN_VL; v += step) {
            __builtin_prefetch(to + v, 0, 3);
            __builtin_prefetch(to + nv * DN_VL + v, 0, 2);
        }
}

/* A gemm tile of the rows from `first` and pixels from `p`, whose sums are the gradient that
 * norm_relu_grad takes. The products hide the latency of the prefetches. */
INLINE void NAMED(dgrad_tile)(const int mr, const int nv, const int whole, const float *w,
                              int inputs, const float *dy, size_t dy_ld, const dn_norm_grad *a,
                              int first, size_t p, lane_sums *lanes)
{
    const int rows = a->rows - first < mr ? a->rows - first : mr;
    const ELEMENT *x = (const ELEMENT *)a->x + (size_t)first * a->x_ld + p;
    ELEMENT *to = (ELEMENT *)a->map_gradient + (size_t)first * a->map_gradient_ld + p;
    NAMED(prefetch_tile)(nv, a, rows, to);
    tile sums;
    open_tile(sums, mr, nv, 0, NULL, 0, 0);
    gemm_products(sums, mr, nv, w, inputs, dy + p, dy_ld);
    UNROLL
    for (int i = 0; i < mr; i++)
        if (i < rows)
            NAMED(dgrad_row)
    (nv, whole, sums[i], a, first + i, x + (size_t)i * a->x_ld, to + (size_t)i * a->map_gradient_ld,
     (int)(a->n - p), lanes);
}

/* A column of tiles: all rows over a tile's width of pixels. */
INLINE void NAMED(dgrad_column)(const int nv, const int whole, const float *w, int inputs,
                                const float *dy, size_t dy_ld, const dn_norm_grad *a, size_t p,
                                lane_sums *lanes)
{
    for (int first = 0, mr; first < a->rows; first += mr) {
        mr = tile_rows(a->rows, first);
        if (mr == MR)
            NAMED(dgrad_tile)(MR, nv, whole, w, inputs, dy, dy_ld, a, first, p, lanes);
        else if (mr == 2 * MR_STEP)
            NAMED(dgrad_tile)(2 * MR_STEP, nv, whole, w, inputs, dy, dy_ld, a, first, p, lanes);
        else
            NAMED(dgrad_tile)(MR_STEP, nv, whole, w, inputs, dy, dy_ld, a, first, p, lanes);
        w += mr * inputs;
    }
}

static void NAMED(dgrad_norm_relu)(const float *packed, int inputs, const float *dy, size_t dy_ld,
                                   const dn_norm_grad *a)
{
    lane_sums lanes[DN_PACK_OUTPUTS] = {0};
    size_t p = 0;
    for (; p + NV * DN_VL <= a->n; p += NV * DN_VL)
        NAMED(dgrad_column)(NV, 1, packed, inputs, dy, dy_ld, a, p, lanes);
    for (; p < a->n; p += DN_LANES)
        NAMED(dgrad_column)(HALVES, 0, packed, inputs, dy, dy_ld, a, p, lanes);
    for (int c = 0; c < a->rows; c++)
        store_lane_sums(a, c, &lanes[c]);
}

#undef ELEMENT
#undef NAMED
#undef LOAD
#undef STORE
