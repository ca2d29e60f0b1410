/* The training step; see training/step.h. */
#include "training/step_parts.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "job/preempt.h"
#include "job/timeline.h"
#include "training/rescue.h"

/* Records a span that began at `start` and ends now; returns now. */
static double mark(const dn_step *step, dn_span span, int64_t number, double start)
{
    const double now = omp_get_wtime();
    dn_timeline_add(step->comm->timeline, span, number, 0, start, now);
    return now;
}

static void merge_scores(void *sum, const void *other, size_t count)
{
    double *x = sum;
    const double *y = other;
    (void)count;
    for (size_t i = 0; i < DN_SCORE_SUMS; i++)
        x[i] = x[i] + y[i];
    if (y[DN_SCORE_NEGATIVE_WAIT] > x[DN_SCORE_NEGATIVE_WAIT])
        x[DN_SCORE_LATE_RANK] = y[DN_SCORE_LATE_RANK];
    for (size_t i = DN_SCORE_SUMS; i < DN_SCORE_LATE_RANK; i++)
        x[i] = fmax(x[i], y[i]);
}

/* A dn_ready_fn: the last virtual rank's backward pass has finished floats [0, end) of its leaf. */
static void send_gradients(void *user, size_t end)
{
    dn_step *step = user;
    dn_tree_push(step->tree, step->pushed, end);
    step->pushed = end;
    dn_allreduce_ready(step->allreduce, end);
}

/* Pushes the rest of the leaf of member `m`, virtual rank `v`. The tree takes all leaves from the
 * first net's array. */
static void add_leaf(dn_step *step, int m, int v)
{
    const dn_view lead = dn_net_view(step->net);
    const size_t count = lead.leaf_count;
    if (m > 0)
        memcpy(lead.leaf, dn_net_view(step->team.nets[m]).leaf, count * sizeof(float));
    if (v < step->end - 1)
        dn_tree_push(step->tree, 0, count);
    else if (step->pushed < count)
        send_gradients(step, count);
}

/* Loads the batches of the team's virtual ranks from `v` on. Other ranks wait for this one's sums,
 * so after a failure the step continues with the old images, and without a loss. */
static void load_team(dn_step *step, int v)
{
    const dn_step_settings *s = &step->settings;
    const double start = omp_get_wtime();
    for (int m = 0; m < step->team.count; m++) {
        const dn_view net = dn_net_view(step->team.nets[m]);
        const dn_status status = s->load(s->user, v + m, net.images, net.labels, &step->data_wait);
        dn_failure_keep(&step->loading, status);
        if (status != DN_OK)
            memset(net.labels, 0, (size_t)net.batch * sizeof *net.labels);
    }
    mark(step, DN_SPAN_LOAD, v, start);
}

void dn_step_compute(dn_step *step, int64_t number, int v, dn_ready_fn *ready)
{
    const dn_team *team = &step->team;
    const dn_pass pass = {.seed = step->settings.seed,
                          .step = (uint64_t)number,
                          .virtual_rank = (uint64_t)v,
                          .label_smoothing = (float)step->settings.label_smoothing,
                          .class_weights = step->settings.class_weights,
                          .label_sets = step->settings.label_sets,
                          .label_weights = step->label_weights,
                          .mixing = step->settings.mixing,
                          .ready = ready,
                          .user = step};
    dn_note_operation(step->comm->activity, DN_READING_DATA);
    load_team(step, v);
    dn_note_operation(step->comm->activity, DN_FORWARD);
    double time = omp_get_wtime();
    dn_team_forward(team, &pass, step->results);
    time = mark(step, DN_SPAN_FORWARD, v, time);
    dn_note_operation(step->comm->activity, DN_BACKWARD);
    dn_team_backward(team, &pass);
    mark(step, DN_SPAN_BACKWARD, v, time);
}

/* Computes the scores of the team's virtual ranks from `v` on, and adds their leaves to the tree. A
 * team of several adds whole leaves, as its nets finish a layer together. */
static void run_team(dn_step *step, int64_t number, int v)
{
    const dn_team *team = &step->team;
    const int is_sent = v == step->end - 1 && team->count == 1;
    dn_step_compute(step, number, v, is_sent ? send_gradients : NULL);
    for (int m = 0; m < team->count; m++) {
        add_leaf(step, m, v + m);
        const int row = v + m - step->first;
        step->losses[row] = step->loading.status == DN_OK ? step->results[m].loss : NAN;
        step->scores[row * DN_STEP_SCORES + DN_SCORE_LOSS] = step->losses[row];
        step->scores[row * DN_STEP_SCORES + DN_SCORE_CORRECT] = step->results[m].correct;
    }
}

