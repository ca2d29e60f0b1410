/*
 * A DenseNet on one rank: its parameters, memory plan, forward and backward pass.
 *
 * All parameters are in one flat array, and their gradients in another in the same order: the order
 * in which the backward pass finishes them. So a prefix of the gradient array is final while
 * earlier layers still compute. src/layers/layout.h describes how feature maps are stored. Nothing
 * is allocated after dn_net_create. Not thread-safe: a net is driven by one thread, which opens the
 * OpenMP regions. Not collective.
 */
#ifndef DN_NET_H
#define DN_NET_H

#include <stddef.h>
#include <stdint.h>

#include "dn/kernels.h"
#include "dn/loss.h"
#include "dn/mixing.h"
#include "dn/spec.h"

typedef enum dn_tensor_kind {
    DN_CONV_WEIGHT,   /* (out, in, kernel, kernel) */
    DN_NORM_WEIGHT,   /* (channels): gamma */
    DN_NORM_BIAS,     /* (channels): beta */
    DN_LINEAR_WEIGHT, /* (classes, features) */
    DN_LINEAR_BIAS,   /* (classes) */
    DN_RUNNING_MEAN,  /* (channels), in the running statistics' array */
    DN_RUNNING_VAR    /* (channels), in the running statistics' array */
} dn_tensor_kind;

/* A named tensor of a net, in C order within the flat array of its kind. */
typedef struct dn_tensor {
    char name[96]; /* torchvision's state_dict name */
    dn_tensor_kind kind;
    int dims, shape[4];
    size_t offset, count; /* floats */
    int is_head;          /* 1: of the classifier; shape[0] is the number of classes */
    int frozen;           /* 1: a parameter that is not trained */
} dn_tensor;

/* Returns 1 for a parameter, 0 for a running statistic. */
static inline int dn_is_parameter(const dn_tensor *tensor)
{
    return tensor->kind < DN_RUNNING_MEAN;
}

typedef struct dn_net dn_net;

typedef enum dn_init { DN_INIT_KAIMING, DN_INIT_XAVIER } dn_init;

enum { DN_MAX_BATCH = 65536 };

typedef struct dn_net_options {
    int batch;      /* images of one forward pass, 1 to DN_MAX_BATCH */
    int train;      /* 0: forward only, which takes less memory */
    dn_dtype dtype; /* of feature maps and their gradients; also selects the products. Weights,
                       their gradients, sums and statistics are fp32 */
    int plan_only;  /* 1: only the memory plan and dn/layer_info.h are available; nothing is
                       allocated */
    int recompute; /* 1: bottleneck maps, and a map that the stem pools, are not kept but recomputed
                      in the backward pass: bit-identical results in less memory, for one more 1x1
                      convolution per layer. 0: only the cheapest are, and only if weights, momentum
                      and gradients outweigh the maps */
    /* Probabilities of dropout (Srivastava et al. 2014): */
    float dropout;            /* of an activation, after each dense layer's last convolution */
    float channel_dropout;    /* of a whole channel of an image, in the same place */
    float transition_dropout; /* of an activation, before a transition's pool */
    float head_dropout;       /* of a pooled feature */
    const char *freeze;  /* parameters that are not trained: globs of names, or prefixes of names up
                            to a dot, separated by commas; NULL, "", "none": none. Layers before the
                            first trained one have no backward pass. Must outlive the net */
    const dn_loss *loss; /* NULL: dn_cross_entropy */
    int norm_group; /* virtual ranks that share batch statistics; 0 or 1: each has its own. If more,
                       only teams (below) can train */
} dn_net_options;

/* Plans and allocates a net. `kernels` and the options' loss must outlive it. The caller frees it
 * with dn_net_destroy. Errors: DN_ENOMEM; as dn_spec_check; DN_EINVAL (`freeze` matches no
 * parameter, or all), DN_ESHAPE (names a batch norm that would train on one value per channel). */
dn_status dn_net_create(dn_net **net, const dn_spec *spec, const dn_kernels *kernels,
                        const dn_net_options *options);

/* Creates a net like `first` for its team. It shares the weights, running statistics and working
 * memory of `first`, which must outlive it; images, maps and leaf are its own. The caller frees it
 * with dn_net_destroy. Errors: DN_ENOMEM. */
dn_status dn_net_create_sharing(dn_net **net, const dn_net *first);

/* Arena size in bytes of a net like this one with another batch size; 0 if it cannot be planned. */
size_t dn_net_planned_bytes(const dn_net *net, int batch);

/* Frees *net, which may be NULL, and sets it to NULL. */
void dn_net_destroy(dn_net **net);

/* A region of the memory plan. Regions with disjoint lifetimes share addresses. */
typedef struct dn_region_info {
    char name[96];
    size_t offset, bytes;
    int first, last; /* first and last visit at which it is live: forward visits layer i at i,
                        backward at 2N - 1 - i */
} dn_region_info;

