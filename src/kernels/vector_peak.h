/*
 * What the kernels cannot exceed, in the registers of vector.c, which includes this file: loops
 * that src/base/peaks.c times.
 */

/* As many chains of multiply-adds as the convolution's tile has. They tend to 0.5. */
static double peak(size_t rounds)
{
    vec acc[MR * NV];
    const vec shrink = splat(0.5f), add = splat(0.25f);
    UNROLL
    for (int i = 0; i < MR * NV; i++)
        acc[i] = splat((float)i);
    for (size_t r = 0; r < rounds; r++) {
        _Pragma("GCC unroll 32") for (int i = 0; i < MR * NV; i++) acc[i] = acc[i] * shrink + add;
    }
    vec sum = acc[0];
    for (int i = 1; i < MR * NV; i++)
        sum += acc[i];
    volatile float sink = sum[0];
    (void)sink;
    return 2.0 * MR * NV * DN_VL * (double)rounds;
}

static void stream_read(const float *x, size_t n)
{
    vec sum[4] = {{0}};
    for (size_t i = 0; i + 4 * DN_VL <= n; i += 4 * DN_VL) {
        UNROLL
        for (int j = 0; j < 4; j++)
            sum[j] += load(x + i + j * DN_VL);
    }
    volatile float sink = (sum[0] + sum[1] + sum[2] + sum[3])[0];
    (void)sink;
}

static void stream_scale(float *x, size_t n, float factor)
{
    for (size_t i = 0; i + DN_VL <= n; i += DN_VL)
        store(x + i, load(x + i) * factor);
}
