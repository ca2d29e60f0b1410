/*
 * A DenseNet on one rank: its parameters, its memory plan, forward and backward.
 *
 * All parameters stand in one flat array and their gradients in another of the same order: the
 * order in which the backward pass finishes them, so that a prefix of the gradient array is final
 * while earlier layers still compute. How maps are stored: src/layers/layout.h. Nothing is
 * allocated after dn_net_create. Not thread-safe: one net is driven by one thread, which opens the
 * OpenMP regions.
 */
#ifndef DN_NET_H
#define DN_NET_H

#include <stddef.h>
#include <stdint.h>

#include "dn/kernels.h"
#include "dn/mixing.h"
#include "dn/spec.h"

typedef enum dn_tensor_kind {
    DN_CONV_WEIGHT,   /* (out, in, kernel, kernel) */
    DN_NORM_WEIGHT,   /* (channels): gamma */
    DN_NORM_BIAS,     /* (channels): beta */
    DN_LINEAR_WEIGHT, /* (classes, channels) */
    DN_LINEAR_BIAS,   /* (classes) */
    DN_RUNNING_MEAN,  /* (channels), in the running statistics' array */
    DN_RUNNING_VAR    /* (channels), in the running statistics' array */
} dn_tensor_kind;

/* One named tensor of a net, in C order inside the flat array its kind belongs to. */
typedef struct dn_tensor {
    char name[96]; /* torchvision's state_dict name */
    dn_tensor_kind kind;
    int rank, shape[4];
    size_t offset, count; /* floats */
    int frozen;           /* 1: a parameter that is not learnt */
} dn_tensor;

/* 0 for a running statistic. */
static inline int dn_is_parameter(const dn_tensor *tensor)
{
    return tensor->kind < DN_RUNNING_MEAN;
}

typedef struct dn_net dn_net;

typedef enum dn_init { DN_INIT_KAIMING, DN_INIT_XAVIER } dn_init;

enum { DN_MAX_BATCH = 65536 };

typedef struct dn_net_options {
    int batch;      /* images of one forward pass, 1 to DN_MAX_BATCH */
    int train;      /* 0: forward only, in less memory */
    dn_dtype dtype; /* of maps and their gradients, and chooses the set of products; weights and
                       their gradients, sums and statistics are fp32 */
    int plan_only;  /* 1: for the plan and dn/layer_info.h alone; nothing is allocated */
    int recompute;  /* 1: no bottleneck map is kept, nor one that the stem pools, all are recomputed
                       in the backward pass: the same bits, in less memory, for one more 1x1
                       convolution a layer; 0: only the cheapest, where weights, momentum and
                       gradients outweigh the maps */
    /* Probabilities of dropout (Srivastava et al. 2014): */
    float dropout;            /* of a value, after each dense layer's last convolution */
    float channel_dropout;    /* of a whole channel of an image, there */
    float transition_dropout; /* of a value, between a transition's convolution and its pool */
    float head_dropout;       /* of a pooled feature */
    const char *freeze; /* parameters that are not learnt: globs of names with commas between, or
                           names' beginnings up to a dot; NULL: none. Layers before the first that
                           learns have no backward pass. To outlive the net */
    int norm_group; /* virtual ranks whose batches share batch statistics, 0 or 1: each has its own;
                       if more, only teams (below) train */
} dn_net_options;

/* Plans and allocates a net; the caller owns it. DN_ENOMEM, what dn_spec_check returns, DN_EINVAL
 * where `freeze` names no parameter or leaves none, or DN_ESHAPE naming a batch norm that would
 * train on one value a channel. */
dn_status dn_net_create(dn_net **net, const dn_spec *spec, const dn_kernels *kernels,
                        const dn_net_options *options);

/* Another net like `first`, for its team: with its weights, running statistics and working memory,
 * which must outlive it; with images, maps and leaf of its own. The caller owns it. DN_ENOMEM. */
dn_status dn_net_create_sharing(dn_net **net, const dn_net *first);

/* The arena's bytes of a net like this one with another batch; 0 where it cannot be planned. */
size_t dn_net_planned_bytes(const dn_net *net, int batch);

/* Frees the net and sets *net to NULL; accepts NULL inside. */
void dn_net_destroy(dn_net **net);

/* One region of the memory plan. Regions whose lifetimes do not meet share addresses. */
typedef struct dn_region_info {
    char name[96];
    size_t offset, bytes;
    int first, last; /* visits between which its content is live: forward visits layer i at i,
                        backward at 2N - 1 - i */
} dn_region_info;

