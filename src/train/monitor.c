/* The best epoch, and early stopping; see include/dn/monitor.h. */
#include "dn/monitor.h"

#include <float.h>
#include <math.h>

void dn_monitor_resume(dn_monitor *m, const dn_monitor_state *state)
{
    m->state = *state;
    if (state->metric != m->metric)
        m->state = (dn_monitor_state){.epochs = state->epochs, .metric = m->metric};
}

int dn_monitor_awaits(const dn_monitor *m, int64_t epoch)
{
    return m->metric != DN_BEST_NONE && m->state.epochs < (double)epoch;
}

int dn_monitor_observe(dn_monitor *m, int64_t epoch, double value, double loss)
{
    dn_monitor_state *const s = &m->state;
    if (!dn_monitor_awaits(m, epoch))
        return 0;
    const double gain = m->metric == DN_BEST_LOSS ? s->best - value : value - s->best;
    const int is_better = gain > 0 || (gain == 0 && loss < s->best_loss);
    const int is_best = isfinite(value) && (s->best_epoch == 0 || is_better);
    s->metric = m->metric;
    s->epochs = (double)epoch;
    s->worse = is_best ? 0 : s->worse + 1;
    if (is_best) {
        s->best = value;
        s->best_loss = isfinite(loss) ? loss : DBL_MAX; /* checkpoints hold finite numbers */
        s->best_epoch = (double)epoch;
    }
    return is_best;
}

int dn_monitor_is_over(const dn_monitor *m)
{
    return m->patience > 0 && m->state.worse >= m->patience;
}
