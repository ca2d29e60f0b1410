/*
 * Weights as gemm operands, channel block by channel block, and layers that are a gemm over panels:
 * convolutions, the stem's and the transition's.
 *
 * A kind of layer says what fills a panel (`fill`: a block of input channels over a piece, as the
 * gemm reads them) and what becomes of the gradient of one (`dgrad`); the loops are here. A 3x3
 * goes tap by tap over the padded layout of a piece (dn/kernels.h), one channel's row, here one
 * image of 2 x 4:
 *
 *     0 0 0 0 0 | x x x x 0 | x x x x 0 | 0 0 0 0 0
 *                 ^ origin          ^ last of the positions
 *
 * Its source begins where the piece's x does, or with the row above. Output position origin + p has
 * tap t at origin + p + shift[t], shift = (dr) * 5 + (dc), so each tap is the same gemm over the
 * positions from the first pixel to the last. What is computed on border positions is dropped by
 * `store`, or meets a zero of dy.
 */
#ifndef DN_GEMM_H
#define DN_GEMM_H

#include "layers/layer.h"

/* ---- weights (weights.c) ---- */

/* Input channels of the channel block that begins at input `first`. */
int dn_block_rows(const dn_visit *v, int first);

/* Packs the layer's weights into v->packed(dn_packed_size floats), a channel block after another:
 * for the forward gemm (outputs from inputs), or, in a backward visit, transposed for the
 * gradient of the input. Inside a parallel region; ends in a barrier. */
void dn_pack_weights(const dn_visit *v);
size_t dn_packed_size(const dn_visit *v);

/* The packed weights of the block that begins at input `first`. */
float *dn_packed_at(const dn_visit *v, int first);

/* Floats of a slice's weight gradient of `channels` input channels; and where the slice's gradient
 * of the channels from `first` on begins: (matrices or taps, rows of the block, outputs and pad)
 * for each block. */
size_t dn_wgrad_size(const dn_visit *v, int channels);
float *dn_wgrad_at(const dn_visit *v, int slice, int first);

/* The leaf's gradient = the slices' sums, added in order. A work-sharing loop without a barrier at
 * its end. */
void dn_wgrad_merge(const dn_visit *v);

/* The same of input channels [first, end) where there is one slice: by the thread that made it. */
void dn_wgrad_move(const dn_visit *v, int first, int end);

/* ---- Winograd's transformed weights (winograd_weights.c) ---- */

typedef float dn_lanes[DN_LANES]; /* of outputs, or of kernels side by side */

/* Packs weights as 36 matrices, `step` floats apart, in what is carved of the thread's scratch. */
void dn_winograd_pack_scratch(const dn_visit *v, dn_carver *c);
void dn_winograd_pack(const dn_visit *v, const dn_weight_view *weights, float *to, size_t step);

/* sums(9, rows) = the gradient from sums(36, rows) of the transformed ones, in their place. */
void dn_winograd_merge(dn_lanes *sums, int rows);

/* ---- layers that are a gemm (gemm.c) ---- */

enum { DN_DX_PIXELS = 256 }; /* whose dx of a block stays in the first-level cache */

/* How a gemm goes over a piece, or over some pixels of one. */
typedef struct dn_gemm_view {
    dn_piece piece;
    dn_padded padded;         /* of a panel's rows: bordered for a 3x3 */
    ptrdiff_t source;         /* where its source begins, from the piece's first pixel */
    size_t origin, positions; /* in the padded layout: what the gemm goes over */
    dn_taps taps;             /* from the padded layout's first float */
    size_t ld;                /* floats from row to row of a panel, or of DN_PAIRED */
} dn_gemm_view;

struct dn_gemm_block {
    const dn_gemm_view *view;
    int first, rows;   /* input channels [first, first + rows) */
    size_t operand_ld; /* floats from row to row of the operand */
    float *operand; /* what fill makes: scratch(rows, operand_ld) in the form that is read next */
    float *panel;   /* scratch(rows, ld) of floats: the operand, or what it is rounded from */
    float *plane;   /* scratch of the kind */
    float *dx, *pixels; /* backward: scratch(rows, dx_ld), of a 3x3 the latter without border */
    size_t dx_ld;
    double *sums; /* backward: the norm's, of the piece, of channel `first` */
};

/* The form that products read of an operand, where they have forms. */
static inline dn_form dn_gemm_form(const dn_visit *v)
{
    return v->backward ? DN_PLANAR : DN_PAIRED;
}

/* For kinds that fill the panel: makes the operand of it. */
void dn_gemm_round(const dn_visit *v, const dn_gemm_block *b);

/* The functions of a kind with `fill`; the parts are pixels whose dy, or forward whose
 * DN_PAIRED operand, stays in the cache. */
#define DN_GEMM_KIND                                                                               \
    .forward_part = dn_gemm_forward_part, .backward_part = dn_gemm_backward_part,                  \
    .carve_dy = dn_gemm_carve_dy, .prepare_dy = dn_gemm_prepare_dy, .scratch = dn_gemm_scratch
void dn_gemm_forward_part(const dn_visit *v, const dn_pass *pass, const dn_piece *piece);
void dn_gemm_backward_part(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                           const dn_piece *piece);
int dn_gemm_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part);
void dn_gemm_carve_dy(const dn_visit *v, const dn_piece *part, dn_carver *c);
void dn_gemm_prepare_dy(const dn_visit *v, const dn_pass *pass, const dn_piece *part, int first,
                        int end, float *prepared);
void dn_gemm_scratch(const dn_visit *v, dn_carver *c);

/* A gemm's output over the padded layout: its first row holds pixels, no border stands above. */
dn_padded dn_gemm_output_padded(const dn_gemm_view *view);

/* b->dx = the transposed weights times dy, of n positions from position `at` on. */
void dn_gemm_dgrad(const dn_visit *v, const dn_gemm_block *b, const float *dy, const float *packed,
                   size_t at, size_t n);

/* ---- dropout (dropout.c) ---- */

/* Whether the layer drops outputs; and multiplies by 0 or 1 / (1 - p) one channel of the piece,
 * laid out as `padded`, whose source begins `source` pixels from the piece's first. Channels are
 * only dropped from whole images or parts of one. */
static inline int dn_drops(const dn_layer *l)
{
    return l->dropout > 0 || l->channel_dropout > 0;
}

void dn_dropout(const dn_visit *v, const dn_pass *pass, const dn_padded *padded,
                const dn_piece *piece, ptrdiff_t source, int channel, float *row);

/* The factor of a channel of an image where whole channels are dropped. */
float dn_dropout_channel(const dn_visit *v, const dn_pass *pass, int64_t image, int channel);

#endif
