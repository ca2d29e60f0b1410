/*
 * A layer: its description, and its inputs when it runs.
 *
 * A DenseNet is a list of layers. Each reads the first `inputs` channels of one feature map and
 * writes `outputs` channels into another, starting at channel `first`. A dense block is one map
 * into which its layers write in turn, so the concatenation is never built. The forward pass walks
 * the list, the backward pass walks it in reverse (src/model/walk.c).
 *
 *     stem ─► block map ─► 1x1 ─► bottleneck map ─► 3x3 ─┐
 *                ▲  └────────► transition ─► next block   │
 *                └────────────────────────────────────────┘
 *
 * Shared statistics. Mean and variance are properties of a map's channel, so they are computed
 * once, by the layer that writes it; the batch norms that read it differ only in gamma and beta.
 *
 * Deferred correction. The backward pass of layer i adds gamma_i * g_i to its input map's gradient
 * D, where g_i is masked by its ReLU, and accumulates the sums A = sum gamma_i * dbeta_i and B =
 * sum gamma_i * dgamma_i. When the layer that wrote the channel loads D, it applies the rest of all
 * those batch norms' backward passes at once, as an affine function of gradient and map:
 *
 *     dx = (D - A/M - xhat * B/M) / sqrt(variance + eps),  xhat = (x - mean) / sqrt(variance + eps)
 *
 * D is stored in the map's element type: in bf16 it is rounded after each addition. M is the number
 * of pixels that the statistics cover.
 *
 * Norm groups. Nets whose batches are normalised together run in lockstep. After each layer in the
 * forward pass, and before it in the backward pass, they exchange the sums of their batches: mean,
 * variance, A, B and M are then those of the group, added up along the tree. An ordinary net is a
 * group of one.
 *
 * The order of every sum depends on the shape alone: each piece has its own partial sums, which are
 * combined in the order of the pieces; those of statistics and batch norm in double, weight
 * gradients in float. Which thread computes a piece, and how it is divided further, may depend on
 * the number of threads (cut.c).
 */
#ifndef DN_LAYER_H
#define DN_LAYER_H

#include "dn/bf16.h"
#include "dn/net.h"
#include "layers/layout.h"
#include "layers/scratch.h"

#define DN_NORM_EPSILON 1e-5

typedef struct dn_feature_map {
    char name[64];
    dn_layout layout;
    int channels;
    size_t element;        /* bytes per element */
    float *mean, *inverse; /* (channels) of the norm group: mean, 1 / sqrt(variance + eps) */
    double *sums; /* (channels, 2) of this net: mean and sum of squared deviations; in the backward
                     pass A and B */
    size_t statistics; /* offset in the leaf: means, then unbiased variances */
    int written, read; /* first layer that writes it, last layer that reads it */
    int recomputable;  /* 1: one convolution writes all of it, and only one layer reads it */
    int recomputed;    /* 1: recomputed for the backward pass instead of kept */
    void *data, *backward_data; /* (strips, channels, stride) elements; the same unless
                                   recomputed */
    void *gradient;             /* same shape and type, before the deferred correction */
} dn_feature_map;

typedef struct dn_layer dn_layer;

/* The arguments of one run of a layer, forward or backward: everything that it reads and writes,
 * except the pass. Created with the memory plan, and constant from then on. */
typedef struct dn_visit {
    const dn_layer *layer;
    int time;                      /* time of the run, in visits */
    int backward;                  /* 1, or 0 for forward */
    const struct dn_visit *before; /* recomputes the input first; or NULL */

    const dn_view *net;                 /* spec, kernels, and the arrays of all layers */
    const dn_map_kernels *on_maps;      /* kernels for the net's element type */
    const dn_product_kernels *products; /* products for it; the head and Winograd's 3x3 use those of
                                           fp32. dispatch.c says which instance they are,
                                           CMakeLists.txt of which source */
    int threads;

    /* How the work is divided (cut.c). */
    int channel_block; /* input channels that are filled and multiplied at once */
    int part_units;    /* forward: units of a part, such that all threads have work: DN_LANES pixels
                          (kind->cuts_pixels), or a unit of dn_piece_units */
    int parts;         /* most parts of a piece; forward, if 1, a piece is run by one thread */
    int slices, ranges;     /* backward: slices; ranges of channel blocks */
    int apart;              /* backward, 1: the input's gradient has tasks of its own */
    size_t prepared_floats; /* backward: per part, if dy is prepared; otherwise 0 */
    int prepared_outputs;   /* outputs prepared at a time */

    const dn_feature_map *in, *out; /* NULL: the images, or the logits */
    void *x, *y;                    /* data of the maps at this time */
    void *dx, *dy;                  /* and their gradients */
    double *losses;                 /* (batch) */
    const float *correction;        /* (outputs, 3) backward: deferred correction of the output */

    /* Shared by the threads of this visit; then (threads, scratch_floats). */
    void *workspace; /* consists of packed, partial, wgrad and prepared */
    float *packed;   /* weights in the kernels' format */
    double *partial; /* (pieces, channels, 2) partial sums: forward the moments of the outputs,
                        backward those of the inputs' batch norm */
    float *wgrad;    /* weight gradients of the slices */
    float *prepared; /* (pieces, parts, prepared_floats) backward: prepared dy; or NULL */
    float *scratch;
    size_t scratch_floats;
    int short_part; /* for tests: index of the memory part that is carved one vector too short, in a
                       thread's scratch or, if negative, in the workspace; 0: none */
} dn_visit;

