/*
 * Winograd's transforms of weights and of their gradients; see gemm.h. G has a row for each point p
 * of dn_winograd_kernels, (1, p, p^2) over the product of its distances from the others.
 *
 * Plain loops beside the tables: kernels contract products and sums, which would give other bits.
 */
#include "layers/gemm.h"

static const float at_zero = 1 / (DN_NEAR2 * DN_FAR2);
static const float at_near = 1 / (2 * DN_NEAR2 * (DN_NEAR2 - DN_FAR2));
static const float at_far = 1 / (2 * DN_FAR2 * (DN_FAR2 - DN_NEAR2));

/* u(6) = G w(3): elements lie w_step and u_step apart. */
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

void dn_winograd_weights(const dn_lanes w[DN_MAX_TAPS], dn_lanes u[DN_WINOGRAD])
{
    dn_lanes half[DN_WINDOW * 3]; /* G w */
    for (int c = 0; c < 3; c++)
        times_g(w + c, 3, half + c, 3);
    for (int r = 0; r < DN_WINDOW; r++)
        times_g(half + 3 * r, 1, u + DN_WINDOW * r, 1);
}

void dn_winograd_weight_gradients(const dn_lanes u[DN_WINOGRAD], dn_lanes dw[DN_MAX_TAPS])
{
    dn_lanes half[3 * DN_WINDOW]; /* G' u */
    for (int c = 0; c < DN_WINDOW; c++)
        times_g_transposed(u + c, DN_WINDOW, half + c, DN_WINDOW);
    for (int r = 0; r < 3; r++)
        times_g_transposed(half + DN_WINDOW * r, 1, dw + 3 * r, 1);
}
