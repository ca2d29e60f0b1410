/*
 * The kernel table: what the layers ask of a processor.
 *
 * All operands are matrices of rows: a row is one channel, its pixels are contiguous, and `ld` is
 * the distance between rows, in floats or, in a map, in its elements. Vectors go along the pixels,
 * so no lane is wasted on 12 or 48 channels, and appending channels is free.
 *
 * Contracts common to all kernels: a row of n pixels may be read and written up to n rounded up to
 * a multiple of DN_LANES (the pad), unless the kernel says otherwise; what is read from a pad has
 * no effect on the pixels; pointers need no alignment beyond a float's. Vectors of channels, packed
 * weights and sums are read and written exactly. Kernels are pure and thread-safe.
 *
 * `generic` is the definition. The other tables, but for products in bf16, add up every sum in one
 * order set by the shape alone: products in ascending (tap, input channel) order, those of weight
 * gradients in the order of pixels; other sums over pixels in DN_LANES logical lanes that are
 * merged pairwise (lane l with l+8, then +4, +2, +1). So `avx2` and `avx512` agree to the bit.
 */
#ifndef DN_KERNELS_H
#define DN_KERNELS_H

#include <stddef.h>

#include "dn/line.h"
#include "dn/status.h"

enum {
    DN_LANES = 16,
    DN_MAX_TAPS = 9,
    DN_PACK_OUTPUTS = 48,    /* packed weights of a multiple of it are a prefix of those of more */
    DN_TILE = 4,             /* output rows and columns of a tile of Winograd's */
    DN_WINDOW = DN_TILE + 2, /* those of its window */
    DN_WINOGRAD = DN_WINDOW * DN_WINDOW /* elements of a transformed window */
};

static inline size_t dn_round_lanes(size_t n)
{
    return (n + DN_LANES - 1) / DN_LANES * DN_LANES;
}

/* Rows of tiles of so many rows of pixels; and the tiles of a row, an even number. */
static inline int dn_tiles(int rows)
{
    return (rows + DN_TILE - 1) / DN_TILE;
}

static inline int dn_tile_columns(int width)
{
    return (width + 2 * DN_TILE - 1) / (2 * DN_TILE) * 2;
}

/* The taps of a convolution over rows of pixels: tap t of pixel p is pixel p + shift[t]. A 1x1 has
 * one tap of shift 0, a 3x3 over planes with a border of zeros has nine. */
typedef struct dn_taps {
    int count;
    ptrdiff_t shift[DN_MAX_TAPS];
} dn_taps;

/* Element (out, in, tap) of a weight tensor is w[out * out_step + in * in_step + tap]. */
typedef struct dn_weight_view {
    const float *w;
    int outputs, inputs, taps;
    ptrdiff_t out_step, in_step;
} dn_weight_view;

/*
 * A padded layout: how `images` planes of rows x width pixels lie, with borders of zeros, in a
 * channel's row of floats.
 *
 *      0 0 0 0 0        padded row 0 (and, shared, between two images)
 *      x x x x 0        `skip` padded rows stand above the first source row
 *      x x x x 0        each row ends in zeros, the last of them the left border of the next row
 *      0 0 0 0 0        image_rows padded rows an image, zeros at its end; one more in all
 *
 * The float before the first is a zero as well, and kernels that fill the layout may write the
 * DN_LANES - 1 floats behind its last. The source is compact: rows of `width` pixels, source_image
 * pixels from image to image; each of its rows may be read up to `width` rounded up to DN_LANES. A
 * band of a larger map is one image, whose halo rows take the place of padded rows. Without border
 * (a pitch of `width`, no row skipped) the source is one span of pixels that stays as it is.
 */
typedef struct dn_padded {
    int images, rows, width;
    int skip, image_rows;
    size_t pitch; /* floats from row to row: width + 1 up to width + 2 * DN_TILE, or `width` without
                     border */
    size_t source_image;
} dn_padded;

static inline int dn_padded_bordered(const dn_padded *padded)
{
    return padded->pitch > (size_t)padded->width;
}

/* Floats of a channel's row in that layout, without the pad. */
static inline size_t dn_padded_floats(const dn_padded *padded)
{
    const size_t rows = (size_t)padded->images * (size_t)padded->image_rows;
    return (rows + (size_t)dn_padded_bordered(padded)) * padded->pitch;
}