/* Records the buckets in the timeline; returns the seconds with any of them in flight. */
static double record_buckets(dn_step *step)
{
    const dn_bucket *bucket;
    const int buckets = dn_allreduce_buckets(step->allreduce, &bucket);
    double seconds = 0, until = 0;
    for (int i = 0; i < buckets; i++) { /* by start time */
        const double start = bucket[i].start > until ? bucket[i].start : until;
        seconds += bucket[i].end > start ? bucket[i].end - start : 0;
        until = bucket[i].end > until ? bucket[i].end : until;
        if (step->comm->size > 1)
            dn_timeline_add(step->comm->timeline, DN_SPAN_BUCKET, i, bucket[i].flight,
                            bucket[i].start, bucket[i].end);
    }
    return seconds;
}

/* Reduces the scores of a step that began at `start`, finished its computation at `computed` and
 * had the sum at `reduced`; returns the reason to stop, if any rank has one. The shortest wait for
 * the sum, the latest rank's, is communication; what other ranks wait beyond that, they wait for
 * the latest. */
static int agree_on_step(dn_step *step, double start, double computed, double reduced)
{
    const int is_bad = !dn_leaf_is_finite(step->net);
    dn_preempt *stop = step->settings.preempt;
    if (stop)
        stop->longest_step = fmax(stop->longest_step, reduced - start);
    for (int row = 0; row < step->end - step->first; row++) {
        double *scores = step->scores + (ptrdiff_t)row * DN_STEP_SCORES;
        scores[DN_SCORE_WAIT] = reduced - computed;
        scores[DN_SCORE_NEGATIVE_WAIT] = computed - reduced;
        scores[DN_SCORE_DATA_WAIT] = step->data_wait;
        scores[DN_SCORE_BAD_SUM] = is_bad;
        scores[DN_SCORE_STOP] = stop ? dn_preempt_reason(stop) : 0;
        scores[DN_SCORE_LATE_RANK] = step->comm->rank;
    }
    dn_allreduce_rows(step->allreduce, step->scores, DN_STEP_SCORES, merge_scores);
    const double most = step->scores[DN_SCORE_WAIT], least = -step->scores[DN_SCORE_NEGATIVE_WAIT];
    step->times.exposed += least;
    step->times.imbalance += most - least;
    return (int)step->scores[DN_SCORE_STOP];
}

static dn_metrics_values values_of(const dn_step *step, double rate, double norm)
{
    const double *const scores = step->scores;
    return (dn_metrics_values){
        .loss = scores[DN_SCORE_LOSS] / step->settings.virtual_ranks,
        .correct = (int64_t)scores[DN_SCORE_CORRECT],
        .rate = rate,
        .data_wait = scores[DN_SCORE_DATA_WAIT],
        .sum_wait = scores[DN_SCORE_WAIT],
        .late_rank = (int)scores[DN_SCORE_LATE_RANK],
        .late_wait = scores[DN_SCORE_WAIT] + scores[DN_SCORE_NEGATIVE_WAIT],
        .norm = norm,
    };
}

dn_status dn_step_run(dn_step *step, int64_t number, double rate, double label_weights,
                      dn_step_result *result)
{
    const double start = omp_get_wtime();
    dn_note_step(step->comm->activity, number + 1);
    dn_tree_reset(step->tree);
    step->pushed = 0;
    step->label_weights = label_weights;
    step->loading.status = DN_OK;
    step->data_wait = 0;
    for (int i = step->first; i < step->end; i += step->team.count)
        run_team(step, number, i);
    const double computed = omp_get_wtime();
    dn_note_operation(step->comm->activity, DN_SUMMING);
    dn_allreduce_finish(step->allreduce);
    const double reduced = mark(step, DN_SPAN_WAIT, number, computed);
    result->preempted = agree_on_step(step, start, computed, reduced);
    dn_note_operation(step->comm->activity, DN_UPDATING);
    DN_TRY(dn_step_check(step, number));
    dn_rescue_hold(step->settings.rescue);
    result->values = values_of(step, rate, dn_step_update(step, number, rate));
    dn_rescue_release(step->settings.rescue, number + 1);
    const double updated = mark(step, DN_SPAN_UPDATE, number, reduced);
    step->times.compute += computed - start;
    step->times.wait += reduced - computed;
    step->times.flight += record_buckets(step);
    step->times.update += updated - reduced;
    return DN_OK;
}
