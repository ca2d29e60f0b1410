/*
 * The kernels of `generic` that read or write maps; included once per element type:
 *
 *     ELEMENT        a map's element as stored
 *     NAMED(name)    a kernel's name for that type
 *     TO_FLOAT(element), TO_ELEMENT(value)    conversions; the latter rounds to nearest even
 */
static void NAMED(norm_relu)(int rows, const dn_padded *padded, const void *map, size_t x_ld,
                             const float *scale, const float *shift, float *to, size_t to_ld)
{
    const ELEMENT *x = map;
    for (int c = 0; c < rows; c++, x += x_ld, to += to_ld) {
        clear_padded(to, padded);
        for (int i = 0; i < padded->images; i++)
            for (int r = 0; r < padded->rows; r++)
                for (int p = 0; p < padded->width; p++) {
                    const float v =
                        scale[c] * TO_FLOAT(x[source_index(padded, i, r) + (size_t)p]) + shift[c];
                    to[padded_index(padded, i, r) + (size_t)p] = v <= 0 ? 0 : v; /* keeps NaN */
                }
    }
}

static void NAMED(affine)(int rows, const dn_padded *padded, const void *gradient, size_t g_ld,
                          const void *map, size_t x_ld, const float *c, float *to, size_t to_ld)
{
    const ELEMENT *g = gradient, *x = map;
    for (int k = 0; k < rows; k++, x += x_ld, g += g_ld, to += to_ld, c += 3) {
        clear_padded(to, padded);
        for (int i = 0; i < padded->images; i++)
            for (int r = 0; r < padded->rows; r++)
                for (int p = 0; p < padded->width; p++) {
                    const size_t from = source_index(padded, i, r) + (size_t)p;
                    to[padded_index(padded, i, r) + (size_t)p] =
                        c[0] * TO_FLOAT(g[from]) + (c[1] * TO_FLOAT(x[from]) + c[2]);
                }
    }
}

static void NAMED(store_map)(int rows, const dn_padded *padded, const float *y, size_t y_ld,
                             void *map, size_t to_ld)
{
    ELEMENT *to = map;
    for (int c = 0; c < rows; c++, y += y_ld, to += to_ld)
        for (int i = 0; i < padded->images; i++)
            for (int r = 0; r < padded->rows; r++) {
                const float *from = y + (size_t)(i * padded->image_rows + r) * padded->pitch;
                const size_t row = (size_t)(i * padded->rows + r) * (size_t)padded->width;
                for (int p = 0; p < padded->width; p++)
                    to[row + (size_t)p] = TO_ELEMENT(from[p]);
            }
}

static void NAMED(moments)(int rows, size_t n, const void *map, size_t x_ld, float *result)
{
    const ELEMENT *x = map;
    for (int c = 0; c < rows; c++, x += x_ld) {
        double sum = 0, squares = 0;
        for (size_t p = 0; p < n; p++)
            sum += TO_FLOAT(x[p]);
        const double mean = sum / (double)n;
        for (size_t p = 0; p < n; p++)
            squares += (TO_FLOAT(x[p]) - mean) * (TO_FLOAT(x[p]) - mean);
        result[2 * c] = (float)mean;
        result[2 * c + 1] = (float)squares;
    }
}

static void NAMED(norm_relu_grad)(const dn_norm_grad *a)
{
    for (int c = 0; c < a->rows; c++) {
        const ELEMENT *x = (const ELEMENT *)a->x + (size_t)c * a->x_ld;
        const float *g = a->gradient + (size_t)c * a->gradient_ld;
        ELEMENT *to = (ELEMENT *)a->map_gradient + (size_t)c * a->map_gradient_ld;
        double sum = 0, moment = 0;
        for (size_t p = 0; p < a->n; p++) {
            const float v = TO_FLOAT(x[p]);
            const float masked = a->scale[c] * v + a->shift[c] <= 0 ? 0 : g[p];
            sum += masked;
            moment += masked * (double)(v - a->mean[c]);
            to[p] = TO_ELEMENT((a->accumulate ? TO_FLOAT(to[p]) : 0) + a->gamma[c] * masked);
        }
        a->sums[2 * c] = (float)sum;
        a->sums[2 * c + 1] = (float)moment;
    }
}

#undef ELEMENT
#undef NAMED
#undef TO_FLOAT
#undef TO_ELEMENT