/* How the elements of maps and of their gradients are stored. All else is fp32 (padded rows, sums,
 * weights and their gradients), except what products packed or rounded to bf16
 * (dn_product_kernels). */
typedef enum dn_dtype { DN_FP32, DN_BF16, DN_DTYPES } dn_dtype;

static inline size_t dn_dtype_size(dn_dtype dtype)
{
    return dtype == DN_FP32 ? 4 : 2;
}

/* Operands of the backward step through ReLU and batch norm, of `rows` channels over n pixels. */
typedef struct dn_norm_grad {
    int rows;
    size_t n;
    const float *gradient; /* of the ReLU's output, ld gradient_ld */
    const void *x;         /* the map that was normalised, ld x_ld elements */
    void *sum; /* the map's gradient, elements like the map's, ld sum_ld: = or += gamma * masked
                  gradient, added up in fp32 and rounded; its pad may be read, but is not written */
    size_t gradient_ld, x_ld, sum_ld;
    const float *scale, *shift; /* (rows) the ReLU was open where scale * x + shift > 0 */
    const float *mean, *gamma;  /* (rows) */
    int accumulate;             /* 0: `sum` is written, 1: added to */
    float *sums; /* (rows, 2), written: sums of the masked gradient, and of it times (x - mean) */
} dn_norm_grad;

/* The kernels that read or write maps or their gradients, one set for each element type. Pointers
 * to either are void. */
typedef struct dn_map_kernels {
    /* to(rows, padded layout) = max(0, scale * x + shift); borders and pad are set to 0. */
    void (*norm_relu)(int rows, const dn_padded *padded, const void *x, size_t x_ld,
                      const float *scale, const float *shift, float *to, size_t to_ld);

    /* to(rows, padded layout) = c0 * g + c1 * x + c2 with c(rows, 3); borders and pad are set to 0.
     * g is the map's gradient. */
    void (*affine)(int rows, const dn_padded *padded, const void *g, size_t g_ld, const void *x,
                   size_t x_ld, const float *c, float *to, size_t to_ld);

    /* Map rows to(rows, compact pixels) = the pixels of what gemm wrote over a padded layout,
     * rounded to the map's type (to nearest even; of NaN see dn/bf16.h). Source row 0 of image 0
     * begins at y; `pitch` may be any from `width` on. Reads each row of pixels up to `width`
     * rounded up to DN_LANES, and writes exactly the pixels: no pad. */
    void (*store)(int rows, const dn_padded *padded, const float *y, size_t y_ld, void *to,
                  size_t to_ld);

    /* moments(rows, 2) = the mean over n pixels, and the sum of squares about that mean. */
    void (*moments)(int rows, size_t n, const void *x, size_t x_ld, float *moments);

    /* See dn_norm_grad. */
    void (*norm_relu_grad)(const dn_norm_grad *args);
} dn_map_kernels;

/*
 * The transforms of Winograd's F(4x4, 3x3) (Lavin and Gray 2016): a 3x3 convolution's output is cut
 * into tiles of 4x4, each from a window of 6x6 that overlaps its neighbours, and the products of a
 * tile become 36 instead of 144:
 *
 *     y = A' [(G w G') * (B' x B)] A      dw = G' [(A dy A') * (B' x B)] G      (* elementwise)
 *
 * The polynomials behind it are evaluated at 0, +-DN_NEAR, +-DN_FAR and infinity. At the usual 0,
 * +-1, +-2 a result would be off by 2.4 times as much (docs/performance.md).
 *
 * Element (i, j) of a transformed window is number 6 i + j. Each kernel goes over one channel's row
 * in a padded layout with zeros up to whole tiles (dn_padded_tiled of src/layers/layout.h;
 * padded->rows: those of the output, without halo rows), tile by tile: images, tile rows, tiles.
 * Element e of tile t stands at e * matrix + t, and its pad may be read and written. The float
 * before the padded layout is the border of its first row; DN_LANES - 1 floats behind it may be
 * read, with no effect on the tiles.
 */
#define DN_NEAR  0.75f
#define DN_FAR   1.5f
#define DN_NEAR2 (DN_NEAR * DN_NEAR)
#define DN_FAR2  (DN_FAR * DN_FAR)

