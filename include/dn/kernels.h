/*
 * The kernel table: the operations that layers need of a processor.
 *
 * All operands are matrices whose rows are channels. The pixels of a row are contiguous; `ld` is
 * the distance between rows, in floats or, for a feature map, in its elements. Kernels vectorise
 * over pixels, so no lane is wasted on 12 or 48 channels, and appending channels costs nothing.
 *
 * Contracts common to all kernels: unless a kernel says otherwise, a row of n pixels may be read
 * and written up to n rounded up to a multiple of DN_LANES (the pad); values in a pad do not affect
 * the pixels. Pointers need no alignment beyond a float's. Vectors of channels, packed weights and
 * sums are read and written exactly. Kernels are pure and thread-safe.
 *
 * `generic` defines the results. All other tables, except for products in bf16, add up every sum in
 * one order that depends on the shape alone: products in ascending (tap, input channel) order,
 * those of weight gradients in the order of pixels; other sums over pixels in DN_LANES logical
 * lanes that are merged pairwise (lane l with l+8, then +4, +2, +1). So `avx2` and `avx512` agree
 * to the bit.
 *
 * Words of the matrix products, here and in src/kernels and src/layers:
 *
 *     tile      register tile: sums that stay in registers (of AMX: in tile registers) until all
 *               their products are added; outputs x pixels in gemm, inputs x outputs in wgrad
 *     column    of tiles: all outputs over a tile's pixels (gemm), all inputs over a tile's outputs
 *               (wgrad); packed dy is stored as such columns
 *     block     channel block: the input channels that a layer fills and multiplies at once
 *     panel     the fp32 rows of a channel block, in the padded layout
 *     operand   what gemm or wgrad reads of a block: the panel, or one of the forms below
 *     Winograd tile, window   4x4 outputs, and the 6x6 inputs that they depend on
 *
 * Kernels are not collective.
 */
#ifndef DN_KERNELS_H
#define DN_KERNELS_H

#include <stddef.h>

#include "dn/line.h"
#include "dn/status.h"

enum {
    DN_LANES = 16,
    DN_MAX_TAPS = 9,
    DN_PACK_OUTPUTS = 48, /* packed weights of a multiple are a prefix of those of more outputs */
    DN_TILE = 4,          /* output rows and columns of a Winograd tile */
    DN_WINDOW = DN_TILE + 2,            /* rows and columns of its window */
    DN_WINOGRAD = DN_WINDOW * DN_WINDOW /* elements of a transformed window */
};

static inline size_t dn_round_lanes(size_t n)
{
    return (n + DN_LANES - 1) / DN_LANES * DN_LANES;
}

/* Rows of Winograd tiles over `rows` rows of pixels; and tiles in a row, always an even number. */
static inline int dn_tiles(int rows)
{
    return (rows + DN_TILE - 1) / DN_TILE;
}

static inline int dn_tile_columns(int width)
{
    return (width + 2 * DN_TILE - 1) / (2 * DN_TILE) * 2;
}

/* The taps of a convolution over rows of pixels: tap t of pixel p is pixel p + shift[t]. A 1x1 has
 * one tap with shift 0; a 3x3, over planes with a border of zeros, has nine. */
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
 * A padded layout: `images` planes of rows x width pixels, with borders of zeros, in a channel's
 * row of floats.
 *
 *      0 0 0 0 0        padded row 0 (and, shared, between two images)
 *      x x x x 0        `skip` padded rows above the first source row
 *      x x x x 0        each row ends in zeros, the last of them the left border of the next row
 *      0 0 0 0 0        image_rows padded rows an image, zeros at its end; one more in all
 *
 * The float before the first is also zero, and kernels that fill the layout may write DN_LANES - 1
 * floats after the last. The source is compact: rows of `width` pixels, and source_image pixels
 * from one image to the next; each row may be read up to `width` rounded up to DN_LANES. A band of
 * a larger map is one image whose halo rows take the place of padded rows. Without a border (pitch
 * = width, skip = 0) the source is one contiguous span that keeps its layout.
 */
typedef struct dn_padded {
    int images, rows, width;
    int skip, image_rows;
    size_t pitch; /* floats from one row to the next: width + 1 to width + 2 * DN_TILE, or `width`
                     without border */
    size_t source_image;
} dn_padded;

static inline int dn_padded_bordered(const dn_padded *padded)
{
    return padded->pitch > (size_t)padded->width;
}

