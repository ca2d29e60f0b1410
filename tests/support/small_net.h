/*
 * Small nets with drawn weights, images and labels, for the tests of the engine's numbers.
 *
 * Every draw is a function of the case and the seed, so a test that passes passes again.
 */
#ifndef DN_TESTS_SMALL_NET_H
#define DN_TESTS_SMALL_NET_H

#include "dn/net.h"

#define BOTTLENECK "blocks=3,2,2:growth=12:stem-channels=16"
#define PLAIN      "blocks=3,2:growth=12:bottleneck=0:compression=1:stem-channels=16"
#define IMAGENET   "blocks=2,2:growth=8:stem=imagenet:stem-channels=16"

/* Sanitizers take ten times as long: they see every fourth case, as does a second compiler. */
#if defined(__SANITIZE_ADDRESS__) || defined(DN_FEW_CASES)
enum { CASE_STEP = 4 };
#else
enum { CASE_STEP = 1 };
#endif

/* A net small enough to be run thousands of times. */
typedef struct net_case {
    const char *model;
    int channels, height, width, classes, batch;
    float dropout; /* of every kind */
    int recompute;
    dn_dtype dtype;
} net_case;

/* How batch norms are drawn. */
typedef enum net_draw {
    DRAW_PLAIN, /* gamma U[0.5, 1.5), beta U[-0.5, 0.5): ReLUs open for some pixels, not others */
    DRAW_SMOOTH /* gamma U[0.1, 0.2), beta 1, or -1 for every eighth: all pixels or none */
} net_draw;

/* The images that a net is of. */
typedef struct net_images {
    int channels, height, width, classes;
} net_images;

/* A net of `model`; the caller owns it. Any failure fails the test. */
dn_net *net_of(const char *model, net_images images, const dn_kernels *kernels,
               const dn_net_options *options);

/* A net for training; the caller owns it. Any failure fails the test. */
dn_net *net_make(const net_case *c, const dn_kernels *kernels);

/* The same for a team that trains in a norm group of so many. */
dn_net *net_make_grouped(const net_case *c, const dn_kernels *kernels, int norm_group);

/* Fills weights, fresh running statistics, images in [-2, 2) and labels. */
void net_draw_all(dn_net *net, net_draw draw, uint64_t seed);

/* Fills images and labels alone. */
void net_draw_batch(dn_net *net, uint64_t seed);

/* Fills memory with NaNs: everything but the parameters, on which a pass must not depend, or in a
 * running pass (`time` is not -1) the regions whose life ends with visit `time`. */
void net_spoil(dn_net *net, int time);

/* The passes of a team of one, for any norm group. */
void net_forward(dn_net *net, const dn_pass *pass, dn_result *result);
void net_backward(dn_net *net, const dn_pass *pass);

/* Forward and backward, then the running statistics' update. */
dn_result net_step(dn_net *net, const dn_pass *pass);

/* What two steps leave: leaf and logits of the second, and the running statistics. */
typedef struct net_outcome {
    float *leaf, *logits, *running; /* one allocation, of which `leaf` is the beginning */
    size_t leaf_count, logit_count, running_count;
    double loss;
} net_outcome;

/* A zeroed one, with the logits of `nets` nets like this one. The caller frees its leaf. */
net_outcome net_outcome_create(const dn_net *net, int nets);

/* Two steps over different images, so that the second reuses the memory of the first. */
net_outcome net_run(dn_net *net, const dn_pass passes[2], uint64_t seed);

/* |a - b| / |a| */
double net_distance(const float *a, const float *b, size_t count);

/* The largest of them over the parameter tensors, of two arrays like the net's parameters. */
double net_largest_distance(const dn_net *net, const float *a, const float *b);

#endif
