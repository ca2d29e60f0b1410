/*
 * Divergence: checks that a step's losses and summed gradient are finite, and finds the first
 * virtual rank whose loss or gradient is not. All ranks get the same answer.
 */
#include "training/step_parts.h"

#include <float.h>
#include <math.h>

int dn_leaf_is_finite(const dn_net *net)
{
    const float *leaf = dn_net_view(net).leaf;
    const size_t count = dn_net_view(net).leaf_count;
    int bad = 0;
#pragma omp parallel for simd reduction(| : bad)
    for (size_t i = 0; i < count; i++)
        bad |= !(fabsf(leaf[i]) <= FLT_MAX);
    return !bad;
}

/* The minimum of `v` over all ranks; -1 if it is the number of virtual ranks. */
static int lowest(const dn_step *step, int v)
{
    const int none = step->settings.virtual_ranks, least = none - dn_comm_max(step->comm, none - v);
    return least < none ? least : -1;
}

/* The first virtual rank with a non-finite loss, and *loss = that loss, on all ranks; -1 if each is
 * finite. */
static int find_loss(const dn_step *step, double *loss)
{
    int own = step->settings.virtual_ranks;
    for (int v = step->end; v-- > step->first;)
        if (!isfinite(step->losses[v - step->first]))
            own = v;
    const int found = lowest(step, own);
    *loss = found == own ? step->losses[own - step->first] : 0;
    dn_comm_merge_doubles(step->comm, loss, 1);
    return found;
}

/* The first virtual rank with a non-finite gradient, -1 if each is finite. Computes all gradients
 * once more, with the same bits, as nothing was updated yet. */
static int find_gradient(dn_step *step, int64_t number)
{
    const dn_team *team = &step->team;
    int own = step->settings.virtual_ranks;
    for (int v = step->first; v < step->end; v += team->count) {
        dn_step_compute(step, number, v, NULL);
        for (int m = team->count; m-- > 0;)
            if (v + m < own && !dn_leaf_is_finite(team->nets[m]))
                own = v + m;
    }
    return lowest(step, own);
}

dn_status dn_step_check(dn_step *step, int64_t number)
{
    if (!isfinite(step->scores[DN_SCORE_LOSS])) { /* also if a rank could not load its batch */
        double loss;
        DN_TRY(dn_comm_agree(step->comm, dn_failure_report(&step->loading)));
        const int culprit = find_loss(step, &loss);
        DN_CHECK(culprit >= 0, DN_EDIVERGED, "the sum of the virtual ranks' losses is not finite");
        return dn_fail(DN_EDIVERGED, "the loss of virtual rank %d is %g", culprit,
                       isnan(loss) ? (double)NAN : loss); /* NaN without a sign */
    }
    if (step->scores[DN_SCORE_BAD_SUM] == 0)
        return DN_OK;
    const int culprit = find_gradient(step, number);
    DN_TRY(dn_comm_agree(step->comm, dn_failure_report(&step->loading)));
    DN_CHECK(culprit >= 0, DN_EDIVERGED, "the sum of the virtual ranks' gradients is not finite");
    return dn_fail(DN_EDIVERGED, "the gradient of virtual rank %d is not finite", culprit);
}