/* A unit of backward work: a slice, a number of consecutive pieces with its own weight gradient
 * (split-K: the wgrad gemm sums over pixels), and a range of channel blocks. Or for the input's
 * gradient alone, one piece (slice unused) and a range. */
typedef struct dn_task {
    int slice, first, end; /* input channels [first, end) */
    int wgrad, dgrad;      /* what to compute: the weights' gradient, the input's, or both */
    float *prepared;       /* prepared dy of the part; NULL: not prepared */
} dn_task;

/* A channel block of a gemm layer over a piece or part of one; gemm.h. */
typedef struct dn_gemm_block dn_gemm_block;

/*
 * A kind of layer: a row in its own file, and in the table of kinds.c. A pass of NULL means
 * evaluation: batches are normalised by running statistics, and nothing is kept for a backward
 * pass.
 */
typedef struct dn_layer_kind {
    const char *name;                                 /* of the operation: "conv" */
    const char *phase;                                /* times are summed per phase: "conv1x1" */
    void (*scratch)(const dn_visit *v, dn_carver *c); /* carves a thread's scratch at its largest */

    /* Runs a visit. Called outside a parallel region; opens its own. */
    void (*forward)(const dn_visit *v, const dn_pass *pass);
    void (*backward)(const dn_visit *v, const dn_pass *pass);

    /* For dn_drive_pieces and dn_drive_tasks. Forward: computes a part of a piece into the output
     * map. Backward: a part of one piece of a task, added to the task's partial sums. Called inside
     * a parallel region. `part` divides a piece into parts that are run separately, so that a
     * thread's working set stays in its caches: sets *part to part `index` and returns 1, or
     * returns 0 if there are no more; the first part is the largest. NULL: forward, v->part_units
     * images or units of rows; backward, the whole piece. */
    void (*forward_part)(const dn_visit *v, const dn_pass *pass, const dn_piece *piece);
    void (*backward_part)(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                          const dn_piece *piece);
    int (*part)(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part);
    int cuts_pixels; /* 1: a 1x1, whose pixels have no neighbours. So parts are any multiple of
                        DN_LANES pixels, the units; dgrad and the backward pass after it are one
                        fused kernel if there is one, or run on DN_DX_PIXELS at a time */

    /* The form of the output's gradient that all channel blocks of a part need: carved by
     * `carve_dy`, and made of outputs [first, end) once for the tasks that share it, if it fits in
     * memory. NULL: none. */
    void (*carve_dy)(const dn_visit *v, const dn_piece *part, dn_carver *c);
    void (*prepare_dy)(const dn_visit *v, const dn_pass *pass, const dn_piece *part, int first,
                       int end, float *prepared);

    int sums_of_images; /* 1: batch norm has partial sums per image, not per piece */
    size_t (*kept)(const dn_layer *l, int batch); /* floats of layer->kept, or NULL */

    int kernel; /* side of the kernel in pixels */

    /* For kinds with weights: */
    int forward_block, backward_block; /* input channels of a block, 0: all; for products with
                                          operands of their own see cut.c */
    int im2col;   /* 1: the kernel's pixels are inputs of a gemm with one tap, not taps */
    int winograd; /* 1: weights are transformed into DN_WINOGRAD matrices */

    /* For kinds that gemm.c runs: `fill` fills a panel; `dgrad` takes the gradient of one (or
     * NULL). */
    int fills_forms; /* 1: fill writes operands in any form and of any number of channels, without a
                        panel: in the forward pass one block then has all channels */
    size_t (*plane)(const dn_visit *v, const dn_piece *piece); /* floats of b->plane, or NULL */
    void (*fill)(const dn_visit *v, const dn_gemm_block *b);
    void (*dgrad)(const dn_visit *v, const dn_gemm_block *b, const float *dy, const float *packed);
} dn_layer_kind;

struct dn_layer {
    char name[64]; /* the operation's name in torchvision */
    const dn_layer_kind *kind;
    int index;   /* in the net */
    int in, out; /* maps; in = -1: the images, out = -1: the logits */
    int inputs, outputs, first;
    int weights_in, taps;           /* weights as a gemm's: (outputs, weights_in, taps); or 0 */
    float dropout, channel_dropout; /* probability that an output, or a whole channel, is dropped;
                                       for the head: channel_dropout, of a feature */
    int accumulate;                 /* 0: the first backward pass to write the input's gradient */

