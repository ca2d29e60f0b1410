/*
 * Optimizers: rules that update the parameters from a step's gradients, over flat vectors of all
 * parameters in the order of dn/net.h. To add one, write a file in src/optimizers and add its row
 * to optimizer_table.c there.
 *
 * The state of a rule is kept outside of it in named state vectors; checkpoints and ranks that
 * share weights take their names from the optimizer's row. Results are bit-identical for any number
 * of threads and any kernel table. Not collective.
 */
#ifndef DN_OPTIMIZER_H
#define DN_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

#include "dn/net.h"

enum { DN_OPTIMIZER_STATES = 4 }; /* most state vectors of an optimizer */
enum { DN_OPTIMIZER_READS = 3 };  /* most settings that one reads besides the common ones */

/* Tensors without weight decay: gamma and beta of batch norms; all biases, those betas included. */
typedef enum dn_undecayed { DN_UNDECAYED_NORM = 1, DN_UNDECAYED_BIAS = 2 } dn_undecayed;

/* A rule reads those that its row names (dn_optimizer.reads), and the first three. */
typedef struct dn_optimizer_settings {
    double rate; /* learning rate of this step */
    double weight_decay;
    int undecayed;   /* dn_undecayed bits: which tensors have no weight decay */
    double momentum; /* mu; 0: none */
    int nesterov;    /* Nesterov's variant of momentum */
    double beta1;    /* decay rate of the average gradient */
    double beta2;    /* decay rate of the average squared gradient */
    double eps;      /* added to the root of that average */
    double trust;    /* coefficient of a tensor's own rate */
} dn_optimizer_settings;

/* One step. The vectors do not overlap. */
typedef struct dn_update {
    dn_optimizer_settings settings;
    int64_t step;             /* 1 for the first */
    size_t count;             /* of all parameters */
    float *parameters;        /* (count) */
    float *states;            /* (states of the optimizer, count), zero before the first step */
    const float *gradients;   /* in the order of the parameters, up to the last of `tensors` */
    float gradient_scale;     /* 1 / V if they are a sum over V virtual ranks */
    const dn_tensor *tensors; /* (tensor_count) the parameters to update and their offsets in the
                                 vectors; no running statistics, which are in other vectors */
    int tensor_count;
} dn_update;

typedef struct dn_optimizer {
    const char *name;
    dn_optimizer_settings defaults; /* of the settings that it reads */
    int rate_scales; /* 1: by default, its rate is proportional to the global batch */
    const char *states[DN_OPTIMIZER_STATES + 1]; /* names as in PyTorch; NULL after the last */
    /* Option names of the settings that it reads, besides those that all read (rate and weight
     * decay). NULL after the last. */
    const char *reads[DN_OPTIMIZER_READS + 1];
    unsigned squares; /* bit mask of the states that are averages of squares, so never negative */
    int takes_whole_tensors; /* 1: `rule` needs a whole tensor, 0: any range of one */
    /* Updates floats [begin, end) of the vectors, all within `tensor`. */
    void (*rule)(const dn_update *update, const dn_tensor *tensor, size_t begin, size_t end);
} dn_optimizer;

/* Applies the rule to all tensors of the update. */
void dn_optimizer_update(const dn_optimizer *optimizer, const dn_update *update);

/* Optimizer `index` in the order of --optimizer's choices, compiled for the table's instructions;
 * and its name. NULL past the end. */
const dn_optimizer *dn_optimizer_get(const dn_kernels *kernels, int index);
const char *dn_optimizer_name(int index);

static inline int dn_is_undecayed(const dn_optimizer_settings *settings, const dn_tensor *tensor)
{
    static const int groups[] = {[DN_NORM_WEIGHT] = DN_UNDECAYED_NORM,
                                 [DN_NORM_BIAS] = DN_UNDECAYED_NORM | DN_UNDECAYED_BIAS,
                                 [DN_LINEAR_BIAS] = DN_UNDECAYED_BIAS,
                                 [DN_RUNNING_VAR] = 0};
    return (settings->undecayed & groups[tensor->kind]) != 0;
}

/* The weight decay that applies to a tensor. */
static inline double dn_weight_decay(const dn_optimizer_settings *settings, const dn_tensor *tensor)
{
    return dn_is_undecayed(settings, tensor) ? 0 : settings->weight_decay;
}

/* The Euclidean norm of x(count): bit-identical for any number of threads. */
double dn_gradient_norm(const float *x, size_t count);

/* The state of an optimizer between steps. */
typedef struct dn_optimizer_state {
    const dn_optimizer *optimizer;
    size_t count;   /* floats of a vector */
    size_t floats;  /* of all vectors, including the averages */
    float *vectors; /* (states of the optimizer, count), then the averages */
    float *average; /* averaged weights, within `vectors`: parameters(count), then running
                       statistics; NULL: none are kept */
} dn_optimizer_state;

/* Creates zeroed vectors for `count` parameters, and `average` floats for averaged weights; 0:
 * none. The caller frees them with dn_optimizer_state_destroy. Errors: DN_ENOMEM. */
dn_status dn_optimizer_state_create(dn_optimizer_state *state, const dn_optimizer *optimizer,
                                    size_t count, size_t average);

/* average += (1 - d) * (parameter - average), for parameters(count), after `step` steps (1 after
 * the first), where d = min(decay, step / (9 + step)). Bit-identical for any number of threads.
 *
 * The smaller decay of the first steps keeps the initial weights from dominating the average of a
 * short run. It is that of TensorFlow's ExponentialMovingAverage with num_updates = step - 1. */
void dn_optimizer_average(dn_optimizer_state *state, const float *parameters, double decay,
                          int64_t step);

/* Swaps the averages with the net's weights, with `threads` threads. */
void dn_optimizer_swap_average(dn_optimizer_state *state, const dn_view *net, int threads);

/* Accepts a zeroed state. */
void dn_optimizer_state_destroy(dn_optimizer_state *state);

#endif
