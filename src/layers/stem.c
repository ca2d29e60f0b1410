/*
 * The first convolution, which reads the images, as a gemm (gemm.h). The images' gradient is not
 * needed.
 *
 * A 3x3 is computed by taps over padded planes. A 7x7 with stride 2 gathers the 49 pixels under its
 * kernel into rows (im2col), one image channel per panel: a gemm like that of a 1x1 with 49 inputs
 * per image channel.
 */
#include <assert.h>

#include "layers/gemm.h"

enum { TAPS_7X7 = 49 };

static void fill_im2col(const dn_visit *v, const dn_gemm_block *b)
{
    const dn_piece *piece = &b->view->piece;
    const dn_spec *spec = v->net->spec;
    const int height = spec->height, width = spec->width, channels = spec->channels;
    const size_t plane = (size_t)height * (size_t)width;
    const size_t pixels = piece->pixels / (size_t)piece->images;
    const int channel = b->first / TAPS_7X7;
    const float *x = v->net->images + (size_t)(piece->image * channels + channel) * plane;
    for (int i = 0; i < piece->images; i++, x += (size_t)channels * plane)
        v->net->kernels->stride.im2col(height, width, x, piece->row, piece->rows,
                                       b->panel + (size_t)i * pixels, b->view->ld);
    dn_gemm_round(v, b);
}

/* Copies all image channels unchanged. */
static void fill_padded(const dn_visit *v, const dn_gemm_block *b)
{
    static const float identity[][3] = {{1}, {1}, {1}, {1}};
    _Static_assert(sizeof identity == DN_MAX_IMAGE_CHANNELS * sizeof *identity, "one a channel");
    const dn_gemm_view *view = b->view;
    const size_t plane = dn_layout_pixels(&v->out->layout);
    assert(b->rows == v->net->spec->channels);
    const float *x = v->net->images + (size_t)view->piece.image * (size_t)b->rows * plane +
                     (ptrdiff_t)view->piece.row * view->padded.width + view->source;
    dn_padded padded = view->padded;
    padded.source_image = (size_t)b->rows * plane;
    v->net->kernels->on_maps[DN_FP32].affine(b->rows, &padded, x, plane, x, plane, identity[0],
                                             b->panel, view->ld);
    dn_gemm_round(v, b);
}

const dn_layer_kind dn_layer_stem3x3 = {
    .name = "conv",
    .phase = "stem",
    .kernel = 3,
    DN_GEMM_KIND,
    .fill = fill_padded,
};

const dn_layer_kind dn_layer_stem7x7 = {
    .name = "conv",
    .phase = "stem",
    .kernel = 7,
    DN_GEMM_KIND,
    .forward_block = TAPS_7X7,
    .backward_block = TAPS_7X7,
    .im2col = 1,
    .fill = fill_im2col,
};
