/*
 * A DenseNet on one rank: its parameters, its memory plan, forward and backward.
 *
 * All parameters stand in one flat array and their gradients in another of the same order: the
 * order in which the backward pass finishes them, so that a prefix of the gradient array is final
 * while earlier layers still compute. How maps are stored: src/layers/nodes.h. Nothing is allocated
 * after dn_net_create. Not thread-safe: one net is driven by one thread, which opens the OpenMP
 * regions.
 */
#ifndef DN_NET_H
#define DN_NET_H

#include <stddef.h>
#include <stdint.h>

#include "dn/kernels.h"
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
} dn_tensor;

typedef struct dn_net dn_net;

typedef enum dn_init { DN_INIT_KAIMING, DN_INIT_XAVIER } dn_init;

typedef struct dn_net_options {
    int batch;      /* images of one forward pass */
    int train;      /* 0: forward only, in less memory */
    dn_dtype dtype; /* of maps, and chooses the set of products; weights, sums, statistics and
                       gradients are fp32 */
    int plan_only;  /* 1: for dn_net_plan and dn_net_layer_info alone; nothing is allocated */
    int recompute;  /* 1: bottleneck maps are not kept but made again in the backward pass: the same
                       bits, in less memory, for one more 1x1 convolution a layer */
    float dropout;  /* probability, after each dense layer's last convolution */
    int norm_group; /* virtual ranks whose batches share batch statistics, 0 or 1: each has its own;
                       if more, only teams (below) train */
} dn_net_options;

/* Plans and allocates a net; the caller owns it. DN_ENOMEM, or what dn_spec_check returns. */
dn_status dn_net_create(dn_net **net, const dn_spec *spec, const dn_kernels *kernels,
                        const dn_net_options *options);

/* Another net like `first`, for its team: with its weights, running statistics and working memory,
 * which must outlive it; with images, maps and leaf of its own. The caller owns it. DN_ENOMEM. */
dn_status dn_net_create_sharing(dn_net **net, const dn_net *first);

/* Frees the net and sets *net to NULL; accepts NULL inside. */
void dn_net_destroy(dn_net **net);

const dn_spec *dn_net_spec(const dn_net *net);
int dn_net_batch(const dn_net *net);
int dn_net_norm_group(const dn_net *net);
const dn_kernels *dn_net_kernels(const dn_net *net);

/* The tensors in torchvision's state_dict order (running statistics included). */
int dn_net_tensors(const dn_net *net, const dn_tensor **tensors);

/* Learnable floats, and the flat arrays that hold them. Owned by the net. */
size_t dn_net_parameter_count(const dn_net *net);
float *dn_net_parameters(const dn_net *net);

/* Running means and variances of every batch norm, one flat array. Owned by the net. */
size_t dn_net_running_count(const dn_net *net);
float *dn_net_running(const dn_net *net);

/*
 * The leaf of one virtual rank: its gradients (dn_net_parameter_count floats, the gradient of the
 * mean loss over its batch), then per-channel batch means and unbiased variances. Leaves are what
 * virtual ranks add up. Owned by the net and overwritten by the next backward pass.
 */
size_t dn_net_leaf_count(const dn_net *net);
float *dn_net_leaf(const dn_net *net);

/* Fresh weights: convolutions N(0, 2/fan_in) (He et al. 2015) or U(+-sqrt(6/(fan_in + fan_out)))
 * (Glorot and Bengio 2010), batch norm 1 and 0, the head's weight as PyTorch's nn.Linear, its
 * bias 0; running statistics 0 and 1. A function of (spec, init, seed) alone. */
void dn_net_init(dn_net *net, dn_init init, uint64_t seed);

/* The input images, (batch, channels, height, width) floats, to be filled before a forward pass,
 * and the labels (batch). Owned by the net. */
float *dn_net_images(const dn_net *net);
int32_t *dn_net_labels(const dn_net *net);

/* Told while the backward pass runs: floats [0, end) of the leaf are final, for a team of all its
 * nets' leaves. `end` ascends to dn_net_leaf_count. Called by the thread that drives the net,
 * outside OpenMP regions. */
typedef void dn_ready_fn(void *user, size_t end);

/* One training pass: its name, for the dropout masks, and who follows its gradients. */
typedef struct dn_pass {
    uint64_t seed, step, virtual_rank;
    float label_smoothing;
    dn_ready_fn *ready; /* or NULL */
    void *user;         /* of `ready` */
} dn_pass;

