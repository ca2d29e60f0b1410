/* Measures the statistics of averaged weights; see run.h. */
#include <omp.h>
#include <stdlib.h>

#include "dn/loader.h"
#include "dn/tree.h"
#include "training/rescue.h"
#include "training/run.h"

/* The statistics are measured on at least this many images, as thousands are enough (Wu and
 * Johnson, "Rethinking 'Batch' in BatchNorm", 2021), in at most this many batches. */
enum { STATISTICS_IMAGES = 4096, STATISTICS_BATCHES = 128 };

/* The batches that this rank measures with the step's team. For a norm group they are global
 * batches, which all ranks compute together, so each rank gets all statistics. Otherwise they are
 * batches of one virtual rank, divided between the ranks. */
typedef struct measuring {
    dn_sequence sequence;
    int is_group;
    int batches, first, last; /* in total; this rank's */
    size_t width;             /* floats of a batch's statistics */
    double *sums;             /* (batches, width) */
    dn_loader *loader;
} measuring;

static measuring plan_batches(const dn_run *r)
{
    const dn_view view = dn_net_view(r->net);
    measuring m = {.sequence = r->sequence,
                   .is_group = r->step.team.exchange != NULL,
                   .width = view.leaf_count - view.gradient_count};
    if (!m.is_group) {
        m.sequence.first = 0;
        m.sequence.end = m.sequence.virtual_ranks = 1;
    }
    const int64_t batch = (int64_t)view.batch * m.sequence.virtual_ranks;
    const int64_t all = r->training->count / batch;
    const int64_t wanted = (STATISTICS_IMAGES + batch - 1) / batch;
    const int64_t most = wanted < STATISTICS_BATCHES ? wanted : STATISTICS_BATCHES;
    m.sequence.steps = m.batches = (int)(all < most ? all : most);
    m.first = m.is_group ? 0 : dn_share_begin(m.batches, r->comm->size, r->comm->rank);
    m.last = m.is_group ? m.batches : dn_share_begin(m.batches, r->comm->size, r->comm->rank + 1);
    return m;
}

static dn_status open_batches(const dn_run *r, measuring *m)
{
    const int own = m->sequence.end - m->sequence.first;
    m->sums = calloc((size_t)m->batches * m->width, sizeof *m->sums);
    DN_CHECK(m->sums, DN_ENOMEM, "out of memory for the statistics of %d batches", m->batches);
    return dn_loader_create(&m->loader, &(dn_loader_settings){.source = r->training,
                                                              .sequence = m->sequence,
                                                              .begin = (int64_t)m->first * own,
                                                              .end = (int64_t)m->last * own,
                                                              .shuffle = 1,
                                                              .transforms = &r->transform,
                                                              .crops = 1,
                                                              .seed = r->step.settings.seed,
                                                              .depth = DN_READ_AHEAD,
                                                              .threads = r->train.io_threads});
}

/* Loads the team's images of batch `b`. A norm group's ranks agree on the status, as its passes are
 * collective. */
static dn_status load_batch(const dn_run *r, const measuring *m, int b)
{
    const dn_team *const team = &r->step.team;
    dn_status status = dn_preempt_reason(&r->preempt) == 0
                           ? DN_OK
                           : dn_fail(DN_STOPPED, "the evaluation was stopped");
    for (int n = 0; n < team->count && status == DN_OK; n++) {
        const dn_view view = dn_net_view(team->nets[n]);
        status = dn_loader_load(m->loader, (int64_t)b * team->count + n, view.images, view.labels);
    }
    return m->is_group ? dn_comm_agree(r->comm, status) : status;
}

/* Fills this rank's rows of the sums with the batches' statistics. */
static dn_status measure_batches(const dn_run *r, const measuring *m)
{
    const dn_view view = dn_net_view(r->net);
    for (int b = m->first; b < m->last; b++) {
        const dn_pass pass = {.seed = r->step.settings.seed,
                              .step = (uint64_t)b,
                              .virtual_rank = (uint64_t)m->sequence.first};
        dn_note_operation(r->comm->activity, DN_EVALUATING);
        DN_TRY(load_batch(r, m, b));
        dn_team_forward(&r->step.team, &pass, NULL);
        for (size_t i = 0; i < m->width; i++)
            m->sums[(size_t)b * m->width + i] = view.leaf[view.gradient_count + i];
    }
    return DN_OK;
}

/* Sets the net's running statistics to the means over batches of training images, always the same
 * ones, with its present weights. */
static dn_status measure_statistics(dn_run *r)
{
    const dn_view view = dn_net_view(r->net);
    measuring m = plan_batches(r);
    dn_status status;
    DN_TRY_OR_DONE(dn_comm_agree(r->comm, open_batches(r, &m)));
    DN_TRY_OR_DONE(dn_comm_agree(r->comm, measure_batches(r, &m)));
    if (!m.is_group)
        dn_comm_merge_doubles(r->comm, m.sums, (size_t)m.batches * m.width);
    for (size_t i = 0; i < m.width; i++)
        view.leaf[view.gradient_count + i] =
            (float)(dn_tree_sum(m.sums + i, m.batches, (int)m.width) / m.batches);
    dn_rescue_hold(r->step.settings.rescue);
    dn_net_update_running(r->net, view.leaf, 1);
    r->state.average_step = r->done;
    dn_rescue_measured(r->step.settings.rescue, r->done);
    dn_rescue_release(r->step.settings.rescue, r->done);
done:
    dn_loader_destroy(&m.loader);
    free(m.sums);
    return status;
}

static void swap_weights(dn_run *r, int is_swapped)
{
    const dn_view net = dn_net_view(r->net);
    dn_rescue_hold(r->step.settings.rescue);
    dn_optimizer_swap_average(&r->step.optimizer, &net, omp_get_max_threads());
    dn_rescue_swapped(r->step.settings.rescue, is_swapped);
    dn_rescue_release(r->step.settings.rescue, r->done);
}

dn_status dn_average_begin(dn_run *r)
{
    swap_weights(r, 1);
    return measure_statistics(r);
}

void dn_average_end(dn_run *r)
{
    swap_weights(r, 0);
}