/*
 * A net's sizes and arrays. All belong to the net and stay where they are until it is destroyed.
 *
 * The leaf of one virtual rank: its gradients (gradient_count floats, the gradient of the mean loss
 * over its batch: those of the first parameters, without frozen layers, which come last), then
 * per-channel batch means and unbiased variances. Leaves are what virtual ranks add up. Overwritten
 * by the next forward pass.
 */
typedef struct dn_view {
    const dn_spec *spec;
    const dn_kernels *kernels;
    int batch, norm_group;
    int layers; /* of dn/layer_info.h */
    size_t parameter_count, running_count, gradient_count, leaf_count;
    float *parameters;        /* (parameter_count) all that is learnt */
    float *running;           /* (running_count) running means and variances of every batch norm */
    float *leaf;              /* (leaf_count) */
    float *images;            /* (batch, channels, height, width), to be filled before a pass */
    int32_t *labels;          /* (batch), the same */
    const float *logits;      /* (batch, classes) of the last forward pass */
    const dn_tensor *tensors; /* (tensor_count) in torchvision's state_dict order */
    int tensor_count;
    const dn_region_info *regions; /* (region_count) the memory plan */
    int region_count;
    size_t arena_bytes; /* that the plan takes */
} dn_view;

dn_view dn_net_view(const dn_net *net);

/* Fresh weights: convolutions N(0, 2/fan_in) (He et al. 2015) or U(+-sqrt(6/(fan_in + fan_out)))
 * (Glorot and Bengio 2010), batch norm 1 and 0, the head's weight as PyTorch's nn.Linear, its
 * bias 0; running statistics 0 and 1. A function of (spec, init, seed) alone. */
void dn_net_init(dn_net *net, dn_init init, uint64_t seed);

/* Told while the backward pass runs: floats [0, end) of the leaf are final, for a team of all its
 * nets' leaves. `end` ascends to leaf_count. Called by the thread that drives the net,
 * outside OpenMP regions. */
typedef void dn_ready_fn(void *user, size_t end);

/* One training pass: its name, for what is drawn in it, and who follows its gradients. */
typedef struct dn_pass {
    uint64_t seed, step, virtual_rank;
    float label_smoothing;
    const float *class_weights; /* (classes) of the loss, or NULL: all 1 */
    double label_weights;       /* what labels that are not mixed are taken to weigh in all, as
                                   where this batch is part of a greater one; 0: what they do */
    dn_mixing mixing;           /* of the images, in place, and of what they should be */
    dn_ready_fn *ready;         /* or NULL */
    void *user;                 /* of `ready` */
} dn_pass;

/* Results of one forward pass over the batch. */
typedef struct dn_result {
    double loss; /* mean cross-entropy over the batch, natural logarithm; with class weights as
                    PyTorch's: over the labels' weights, or the pass's label_weights; of mixed
                    images over their number */
    int correct; /* images whose label, of two that with the larger share, has the largest logit */
} dn_result;

/* The first of rows(team.count, width) = the sum of all rows of the norm group, along the tree of
 * dn/tree.h. May overwrite the others. */
typedef void dn_exchange_fn(void *user, double *rows, size_t width);

/*
 * The nets of one rank that belong to one norm group, or one net alone. They walk side by side: all
 * run a layer, one after another, before any runs the next, and batch statistics are exchanged
 * between them: twice a double a channel forward, 2 at once backward. Other teams of the group do
 * the same at the same time.
 */
typedef struct dn_team {
    dn_net *const *nets; /* (count) those behind the first share its memory */
    int count;
    dn_exchange_fn *exchange; /* NULL: the team is the whole group */
    void *user;
} dn_team;

/* Forward, with results(count), and backward from what the last one left. `pass` names the first
 * net's virtual rank, the others' follow. The group's batch statistics normalise, and are left in
 * the leaves, beside the gradients of each batch's own mean loss. Where the pass mixes images they
 * are others afterwards: a second pass wants them anew. */
void dn_team_forward(const dn_team *team, const dn_pass *pass, dn_result *results);
void dn_team_backward(const dn_team *team, const dn_pass *pass);

/* Running statistics normalise. Only the first `count` images are counted in the result, and the
 * loss is their sum, not their mean; NULL: the logits are enough. */
void dn_net_forward_eval(dn_net *net, int count, dn_result *result);

/* running = (1 - momentum) * running + momentum * statistics, from the statistics part of a leaf
 * that was averaged over the virtual ranks. In training DN_NORM_MOMENTUM, PyTorch's. */
#define DN_NORM_MOMENTUM 0.1f
void dn_net_update_running(dn_net *net, const float *leaf, float momentum);

/* XXH3-64 of parameters and running statistics. */
uint64_t dn_net_hash(const dn_net *net);

#endif