/* Results of one forward pass over the batch. */
typedef struct dn_result {
    double loss;  /* mean cross-entropy over the batch, natural logarithm */
    int correct1; /* images whose label has the largest logit */
    int correct5; /* images whose label is among the five largest */
} dn_result;

/* Batch statistics normalise, and are left in the leaf. */
void dn_net_forward_train(dn_net *net, const dn_pass *pass, dn_result *result);

/* Fills the leaf's gradients from the last dn_net_forward_train. */
void dn_net_backward(dn_net *net, const dn_pass *pass);

/* Completes rows(norm_group, width): those of this rank's team are filled, the others are to be. */
typedef void dn_exchange_fn(void *user, double *rows, size_t width);

/*
 * The nets of one rank that belong to one norm group. They walk side by side: all visit a node, one
 * after another, before any visits the next, and batch statistics are exchanged between the visits,
 * 2 doubles a channel forward and backward. Other teams of the group do the same at the same time.
 */
typedef struct dn_team {
    dn_net *const *nets;      /* (count) those behind the first share its memory */
    int count, first;         /* place of the first net's batch in the group */
    dn_exchange_fn *exchange; /* NULL: the team is the whole group */
    void *user;
} dn_team;

/* The two functions above for all nets of a team: `pass` names the first one's virtual rank, the
 * others' follow. Leaves hold the gradients of each batch's own mean loss, and the statistics of
 * the group. */
void dn_team_forward(const dn_team *team, const dn_pass *pass, dn_result *results);
void dn_team_backward(const dn_team *team, const dn_pass *pass);

/* Running statistics normalise. Only the first `count` images are counted in the result, and the
 * loss is their sum, not their mean. */
void dn_net_forward_eval(dn_net *net, int count, dn_result *result);

/* The logits of the last forward pass, (batch, classes). */
const float *dn_net_logits(const dn_net *net);

/* running = (1 - momentum) * running + momentum * statistics, momentum 0.1 as in PyTorch, from the
 * statistics part of a leaf that was averaged over the virtual ranks. */
void dn_net_update_running(dn_net *net, const float *leaf);

/* XXH3-64 of parameters and running statistics. */
uint64_t dn_net_hash(const dn_net *net);

/* One line of `dn_dist info`: a layer as the forward pass runs it. The backward pass takes the
 * layers in reverse and makes the gradients of a layer's parameters final, in the leaf's order. */
typedef struct dn_layer_info {
    char name[96], kind[16];
    int in_channels, in_height, in_width;
    int out_channels, out_height, out_width;
    size_t parameters;
    double multiply_adds;                     /* forward, one image */
    double forward_seconds, backward_seconds; /* since the last dn_net_phase_reset */
} dn_layer_info;

int dn_net_layers(const dn_net *net);
void dn_net_layer_info(const dn_net *net, int index, dn_layer_info *info);

/* One region of the memory plan. Regions whose lifetimes do not meet share addresses. */
typedef struct dn_region_info {
    char name[96];
    size_t offset, bytes;
    int first, last; /* the steps of a training pass between which its content is live */
} dn_region_info;

/* The plan's regions; returns their number and the arena's bytes. Owned by the net. */
int dn_net_plan(const dn_net *net, const dn_region_info **regions, size_t *arena_bytes);

/* Layers of a kind, whose times are told together. */
typedef enum dn_phase {
    DN_PHASE_STEM,
    DN_PHASE_CONV1X1,
    DN_PHASE_CONV3X3,
    DN_PHASE_TRANSITION,
    DN_PHASE_HEAD,
    DN_PHASES
} dn_phase;

/* What one pass of a layer over the batch has to do. */
typedef struct dn_layer_work {
    dn_phase phase;
    double flops; /* of its products, two a multiply-add */
    double bytes; /* maps, gradients and weights to and from memory, each element once */
} dn_layer_work;

/* Of layer `index`, forward, or backward where that is 1. */
void dn_net_layer_work(const dn_net *net, int index, int backward, dn_layer_work *work);

/* Seconds since the last dn_net_phase_reset. */
typedef struct dn_phase_times {
    double forward[DN_PHASES], backward[DN_PHASES];
} dn_phase_times;

const char *dn_phase_name(dn_phase phase);
dn_phase_times dn_net_phase_times(const dn_net *net);
void dn_net_phase_reset(dn_net *net);

#endif
