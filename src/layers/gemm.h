/*
 * Weights as gemm operands, by channel block, and layers that are a gemm over panels: all
 * convolutions, including the stem's and the transitions', but those by Winograd's transforms
 * (winograd.c).
 *
 * A kind of layer provides `fill`, which fills a panel (a block of input channels over a piece, as
 * the gemm reads them), and `dgrad`, which consumes the gradient of one; the loops are here. A 3x3
 * is here computed tap by tap over the padded layout of a piece (dn/kernels.h). One channel's row,
 * for one image of 2 x 4:
 *
 *     0 0 0 0 0 | x x x x 0 | x x x x 0 | 0 0 0 0 0
 *                 ^ origin          ^ last of the positions
 *
 * Its source begins with the piece's first row, or with the row above. Tap t of output position
 * origin + p is at origin + p + shift[t], where shift = (dr) * 5 + (dc), so each tap is the same
 * gemm over the positions from the first pixel to the last. Results at border positions are dropped
 * by `store`, or are multiplied by zeros of dy.
 */
#ifndef DN_GEMM_H
#define DN_GEMM_H

#include "layers/layer.h"

/* ---- weights (weights.c) ---- */

/* Input channels of the channel block that begins at input `first`. */
int dn_block_rows(const dn_visit *v, int first);

/* Packs the layer's weights into v->packed(dn_packed_size floats), one channel block after another:
 * for the forward gemm (outputs from inputs) or, in a backward visit, transposed for the input's
 * gradient. Inside a parallel region; ends with a barrier. */
void dn_pack_weights(const dn_visit *v);
size_t dn_packed_size(const dn_visit *v);

/* The packed weights of the block that begins at input `first`. */
float *dn_packed_at(const dn_visit *v, int first);

/* Floats of a slice's weight gradient for `channels` input channels; and the slice's gradient of
 * the channels starting at `first`: (matrices or taps, rows of the block, outputs and pad) for each
 * block. */
size_t dn_wgrad_size(const dn_visit *v, int channels);
float *dn_wgrad_at(const dn_visit *v, int slice, int first);

/* The leaf's gradient = the sum of the slices', in order. A work-sharing loop without a barrier at
 * its end. */
void dn_wgrad_merge(const dn_visit *v);

/* The same for input channels [first, end) if there is one slice: called by the thread that
 * computed it. */
void dn_wgrad_move(const dn_visit *v, int first, int end);

/* ---- Winograd's transformed weights (winograd_weights.c) ---- */

typedef float dn_lanes[DN_LANES]; /* outputs, or kernels, side by side */

/* Packs weights as 36 matrices, `step` floats apart, using the thread's scratch. */
void dn_winograd_pack_scratch(const dn_visit *v, dn_carver *c);
void dn_winograd_pack(const dn_visit *v, const dn_weight_view *weights, float *to, size_t step);

/* sums(9, rows) = the weight gradient from that of the transformed weights, sums(36, rows), in
 * place. */
void dn_winograd_merge(dn_lanes *sums, int rows);

/* ---- layers that are a gemm (gemm.c) ---- */

enum { DN_DX_PIXELS = 256 }; /* whose dx of a block stays in the L1 cache */

/* The geometry of a gemm over a piece or some of its pixels. */
typedef struct dn_gemm_view {
    dn_piece piece;
    dn_padded padded;         /* layout of a panel's rows; with a border for a 3x3 */
    ptrdiff_t source;         /* offset of its source from the piece's first pixel */
    size_t origin, positions; /* first position in the padded layout, and how many */
    dn_taps taps;             /* relative to the padded layout's first float */
    size_t ld;                /* floats between rows of a panel, or of a DN_PAIRED operand */
} dn_gemm_view;

struct dn_gemm_block {
    const dn_gemm_view *view;
    int first, rows;   /* input channels [first, first + rows) */
    size_t operand_ld; /* floats between rows of the operand */
    float *operand; /* result of fill: scratch(rows, operand_ld), in the form that is read next */
    float *panel;   /* scratch(rows, ld) of floats: the operand, or what it is rounded from */
    float *plane;   /* scratch of the kind */
    float *dx, *pixels; /* backward: scratch(rows, dx_ld); a 3x3's `pixels` have no border */
    size_t dx_ld;
    double *sums; /* backward: the norm's, of the piece, from channel `first` on */
};

/* The form of an operand, if the products have forms. */
static inline dn_form dn_gemm_form(const dn_visit *v)
{
    return v->backward ? DN_PLANAR : DN_PAIRED;
}

/* For kinds that fill the panel: converts it to the operand. */
void dn_gemm_round(const dn_visit *v, const dn_gemm_block *b);

/* The functions of a kind with `fill`. */
#define DN_GEMM_KIND                                                                               \
    .forward = dn_drive_pieces, .backward = dn_drive_tasks, .forward_part = dn_gemm_forward_part,  \
    .backward_part = dn_gemm_backward_part, .carve_dy = dn_gemm_carve_dy,                          \
    .prepare_dy = dn_gemm_prepare_dy, .scratch = dn_gemm_scratch
void dn_gemm_forward_part(const dn_visit *v, const dn_pass *pass, const dn_piece *piece);
void dn_gemm_backward_part(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                           const dn_piece *piece);

/* For `part` of a kind: pixels whose dy, or in the forward pass whose DN_PAIRED operand, stays in
 * the cache, or few enough that all threads have work. */
int dn_gemm_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part);

void dn_gemm_carve_dy(const dn_visit *v, const dn_piece *part, dn_carver *c);
void dn_gemm_prepare_dy(const dn_visit *v, const dn_pass *pass, const dn_piece *part, int first,
                        int end, float *prepared);
void dn_gemm_scratch(const dn_visit *v, dn_carver *c);

/* The layout of a gemm's output: its first row holds pixels, without a border above. */
dn_padded dn_gemm_output_padded(const dn_gemm_view *view);

/* b->dx = the transposed weights times dy, for n positions starting at position `at`. */
void dn_gemm_dgrad(const dn_visit *v, const dn_gemm_block *b, const float *dy, const float *packed,
                   size_t at, size_t n);

#endif
