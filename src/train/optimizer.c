/* Common to all optimizers; see include/dn/optimizer.h. */
#include "dn/optimizer.h"

#include <omp.h>
#include <stdlib.h>

#include "optimizers/rule.h"

/* optimizer_table.c, per dn_level; NULL after a table's last row. */
extern const dn_optimizer *const dn_optimizers_generic[], *const dn_optimizers_avx2[],
                                                              *const dn_optimizers_avx512[];

static const dn_optimizer *const *const tables[] = {
    dn_optimizers_generic,
#if DN_X86_TABLES
    dn_optimizers_avx2,
    dn_optimizers_avx512,
#endif
};

enum { PARTS = 64 }; /* of a norm's sum, for any number of threads */

const dn_optimizer *dn_optimizer_get(const dn_kernels *kernels, int index)
{
    return tables[kernels->level][index];
}

const char *dn_optimizer_name(int index)
{
    const dn_optimizer *optimizer = tables[DN_LEVEL_GENERIC][index];
    return optimizer ? optimizer->name : NULL;
}

/* Each thread takes an equal range of the vectors, tensor by tensor. */
static void update_ranges(const dn_optimizer *optimizer, const dn_update *u)
{
#pragma omp parallel
    {
        const size_t threads = (size_t)omp_get_num_threads(), thread = (size_t)omp_get_thread_num();
        const size_t from = u->count * thread / threads;
        const size_t to = u->count * (thread + 1) / threads;
        for (int i = 0; i < u->tensor_count; i++) {
            const dn_tensor *t = &u->tensors[i];
            const size_t begin = t->offset > from ? t->offset : from;
            const size_t end = t->offset + t->count < to ? t->offset + t->count : to;
            if (begin < end)
                optimizer->rule(u, t, begin, end);
        }
    }
}

static void update_whole_tensors(const dn_optimizer *optimizer, const dn_update *u)
{
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < u->tensor_count; i++) {
        const dn_tensor *t = &u->tensors[i];
        optimizer->rule(u, t, t->offset, t->offset + t->count);
    }
}

void dn_optimizer_update(const dn_optimizer *optimizer, const dn_update *u)
{
    (optimizer->takes_whole_tensors ? update_whole_tensors : update_ranges)(optimizer, u);
}

/* Number of state vectors. */
static int count_states(const dn_optimizer *optimizer)
{
    int count = 0;
    while (optimizer->states[count] != NULL)
        count++;
    return count;
}

dn_status dn_optimizer_state_create(dn_optimizer_state *state, const dn_optimizer *optimizer,
                                    size_t count, size_t average)
{
    const size_t states = (size_t)count_states(optimizer) * count;
    const size_t floats = states + average;
    *state = (dn_optimizer_state){.optimizer = optimizer, .count = count, .floats = floats};
    state->vectors = calloc(floats + 1, sizeof *state->vectors); /* never size 0 */
    DN_CHECK(state->vectors, DN_ENOMEM, "out of memory for %zu floats of the optimizer %s", floats,
             optimizer->name);
    state->average = average > 0 ? state->vectors + states : NULL;
    return DN_OK;
}

void dn_optimizer_average(dn_optimizer_state *state, const float *parameters, double decay,
                          int64_t step)
{
    float *const average = state->average;
    const float part = (float)(1 - fmin(decay, (double)step / (double)(9 + step)));
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < state->count; i++)
        average[i] += part * (parameters[i] - average[i]);
}

void dn_optimizer_state_destroy(dn_optimizer_state *state)
{
    free(state->vectors);
    *state = (dn_optimizer_state){0};
}

double dn_gradient_norm(const float *x, size_t count)
{
    double norm[PARTS], sum = 0;
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < PARTS; part++) {
        const size_t begin = count * part / PARTS, end = count * (part + 1) / PARTS;
        norm[part] = dn_norm(x + begin, end - begin);
    }
    for (size_t part = 0; part < PARTS; part++)
        sum += norm[part] * norm[part];
    return sqrt(sum);
}

static void swap(float *a, float *b, size_t count, int threads)
{
#pragma omp parallel for simd schedule(static) num_threads(threads)
    for (size_t i = 0; i < count; i++) {
        const float x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

void dn_optimizer_swap_average(dn_optimizer_state *state, const dn_view *net, int threads)
{
    swap(net->parameters, state->average, net->parameter_count, threads);
    swap(net->running, state->average + net->parameter_count, net->running_count, threads);
}