/* Floats of an image's padded rows above and below its source rows. A band whose last source row is
 * a halo row (skip + rows > image_rows) has none below. */
static inline size_t dn_padded_above(const dn_padded *padded)
{
    return (size_t)padded->skip * padded->pitch;
}

static inline size_t dn_padded_below(const dn_padded *padded)
{
    const int rows = padded->image_rows - padded->skip - padded->rows;
    return rows > 0 ? (size_t)rows * padded->pitch : 0;
}

/* Floats of a channel's row in the padded layout, without the pad. */
static inline size_t dn_padded_floats(const dn_padded *padded)
{
    const size_t rows = (size_t)padded->images * (size_t)padded->image_rows;
    return (rows + (size_t)dn_padded_bordered(padded)) * padded->pitch;
}

/* Element type of feature maps and their gradients. Everything else is fp32 (padded rows, sums,
 * weights and their gradients), except operands that products pack or round to bf16
 * (dn_product_kernels). */
typedef enum dn_dtype { DN_FP32, DN_BF16, DN_DTYPES } dn_dtype;

static inline size_t dn_dtype_size(dn_dtype dtype)
{
    return dtype == DN_FP32 ? 4 : 2;
}

/* A dn_name_fn (option.h). */
static inline const char *dn_dtype_name(int dtype)
{
    return dtype == DN_FP32 ? "fp32" : dtype == DN_BF16 ? "bf16" : NULL;
}

/* Arguments of the backward pass through ReLU and batch norm, for `rows` channels of n pixels. */
typedef struct dn_norm_grad {
    int rows;
    size_t n;
    const float *gradient; /* gradient of the ReLU's output, ld gradient_ld */
    const void *x;         /* the input of the batch norm, ld x_ld elements */
    void *map_gradient;    /* the gradient of x, ld map_gradient_ld elements: = or += gamma * masked
                              gradient, added in fp32 and rounded; its pad may be read, but is not
                              written */
    size_t gradient_ld, x_ld, map_gradient_ld;
    const float *scale, *shift; /* (rows) the ReLU passes gradients where scale * x + shift > 0 */
    const float *mean, *gamma;  /* (rows) */
    int accumulate;             /* 0: map_gradient is overwritten; 1: added to */
    float *sums; /* (rows, 2), out: sums of the masked gradient, and of it times (x - mean) */
} dn_norm_grad;

/* Kernels that read or write maps or their gradients, one set per element type; pointers to either
 * are void. */
typedef struct dn_map_kernels {
    /* to(rows, padded layout) = max(0, scale * x + shift); borders and pad are set to 0. */
    void (*norm_relu)(int rows, const dn_padded *padded, const void *x, size_t x_ld,
                      const float *scale, const float *shift, float *to, size_t to_ld);

    /* to(rows, padded layout) = c0 * g + c1 * x + c2 with c(rows, 3); borders and pad are set to 0.
     * g is the gradient of the map x. */
    void (*affine)(int rows, const dn_padded *padded, const void *g, size_t g_ld, const void *x,
                   size_t x_ld, const float *c, float *to, size_t to_ld);

    /* to(rows, compact pixels), in the map's type, = the pixels of a gemm's output over a padded
     * layout, rounded to nearest even (NaN: see dn/bf16.h). Source row 0 of image 0 begins at y;
     * `pitch` is at least `width`. Reads each row of pixels up to `width` rounded up to DN_LANES;
     * writes exactly the pixels, no pad. */
    void (*store)(int rows, const dn_padded *padded, const float *y, size_t y_ld, void *to,
                  size_t to_ld);

    /* moments(rows, 2) = the mean over n pixels, and the sum of squared deviations from it. */
    void (*moments)(int rows, size_t n, const void *x, size_t x_ld, float *moments);

    /* See dn_norm_grad. */
    void (*norm_relu_grad)(const dn_norm_grad *args);
} dn_map_kernels;