typedef struct dn_winograd_kernels {
    /* u = B' x B of the windows of x, which points at the padded layout's first float. */
    void (*input)(const dn_padded *padded, const float *x, float *u, size_t matrix);

    /* y = A' m A; row r of image i begins at (i * DN_TILE * tile rows + r) * y_pitch, y_pitch being
     * at least DN_TILE times the tiles of a row; floats behind the width are undefined. */
    void (*output)(const dn_padded *padded, const float *m, size_t matrix, float *y,
                   size_t y_pitch);

    /* m = A dy A' of the tiles of dy, which is padded like x. */
    void (*output_grad)(const dn_padded *padded, const float *dy, float *m, size_t matrix);
} dn_winograd_kernels;

/*
 * The forms in which products that round to bf16 read the rows x(rows, pixels) of an operand, each
 * made once and read by all products of a layer. A row of the form is `ld` floats from the next:
 *
 *     DN_PAIRED    (rows / 2, pixels, 2) for gemm, which adds up rows: element (r, p) is number
 *                  2 p + r % 2 of row r / 2; an odd last row has zeros beside it
 *     DN_PLANAR    (rows, pixels) for wgrad, which adds up pixels
 */
typedef enum dn_form { DN_PAIRED, DN_PLANAR, DN_FORMS } dn_form;

enum { DN_FORM_PAD = 2 * DN_LANES }; /* pixels behind a row's last that are zeros */

/* What writes operands: pixels as said, zeros for the pixel before the first and the DN_FORM_PAD
 * behind the last. `to` is on a multiple of 4 bytes. */
typedef struct dn_operand_kernels {
    /* max(0, scale * x + shift) of rows of a map, in the padded layout. */
    void (*norm_relu)(dn_form form, int rows, const dn_padded *padded, const void *x, size_t x_ld,
                      const float *scale, const float *shift, float *to, size_t to_ld);

    /* n pixels of rows of floats. */
    void (*round)(dn_form form, int rows, size_t n, const float *x, size_t x_ld, float *to,
                  size_t to_ld);

    /* Input channels of a block. Forward, where they are rounded from a panel: so many that their
     * products outweigh putting sums down and taking them up again. Backward: what fills the tiles
     * of wgrad and of the input's gradient. */
    int forward_block, backward_block;
} dn_operand_kernels;

/*
 * The matrix products, one set for each element type of the net's maps: a set for DN_BF16 may round
 * both operands to bf16 (to nearest even) before it multiplies them; sums are fp32 in either. What
 * is packed has a format of the set's own, and is counted in floats.
 */
typedef struct dn_product_kernels {
    const char *name; /* of the table that brought them, for what multiplies: "avx2" */
    const dn_operand_kernels *operands; /* that x of gemm is DN_PAIRED and x of wgrad DN_PLANAR; or
                                           NULL: both are rows of floats */

    /* Weights packed into the form that gemm reads, and the floats of it. */
    size_t (*packed_floats)(int outputs, int inputs, int taps);
    void (*pack)(float *packed, const dn_weight_view *weights);

    /* y(outputs, n) = or += sum over taps t and inputs c of w(o, c, t) * x(c, p + shift[t]). Here
     * and in wgrad, p goes through the pad of the row as well, so each tap reads a pad of its own
     * (that of a DN_PLANAR x is DN_FORM_PAD wide and finite). */
    void (*gemm)(const float *packed, int outputs, int inputs, const dn_taps *taps, size_t n,
                 const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate);
    int by_blas; /* 1: the order of a gemm's sums may follow from n, and packed dy is one matrix; 0:
                    packed dy is panels of DN_LANES outputs, which may be packed apart */

    /* dgrad of a 1x1, fused with what follows it backward: gemm over grad->n pixels of dy(inputs,
     * n), then norm_relu_grad of what it would have written, in one pass over grad->sum whose
     * memory accesses hide under the products. Outputs are grad->rows, at most DN_PACK_OUTPUTS;
     * grad->gradient is not used. NULL where it is not faster than the two. */
    void (*dgrad_norm_relu)(const float *packed, int inputs, const float *dy, size_t dy_ld,
                            const dn_norm_grad *grad);

    /* dy(outputs, n) packed into the form that wgrad reads, and the floats of it. */
    size_t (*packed_dy_floats)(int outputs, size_t n);
    void (*pack_dy)(float *packed, int outputs, size_t n, const float *dy, size_t dy_ld);

    /* dw(taps, inputs, outputs and pad) += sum over n pixels p of dy(o, p) * x(c, p + shift[t]);
     * `packed` is dy as pack_dy leaves it for the same outputs and n. Between the first and the
     * last pixel of x that any tap reads, x must be finite throughout. */
    void (*wgrad)(int outputs, int inputs, const dn_taps *taps, size_t n, const float *packed,
                  const float *x, size_t x_ld, float *dw);

    /* What bounds these (dn/peaks.h): `rounds` rounds of their multiply-adds on operands in
     * registers. Returns the number of operations, two a multiply-add. */
    double (*peak)(size_t rounds);

    int by_taps; /* 1: their own taps of a 3x3 are faster than Winograd's transforms and the
                    products of DN_FP32 between them */
} dn_product_kernels;

