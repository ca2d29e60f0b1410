/*
 * What the optimizers' files share. Each is compiled once for every kernel table (DN_ISA), where
 * the compiler makes vectors of its loops; without contraction, so that a fused multiply-add stands
 * where fmaf does and nowhere else, and all tables give the same bits.
 */
#ifndef DN_TRAIN_RULE_H
#define DN_TRAIN_RULE_H

#include <omp.h>

#include "dn/optimizer.h"
#include "tables.h"

/* Updates floats [begin, end) of the vectors, all of them the tensor's. `terms` is what the rule
 * computed once for the step. */
typedef void dn_rule(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end,
                     const void *terms);

/* Updates all parameters: each thread an equal part of the vectors, tensor by tensor. */
static inline void dn_update_all(const dn_update *u, dn_rule *rule, const void *terms)
{
#pragma omp parallel
    {
        const size_t threads = (size_t)omp_get_num_threads(), thread = (size_t)omp_get_thread_num();
        const size_t first = u->count * thread / threads;
        const size_t last = u->count * (thread + 1) / threads;
        for (int i = 0; i < u->tensor_count; i++) {
            const dn_tensor *t = &u->tensors[i];
            const size_t begin = t->offset > first ? t->offset : first;
            const size_t end = t->offset + t->count < last ? t->offset + t->count : last;
            if (dn_is_parameter(t) && begin < end)
                rule(u, t, begin, end, terms);
        }
    }
}

#endif