/*
 * The transforms of Winograd's F(4x4, 3x3) (Lavin and Gray 2016): the output of a 3x3 convolution
 * is divided into tiles of 4x4. Each depends on a window of 6x6 inputs, which overlaps its
 * neighbours, and takes 36 products instead of 144:
 *
 *     y = A' [(G w G') * (B' x B)] A      dw = G' [(A dy A') * (B' x B)] G      (* elementwise)
 *
 * The interpolation points are 0, +-DN_NEAR, +-DN_FAR and infinity. With the usual 0, +-1, +-2 the
 * error is larger (docs/performance.md).
 *
 * Element (i, j) of a transformed window has index e = 6 i + j. Each kernel processes one channel's
 * row in a padded layout with zeros up to whole tiles (dn_padded_tiled of src/layers/layout.h;
 * padded->rows counts output rows, without halo rows). Tiles are ordered by image, tile row and
 * column. Element e of tile t is at e * matrix + t; its pad may be read and written. The float
 * before the padded layout is the border of its first row; DN_LANES - 1 floats after it may be
 * read, with no effect on the tiles.
 */
#define DN_NEAR  0.75f
#define DN_FAR   1.5f
#define DN_NEAR2 (DN_NEAR * DN_NEAR)
#define DN_FAR2  (DN_FAR * DN_FAR)

typedef struct dn_winograd_kernels {
    /* u = B' x B of the windows of x; x points at the first float of the padded layout. */
    void (*input)(const dn_padded *padded, const float *x, float *u, size_t matrix);

    /* y = A' m A. Row r of image i begins at (i * DN_TILE * tile rows + r) * y_pitch; y_pitch is at
     * least DN_TILE times the tiles of a row. Floats beyond the width are undefined. */
    void (*output)(const dn_padded *padded, const float *m, size_t matrix, float *y,
                   size_t y_pitch);

    /* m = A dy A' of the tiles of dy, which has the padded layout of x. */
    void (*output_grad)(const dn_padded *padded, const float *dy, float *m, size_t matrix);
} dn_winograd_kernels;

/*
 * The forms of an operand x(rows, pixels) for products that round to bf16. A form is made once and
 * read by all products of a layer. Rows of a form are `ld` floats apart:
 *
 *     DN_PAIRED    (rows / 2, pixels, 2) for gemm, which adds up rows: element (r, p) is number
 *                  2 p + r % 2 of row r / 2; an odd last row has zeros beside it
 *     DN_PLANAR    (rows, pixels) for wgrad, which adds up pixels
 */
typedef enum dn_form { DN_PAIRED, DN_PLANAR, DN_FORMS } dn_form;

enum { DN_FORM_PAD = 2 * DN_LANES }; /* zero pixels after the last of a row */

/* Kernels that write operands in a form: the pixels, one zero pixel before the first, and
 * DN_FORM_PAD zero pixels after the last. `to` is aligned to 4 bytes. */
typedef struct dn_operand_kernels {
    /* max(0, scale * x + shift) for rows of a map, in the padded layout. */
    void (*norm_relu)(dn_form form, int rows, const dn_padded *padded, const void *x, size_t x_ld,
                      const float *scale, const float *shift, float *to, size_t to_ld);

    /* Rows of n floats. */
    void (*round)(dn_form form, int rows, size_t n, const float *x, size_t x_ld, float *to,
                  size_t to_ld);

    /* Input channels of a block. Forward, if operands are rounded from a panel: enough for the
     * products to outweigh storing and reloading the sums. Backward: as many as fill the tiles of
     * wgrad and of the input's gradient. */
    int forward_block, backward_block;
} dn_operand_kernels;

/*
 * The matrix products, one set per element type of the net's maps. A set for DN_BF16 may round both
 * operands to bf16 (to nearest even) before multiplying; sums are always fp32. Packed data has a
 * format private to the set; its size is in floats.
 */