    /* Its tensors, of which the first is a parameter; those of its batch norm and its gemm have
     * names. Gradients in the leaf are final when its backward pass returns. */
    const dn_tensor *tensors; /* (tensor_count) */
    int tensor_count;
    const dn_tensor *gamma, *beta, *running_mean, *running_var; /* NULL: no norm before */
    const dn_tensor *weight, *bias;                             /* NULL: no gemm, or no bias */

    float *scale, *shift; /* (inputs) batch norm as scale * x + shift, kept for backward */
    float *kept;          /* what else the kind keeps for backward */
    double forward_seconds, backward_seconds; /* since the last dn_net_phase_reset */
};

/* The kinds, in the order in which --roofline and bench list their phases; NULL past the end. */
const dn_layer_kind *dn_layer_kind_get(int index);

extern const dn_layer_kind dn_layer_stem3x3, dn_layer_stem7x7; /* stem.c: conv of the images */
extern const dn_layer_kind dn_layer_max_pool;   /* max_pool.c: norm, ReLU, 3x3/2 max pool */
extern const dn_layer_kind dn_layer_conv1x1;    /* conv.c: norm, ReLU, convolution */
extern const dn_layer_kind dn_layer_conv3x3;    /* conv.c: the same */
extern const dn_layer_kind dn_layer_winograd;   /* winograd.c: the same for a 3x3 */
extern const dn_layer_kind dn_layer_transition; /* transition.c: norm, ReLU, average pool, 1x1 */
extern const dn_layer_kind dn_layer_pool;       /* pool.c: average pool */
extern const dn_layer_kind dn_layer_head;       /* head.c: norm, ReLU, average pool, linear */

/* drive.c: `forward` and `backward` of kinds that have `forward_part` and `backward_part`. */
void dn_drive_pieces(const dn_visit *v, const dn_pass *pass);
void dn_drive_tasks(const dn_visit *v, const dn_pass *pass);

/* cut.c: sets how the visit's work is divided; independent of memory. */
void dn_visit_cut(dn_visit *v);

/* cut.c: a task with the channels of a range and nothing else set. */
dn_task dn_task_of_range(const dn_visit *v, int range);

/* cut.c: kind->part, or its default. */
int dn_piece_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part);

/* cut.c: the first part of the first piece; none is larger. */
dn_piece dn_largest_part(const dn_visit *v);

/* drive.c: carves the visit's shared memory: packed, partial, wgrad and prepared. */
void dn_visit_carve(dn_visit *v, dn_carver *c);

/* drive.c: this thread's scratch. Inside a parallel region. */
dn_carver dn_thread_scratch(const dn_visit *v);

/* loss.c: how the pass's images and their targets are mixed. */
dn_mix dn_pass_mix(const dn_pass *pass, const dn_spec *spec);

/* loss.c: loss and correct predictions of the batch, from the logits of the head's forward visit.
 */
void dn_loss_score(const dn_visit *v, const dn_pass *pass, dn_result *result);

/* loss.c: rows(classes, stride) = the gradient of the mean loss with respect to the logits, one
 * column per image, zeros after the last. Inside a parallel region, whose threads share the work.
 */
void dn_loss_gradient(const dn_visit *v, const dn_pass *pass, float *rows, size_t stride);

/* ---- small geometry ---- */

/* Index of the first element of channel `channel` of a piece, plus `shift` pixels. */
static inline size_t dn_map_index(const dn_feature_map *map, const dn_piece *piece, int channel,
                                  ptrdiff_t shift)
{
    const size_t row = (size_t)piece->strip * (size_t)map->channels + (size_t)channel;
    return row * map->layout.stride + piece->offset + (size_t)shift;
}

/* Index of the first element of one channel of one image, plus `shift` pixels. */
static inline size_t dn_map_plane_index(const dn_feature_map *map, int image, int channel,
                                        size_t shift)
{
    const dn_layout *layout = &map->layout;
    const size_t row = (size_t)(image / layout->strip_images) * (size_t)map->channels;
    return (row + (size_t)channel) * layout->stride +
           (size_t)(image % layout->strip_images) * dn_layout_pixels(layout) + shift;
}

/* Address of element `index` of a map's data. */
static inline void *dn_map_at(const dn_feature_map *map, void *data, size_t index)
{
    return (char *)data + index * map->element;
}

/* to(n) = the map's elements starting at `index`, as float. */
static inline void dn_map_load(const dn_feature_map *map, const void *data, size_t index, size_t n,
                               float *to)
{
    _Static_assert(DN_DTYPES == 2, "elements of two bytes are bf16");
    for (size_t i = 0; i < n && map->element == sizeof(float); i++)
        to[i] = ((const float *)data)[index + i];
    for (size_t i = 0; i < n && map->element == sizeof(uint16_t); i++)
        to[i] = dn_bf16_to_float(((const uint16_t *)data)[index + i]);
}

/* Pixels of all images, over which a channel's statistics are taken. */
static inline double dn_map_pixels(const dn_feature_map *map)
{
    return (double)map->layout.images * (double)dn_layout_pixels(&map->layout);
}

#endif
