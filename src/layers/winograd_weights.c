/*
 * Winograd transforms of weights and of their gradients; see gemm.h. G has a row for each point p
 * of dn_winograd_kernels: (1, p, p^2) divided by the product of its distances to the others.
 *
 * Plain loops, not kernels: those contract products and sums, which would give different bits.
 */
#include "layers/gemm.h"

#include <string.h>

static const float at_zero = 1 / (DN_NEAR2 * DN_FAR2);
static const float at_near = 1 / (2 * DN_NEAR2 * (DN_NEAR2 - DN_FAR2));
static const float at_far = 1 / (2 * DN_FAR2 * (DN_FAR2 - DN_NEAR2));

/* u(6) = G w(3); elements are w_step and u_step apart. */
static void times_g(const dn_lanes *w, int w_step, dn_lanes *u, int u_step)
{
    for (int i = 0; i < DN_LANES; i++) {
        const float a = w[0][i], b = w[w_step][i], c = w[2 * w_step][i];
        const float even_near = a + DN_NEAR2 * c, odd_near = DN_NEAR * b;
        const float even_far = a + DN_FAR2 * c, odd_far = DN_FAR * b;
        u[0][i] = at_zero * a;
        u[u_step][i] = at_near * (even_near + odd_near);
        u[2 * u_step][i] = at_near * (even_near - odd_near);
        u[3 * u_step][i] = at_far * (even_far + odd_far);
        u[4 * u_step][i] = at_far * (even_far - odd_far);
        u[5 * u_step][i] = c;
    }
}

/* w(3) = G' u(6). */
static void times_g_transposed(const dn_lanes *u, int u_step, dn_lanes *w, int w_step)
{
    for (int i = 0; i < DN_LANES; i++) {
        const float near_sum = at_near * (u[u_step][i] + u[2 * u_step][i]);
        const float near_difference = at_near * (u[u_step][i] - u[2 * u_step][i]);
        const float far_sum = at_far * (u[3 * u_step][i] + u[4 * u_step][i]);
        const float far_difference = at_far * (u[3 * u_step][i] - u[4 * u_step][i]);
        w[0][i] = at_zero * u[0][i] + near_sum + far_sum;
        w[w_step][i] = DN_NEAR * near_difference + DN_FAR * far_difference;
        w[2 * w_step][i] = DN_NEAR2 * near_sum + DN_FAR2 * far_sum + u[5 * u_step][i];
    }
}

/* u(6, 6) = G w G' of 3x3 kernels, DN_LANES side by side. */
static void transform(const dn_lanes w[DN_MAX_TAPS], dn_lanes u[DN_WINOGRAD])
{
    dn_lanes half[DN_WINDOW * 3]; /* G w */
    for (int c = 0; c < 3; c++)
        times_g(w + c, 3, half + c, 3);
    for (int r = 0; r < DN_WINDOW; r++)
        times_g(half + 3 * r, 1, u + DN_WINDOW * r, 1);
}

/* dw(3, 3) = G' u G of gradients in the transformed domain. */
static void transform_back(const dn_lanes u[DN_WINOGRAD], dn_lanes dw[DN_MAX_TAPS])
{
    dn_lanes half[3 * DN_WINDOW]; /* G' u */
    for (int c = 0; c < DN_WINDOW; c++)
        times_g_transposed(u + c, DN_WINDOW, half + c, DN_WINDOW);
    for (int r = 0; r < 3; r++)
        times_g_transposed(half + DN_WINDOW * r, 1, dw + 3 * r, 1);
}

void dn_winograd_pack_scratch(const dn_visit *v, dn_carver *c)
{
    const int outputs = v->layer->outputs;
    const int rows = v->backward || outputs < DN_PACK_OUTPUTS ? outputs : DN_PACK_OUTPUTS;
    dn_carve_floats(c, (size_t)(rows * v->channel_block) * DN_WINOGRAD);
}

/* u(36, outputs, inputs) = the transformed kernels of output o and of up to DN_LANES inputs
 * starting at c; in the backward pass rotated by 180 degrees. */
static void transform_inputs_of(const dn_weight_view *weights, int turned, int o, int c, float *u)
{
    const int left = weights->inputs - c, count = left < DN_LANES ? left : DN_LANES;
    const float *w = weights->w + o * weights->out_step + c * weights->in_step;
    dn_lanes kernels[DN_MAX_TAPS] = {{0}}, transformed[DN_WINOGRAD];
    for (int i = 0; i < count; i++, w += weights->in_step)
        for (int t = 0; t < DN_MAX_TAPS; t++)
            kernels[t][i] = w[turned ? DN_MAX_TAPS - 1 - t : t];
    transform(kernels, transformed);
    u += o * weights->inputs + c;
    for (int e = 0; e < DN_WINOGRAD; e++, u += weights->outputs * weights->inputs)
        memcpy(u, transformed[e], (size_t)count * sizeof *u);
}

void dn_winograd_pack(const dn_visit *v, const dn_weight_view *weights, float *to, size_t step)
{
    const size_t matrix = (size_t)(weights->outputs * weights->inputs);
    dn_carver scratch = dn_thread_scratch(v);
    float *u = dn_carve_floats(&scratch, DN_WINOGRAD * matrix);
    for (int o = 0; o < weights->outputs; o++)
        for (int c = 0; c < weights->inputs; c += DN_LANES)
            transform_inputs_of(weights, v->backward, o, c, u);
    for (int e = 0; e < DN_WINOGRAD; e++)
        v->products->pack(to + (size_t)e * step, &(dn_weight_view){.w = u + (size_t)e * matrix,
                                                                   .outputs = weights->outputs,
                                                                   .inputs = weights->inputs,
                                                                   .taps = 1,
                                                                   .out_step = weights->inputs,
                                                                   .in_step = 1});
}

void dn_winograd_merge(dn_lanes *sums, int rows)
{
    for (int c = 0; c < rows; c++) {
        dn_lanes u[DN_WINOGRAD], dw[DN_MAX_TAPS];
        for (int e = 0; e < DN_WINOGRAD; e++)
            memcpy(u[e], sums[e * rows + c], sizeof u[e]);
        transform_back(u, dw);
        for (int t = 0; t < DN_MAX_TAPS; t++)
            memcpy(sums[t * rows + c], dw[t], sizeof dw[t]);
    }
}
