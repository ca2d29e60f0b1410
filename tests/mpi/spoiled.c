/*
 * dn_dist whose memory fails in the update of the second step, for cli/ranks.sh: SPOILED=all makes
 * a weight infinite on all ranks; SPOILED=one changes a weight of rank 1.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "training/step_parts.h"

double __real_dn_step_update(dn_step *step, int64_t number, double rate);
double __wrap_dn_step_update(dn_step *step, int64_t number, double rate);

/* In place of the step's call, by the linker. */
double __wrap_dn_step_update(dn_step *step, int64_t number, double rate)
{
    const double norm = __real_dn_step_update(step, number, rate);
    float *weights = dn_net_view(step->net).parameters;
    if (number == 1 && strcmp(getenv("SPOILED"), "all") == 0)
        weights[0] = INFINITY;
    else if (number == 1 && step->comm->rank == 1)
        weights[0] += 1;
    return norm;
}