typedef struct dn_product_kernels {
    const char *name; /* the table that provides them, as reported for products: "avx2" */
    const dn_operand_kernels *operands; /* x of gemm is DN_PAIRED and x of wgrad DN_PLANAR, made by
                                           these; NULL: both are rows of floats */

    /* Packs weights into the format that gemm reads; and the floats of it. */
    size_t (*packed_floats)(int outputs, int inputs, int taps);
    void (*pack)(float *packed, const dn_weight_view *weights);

    /* y(outputs, n) = or += sum over taps t and inputs c of w(o, c, t) * x(c, p + shift[t]). Here
     * and in wgrad, p also runs through the row's pad, so each tap reads a pad of its own (for a
     * DN_PLANAR x it is DN_FORM_PAD wide and finite). */
    void (*gemm)(const float *packed, int outputs, int inputs, const dn_taps *taps, size_t n,
                 const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate);
    int by_blas; /* 1: the order of a gemm's sums may depend on n, and packed dy is one matrix; 0:
                    packed dy is columns of DN_LANES outputs, which may be packed separately */

    /* dgrad of a 1x1 fused with the backward pass that follows: gemm over grad->n pixels of
     * dy(inputs, n), then norm_relu_grad of its result, in one pass over grad->map_gradient
     * whose memory accesses overlap with the products. Its inputs are the layer's outputs; it has
     * grad->rows outputs, at most DN_PACK_OUTPUTS; grad->gradient is unused. NULL if it is not
     * faster than the two kernels. */
    void (*dgrad_norm_relu)(const float *packed, int inputs, const float *dy, size_t dy_ld,
                            const dn_norm_grad *grad);

    /* Packs dy(outputs, n) into the format that wgrad reads; and the floats of it. */
    size_t (*packed_dy_floats)(int outputs, size_t n);
    void (*pack_dy)(float *packed, int outputs, size_t n, const float *dy, size_t dy_ld);

    /* dw(taps, inputs, outputs and pad) += sum over n pixels p of dy(o, p) * x(c, p + shift[t]);
     * `packed` is dy packed by pack_dy for the same outputs and n. All of x between the first and
     * last pixel that any tap reads must be finite. */
    void (*wgrad)(int outputs, int inputs, const dn_taps *taps, size_t n, const float *packed,
                  const float *x, size_t x_ld, float *dw);

    /* The peak of these products (dn/peaks.h): runs `rounds` rounds of their multiply-adds on
     * operands in registers. Returns the number of operations, two per multiply-add. */
    double (*peak)(size_t rounds);

    int by_taps; /* 1: a 3x3 is faster by taps with these products than by Winograd's transforms and
                    the products of DN_FP32 */
} dn_product_kernels;

/*
 * Operations with stride 2, forward and backward, on fp32 planes (height, width) of one channel of
 * one image; bit-identical in every table. Results are compact, without a border. Unless stated
 * otherwise, DN_LANES - 1 floats after a result may be written, and 3 * DN_LANES after an operand
 * read.
 */
typedef struct dn_stride_kernels {
    /* to(49, rows * columns) = the operand of a 7x7 convolution with stride 2. Its row 7 i + j
     * holds the pixels x(2r - 3 + i, 2c - 3 + j), 0 outside the plane, of `rows` output rows r
     * starting at `row` and all (width + 1) / 2 output columns c. */
    void (*im2col)(int height, int width, const float *x, int row, int rows, float *to,
                   size_t to_ld);

    /* y(image_rows / 2, (width + 1) / 2) = the maxima of 3x3 windows with stride 2 of a ReLU's
     * output; NaN counts as the largest. x is a padded layout of one image with a border; window
     * (r, c) begins at its padded row 2r and column 2c - 1. */
    void (*max_pool)(const dn_padded *padded, const float *x, float *y);

    /* dx(padded->rows, width) = the sum of dy(r, c) over the windows whose maximum is at that
     * pixel: the first one in row-major order if several are equal; windows of zeros add nothing.
     * The padded layout holds a whole plane, so `skip` is 1. The float before dx and 2 * DN_LANES
     * floats after it may be written. */
    void (*max_pool_grad)(const dn_padded *padded, const float *x, const float *dy, float *dx);

    /* y(rows / 2, width / 2) = the means of 2x2 pixels; dx(rows, width) = a quarter of dy, 0 for
     * pixels in no window. 2 * DN_LANES floats after dx may be written. */
    void (*average_pool)(int rows, int width, const float *x, float *y);
    void (*average_pool_grad)(int rows, int width, const float *dy, float *dx);
} dn_stride_kernels;

/* Passes over an array of n floats that measure memory bandwidth; up to 63 floats at the end may be
 * left out. */
typedef struct dn_bandwidth_kernels {
    void (*read)(const float *x, size_t n);
    void (*scale)(float *x, size_t n, float factor); /* x = factor * x */
} dn_bandwidth_kernels;

/* Instruction set of a table. Other folders compile sources of their own once per level
 * (optimizers, pixel loops), and use it to find the ones that go with a table. */
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

/* Table `index` of this build and processor, from the most portable to the fastest; index 0 is
 * `generic`. NULL past the end. */
const dn_kernels *dn_kernels_get(int index);

/* *kernels = the table of that name; if the name is empty or NULL, the one that the environment
 * variable DN_ISA names, or else the fastest. Errors: DN_EINVAL (lists the tables). */
dn_status dn_kernels_select(const dn_kernels **kernels, const char *name);

#endif
