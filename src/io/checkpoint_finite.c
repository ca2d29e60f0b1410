/* Detects values that a checkpoint's reader refuses: a step's loss and gradient are finite, but the
 * update may overflow. Without OpenMP, because a child has no OpenMP threads. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "checkpoint_file.h"
#include "checkpoint_saver.h"

int dn_are_finite(const float *x, size_t count)
{
    int bad = 0;
#pragma omp simd reduction(| : bad)
    for (size_t i = 0; i < count; i++)
        bad |= !(fabsf(x[i]) <= FLT_MAX);
    return !bad;
}

/* Checks the tensors of `parameters` and, unless it is NULL, of `running`. */
static dn_status check_group(const dn_view *net, int64_t step, const char *group,
                             const float *parameters, const float *running)
{
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++) {
        const float *const values = dn_is_parameter(t) ? parameters : running;
        DN_CHECK(!values || dn_are_finite(values + t->offset, t->count), DN_EDIVERGED,
                 "step %" PRId64 ": %s/%s became non-finite in an update; not saved", step, group,
                 t->name);
    }
    return DN_OK;
}

dn_status dn_saver_check_finite(const dn_saver *s)
{
    const dn_view net = dn_net_view(s->net);
    const char *const *states = s->optimizer->optimizer->states;
    const int64_t step = s->state.step;
    const float *vectors = s->vectors;
    char group[64];
    DN_TRY(check_group(&net, step, "model", s->parameters, s->running));
    for (int i = 0; states[i]; i++, vectors += net.parameter_count) {
        snprintf(group, sizeof group, "optimizer/%s", states[i]);
        DN_TRY(check_group(&net, step, group, vectors, NULL));
    }
    if (s->optimizer->average == NULL)
        return DN_OK;
    return check_group(&net, step, DN_AVERAGE_GROUP, vectors, vectors + net.parameter_count);
}