/*
 * What works with a stride of 2, forward and backward, on fp32 planes (height, width) of one
 * channel of one image; the same bits in every table. Results are compact, without a border. Unless
 * said otherwise, DN_LANES - 1 floats behind a result may be written, and 3 * DN_LANES behind an
 * operand read.
 */
typedef struct dn_stride_kernels {
    /* The operand of a 7x7 convolution, to(49, rows * columns): its row 7 i + j holds the pixels
     * x(2r - 3 + i, 2c - 3 + j), 0 outside the plane, of `rows` output rows r from `row` on and all
     * (width + 1) / 2 output columns c. */
    void (*im2col)(int height, int width, const float *x, int row, int rows, float *to,
                   size_t to_ld);

    /* y(image_rows / 2, (width + 1) / 2) = the maxima of windows of 3x3 pixels, two apart, of a
     * ReLU's output; NaN counts as larger than all. x is a padded layout of one image with a
     * border; window (r, c) begins at its padded row 2r and column 2c - 1. */
    void (*max_pool)(const dn_padded *padded, const float *x, float *y);

    /* dx(padded->rows, width) = the sum of dy(r, c) over the windows whose maximum stands there,
     * the first one of several, row by row; windows of zeros add nothing. The padded layout holds a
     * whole plane, so `skip` is 1. The float before dx and 2 * DN_LANES behind it may be written.
     */
    void (*max_pool_grad)(const dn_padded *padded, const float *x, const float *dy, float *dx);

    /* y(rows / 2, width / 2) = the means of 2x2 pixels; dx(rows, width) = a quarter of dy where
     * there is one, else 0. 2 * DN_LANES floats behind dx may be written. */
    void (*average_pool)(int rows, int width, const float *x, float *y);
    void (*average_pool_grad)(int rows, int width, const float *dy, float *dx);
} dn_stride_kernels;

/* Passes over an array of n floats that measure bandwidth; may leave out up to 63 floats at the
 * end.
 */
typedef struct dn_bandwidth_kernels {
    void (*read)(const float *x, size_t n);
    void (*scale)(float *x, size_t n, float factor); /* x = factor * x */
} dn_bandwidth_kernels;

/* What a table's instructions are of. Other folders compile sources of their own once a level
 * (optimizers, loops over pixels), and find by it which of them goes with a table. */
typedef enum dn_level { DN_LEVEL_GENERIC, DN_LEVEL_AVX2, DN_LEVEL_AVX512 } dn_level;

typedef struct dn_kernels {
    const char *name;
    dn_level level;
    dn_product_kernels products[DN_DTYPES];
    const dn_winograd_kernels *winograd; /* or NULL */
    dn_map_kernels on_maps[DN_DTYPES];
    dn_stride_kernels stride;
    dn_bandwidth_kernels bandwidth;
} dn_kernels;

/* Tables from the most portable to the fastest that this build and processor have; NULL past the
 * end. Index 0 is `generic`. */
const dn_kernels *dn_kernels_get(int index);

/* The fastest table, or the named one; an empty name or NULL asks for the environment's DN_ISA
 * first. DN_EINVAL lists what there is. */
dn_status dn_kernels_select(const dn_kernels **kernels, const char *name);

#endif
