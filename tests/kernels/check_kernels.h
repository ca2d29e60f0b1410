/*
 * Each function checks one random case of a kernel in every table under test (expect.h), with the
 * given channels, sizes and padded layouts.
 */
#ifndef DN_CHECK_KERNELS_H
#define DN_CHECK_KERNELS_H

#include "guarded.h"
#include "layers/layout.h"

/* check_products.c. The products for maps of that type (for DN_BF16 those that round, on operands
 * that need it): one tap, or nine over planes of such a width; n pixels. */
void dn_check_gemm(dn_dtype dtype, int outputs, int inputs, int taps, int width, size_t n);
void dn_check_wgrad(dn_dtype dtype, int outputs, int inputs, int taps, int width, size_t n);

/* dgrad_norm_relu, where a table has it. */
void dn_check_dgrad_norm_relu(dn_dtype dtype, int rows, int inputs, size_t n);

/* check_winograd.c. Winograd's transforms of one piece of a map, where a table has them. */
void dn_check_winograd(const dn_layout *layout, int piece);

/* check_operands.c. The operands that the table's products read for a map's rows x, against
 * norm_relu's result `want`. */
void dn_check_operands(const dn_kernels *k, const dn_padded *padded, const dn_guarded *x,
                       const float *scale, const float *shift, const dn_guarded *want);

/* check_rows.c. The kernels on maps: norm_relu and affine into a padded layout; store from one. */
void dn_check_fill(dn_dtype dtype, const dn_padded *padded);
void dn_check_store(dn_dtype dtype, const dn_padded *padded);
void dn_check_moments(dn_dtype dtype, int rows, size_t n);
void dn_check_norm_relu_grad(dn_dtype dtype, int rows, size_t n);

/* check_stride.c. The rows of a 7x7's operand; pools, max over a padded layout of one image. */
void dn_check_im2col(int height, int width, int row, int rows);
void dn_check_max_pool(const dn_padded *padded);
void dn_check_average_pool(int rows, int width);

/* check_pixels.c. Every kernel on pixels. */
void dn_check_pixels(size_t n);

#endif
