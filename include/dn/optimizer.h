/*
 * Optimizers: rules that make new parameters of a step's gradients, over flat vectors of all
 * parameters in the order of dn/net.h. A new one is a file in src/train, named in CMakeLists.txt,
 * and a row in src/train/optimizer_table.c.
 *
 * What a rule remembers stands in state vectors with names, outside of it; all that go on with a
 * run (checkpoints, ranks that share weights) take them from its row. Results are the same bits on
 * any number of threads and with any table of kernels.
 */
#ifndef DN_OPTIMIZER_H
#define DN_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

#include "dn/net.h"

enum { DN_OPTIMIZER_STATES = 4 }; /* the most state vectors of an optimizer */
enum { DN_OPTIMIZER_READS = 3 };  /* the most settings that it reads beside those of all */

/* Gamma and beta of batch norms; biases, those betas too. */
typedef enum dn_undecayed { DN_UNDECAYED_NORM = 1, DN_UNDECAYED_BIAS = 2 } dn_undecayed;

/* A rule reads those that it has. */
typedef struct dn_optimizer_settings {
    double rate; /* learning rate of this step */
    double weight_decay;
    int undecayed;   /* dn_undecayed bits: which tensors have no weight decay */
    double momentum; /* SGD, RMSprop, LARS: mu, 0 = none */
    int nesterov;    /* SGD: Nesterov's variant */
    double beta1;    /* Adam, LAMB: decay of the average of gradients */
    double beta2;    /* these, RMSprop: of the average of their squares */
    double eps;      /* these: added to the root of the latter */
    double trust;    /* LARS: the trust coefficient */
} dn_optimizer_settings;

/* One step. The vectors do not overlap. */
typedef struct dn_update {
    dn_optimizer_settings settings;
    int64_t step;             /* 1 for the first */
    size_t count;             /* of all parameters */
    float *parameters;        /* (count) */
    float *states;            /* (states of the optimizer, count), zero before the first step */
    const float *gradients;   /* in the places of the parameters, up to the last of `tensors` */
    float gradient_scale;     /* 1 / V where they are a sum over V virtual ranks */
    const dn_tensor *tensors; /* (tensor_count) the parameters to update, with their places in the
                                 vectors; no running statistics: theirs are other vectors */
    int tensor_count;
} dn_update;

typedef struct dn_optimizer {
    const char *name;
    dn_optimizer_settings defaults;              /* of what it reads, where none was chosen */
    const char *states[DN_OPTIMIZER_STATES + 1]; /* names, as PyTorch's; NULL behind the last */
    /* Which settings it reads, by the names of their options, but those that all do: rate, weight
     * decay and what has none. NULL behind the last. */
    const char *reads[DN_OPTIMIZER_READS + 1];
    unsigned squares; /* bits: which of them are averages of squares, so 0 or more */
    void (*update)(const dn_update *update);
} dn_optimizer;

/* Optimizer `index` in the order of --optimizer's choices, compiled for the table's instructions,
 * and its name; NULL past the end. */
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

/* The weight decay of a tensor. */
static inline double dn_weight_decay(const dn_optimizer_settings *settings, const dn_tensor *tensor)
{
    return dn_is_undecayed(settings, tensor) ? 0 : settings->weight_decay;
}

/* The Euclidean norm of x(count): the same bits on any number of threads. */
double dn_gradient_norm(const float *x, size_t count);

/* What an optimizer keeps from step to step. */
typedef struct dn_optimizer_state {
    const dn_optimizer *optimizer;
    size_t count;   /* floats of a vector */
    size_t floats;  /* of all vectors, the averages among them */
    float *vectors; /* (states of the optimizer, count), then the averages */
    float *average; /* averaged weights, a part of `vectors`: parameters(count), then running
                       statistics; NULL: none are kept */
} dn_optimizer_state;

/* Vectors of zeros for `count` parameters, with `average` floats for averaged weights or 0. The
 * caller destroys it. DN_ENOMEM. */
dn_status dn_optimizer_state_create(dn_optimizer_state *state, const dn_optimizer *optimizer,
                                    size_t count, size_t average);

/* The averages follow the parameters (count): average += (1 - decay) * (parameter - average), the
 * same bits on any number of threads. */
void dn_optimizer_average(dn_optimizer_state *state, const float *parameters, double decay);

/* The averages become the net's weights, and the other way round, with so many threads. */
void dn_optimizer_swap_average(dn_optimizer_state *state, const dn_view *net, int threads);

/* Accepts a zeroed state. */
void dn_optimizer_state_destroy(dn_optimizer_state *state);

#endif