/*
 * A net's sizes and arrays. The arrays belong to the net and keep their addresses until it is
 * destroyed.
 *
 * The leaf of a virtual rank is what the summation tree (dn/tree.h) adds up. First come its
 * gradients (gradient_count floats): those of the mean loss over its batch, for the first
 * parameters. Layers before the first trained one come last in the order and have none; the
 * gradients of other frozen parameters have no meaning. Then the batch means and unbiased variances
 * of each channel. The next forward pass overwrites it.
 */
typedef struct dn_view {
    const dn_spec *spec;
    const dn_kernels *kernels;
    const dn_loss *loss;
    int batch, norm_group;
    int layers; /* number of layers (dn/layer_info.h) */
    size_t parameter_count, running_count, gradient_count, leaf_count;
    float *parameters; /* (parameter_count) */
    float *running;    /* (running_count) running means and variances of all batch norms */
    float *leaf;       /* (leaf_count) */
    float *images;     /* (batch, channels, height, width), filled by the caller before a pass */
    int32_t *labels;   /* (batch), filled by the caller */
    float *logits;     /* (batch, classes) of the last forward pass, to be read only */
    const dn_tensor *tensors; /* (tensor_count) in torchvision's state_dict order */
    int tensor_count;
    const dn_region_info *regions; /* (region_count) the memory plan */
    int region_count;
    size_t arena_bytes; /* size of the planned memory */
} dn_view;

dn_view dn_net_view(const dn_net *net);

/* Initialises the weights: convolutions N(0, 2/fan_in) (He et al. 2015) or U(+-sqrt(6/(fan_in +
 * fan_out))) (Glorot and Bengio 2010); batch norm gamma 1 and beta 0; the head's weight as
 * PyTorch's nn.Linear, its bias 0; running means 0 and variances 1. A function of (spec, init,
 * seed) alone. */
void dn_net_init(dn_net *net, dn_init init, uint64_t seed);

/* Called during the backward pass when floats [0, end) of the leaf are final; for a team, of the
 * leaves of all its nets. `end` increases to leaf_count. Called by the thread that drives the net,
 * outside OpenMP regions. */
typedef void dn_ready_fn(void *user, size_t end);

/* A training pass: the key of its random draws, its loss, and a callback that follows its
 * gradients. */
typedef struct dn_pass {
    uint64_t seed, step, virtual_rank;
    float label_smoothing;
    const float *class_weights; /* (classes) weights of the loss; NULL: all 1 */
    const uint8_t *label_sets;  /* (label_sets, classes) dn_presence, for a loss of sets; or NULL */
    double label_weights; /* sum of the labels' class weights: the mean over the virtual ranks of a
                             larger batch; 0: of this batch */
    dn_mixing mixing;     /* of the images, in place, and of their targets */
    dn_ready_fn *ready;   /* or NULL */
    void *user;           /* of `ready` */
} dn_pass;

/* Results of a forward pass over the batch. */
typedef struct dn_result {
    double loss; /* mean over the batch of the images' (dn/loss.h), natural logarithm. With class
                    weights divided as PyTorch does: by the labels' weights, or the pass's
                    label_weights; for mixed images and label sets by the images' number */
    int correct; /* images whose label the logits tell; of two labels, the one with the larger share
                    counts */
} dn_result;

/* The first of rows(team.count, width) = the sum of all rows of the norm group, along the tree of
 * dn/tree.h. May overwrite the others. Collective over the norm group. */
typedef void dn_exchange_fn(void *user, double *rows, size_t width);

/*
 * The nets of one rank in one norm group, or a single net. They run in lockstep: all nets run a
 * layer, one after another, before any runs the next, and exchange batch statistics in between: per
 * channel, twice one double forward, and two doubles at once backward. The group's other teams do
 * the same at the same time.
 */
typedef struct dn_team {
    dn_net *const *nets; /* (count); all but the first share the first one's memory */
    int count;
    dn_exchange_fn *exchange; /* NULL: the team is the whole group */
    void *user;
} dn_team;

/* The forward pass, with results(count) or NULL, and the backward pass that follows it. `pass` has
 * the virtual rank of the first net; the others follow in order. Batches are normalised by the
 * group's statistics, which are left in the leaves with the gradients of each batch's own mean
 * loss. A pass that mixes images overwrites them: fill them again before another pass. Collective
 * over the norm group if there is an exchange. */
void dn_team_forward(const dn_team *team, const dn_pass *pass, dn_result *results);
void dn_team_backward(const dn_team *team, const dn_pass *pass);

/* The forward pass in evaluation mode, which sets the logits: running statistics normalise. */
void dn_net_forward_eval(dn_net *net);

/* running = (1 - momentum) * running + momentum * statistics, where the statistics are those of a
 * leaf that was averaged over the virtual ranks. DN_NORM_MOMENTUM, PyTorch's default, is used in
 * training. */
#define DN_NORM_MOMENTUM 0.1f
void dn_net_update_running(dn_net *net, const float *leaf, float momentum);

/* XXH3-64 of parameters and running statistics. */
uint64_t dn_net_hash(const dn_net *net);

#endif
