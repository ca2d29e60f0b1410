/*
 * Batch statistics of a norm group: a team of nets computes the same as one net with all their
 * images, and a team that is a part of its group has the same bits as the whole group in one team.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/tree.h"
#include "small_net.h"
#include "unit.h"

enum { MEMBERS = 4, BATCH = 2, SEEDS = 3 };

/* Of logits and statistics relative to their norm, between two orders of summation. In bf16 a last
 * bit of a statistic moves some of what is stored by 2^-9. Measured 3e-7 and 1e-3. */
static const double forward_tolerance[DN_DTYPES] = {5e-6, 1e-2};

/* The same of a tensor's gradient, for the best of SEEDS seeds: in each, a ReLU or a max pool may
 * decide otherwise for a pixel. Measured 1.3e-6 and 3.5e-2. */
static const double gradient_tolerance[DN_DTYPES] = {2e-5, 1e-1};

static const net_case cases[] = {
    {BOTTLENECK, 3, 28, 28, 10, BATCH, 0, 0, DN_FP32},
    {BOTTLENECK, 3, 33, 30, 10, BATCH, 0, 1, DN_FP32},
    {PLAIN, 1, 28, 28, 10, BATCH, 0, 0, DN_FP32},
    {IMAGENET, 3, 66, 62, 50, BATCH, 0, 0, DN_FP32},
    {IMAGENET, 3, 66, 62, 50, BATCH, 0, 1, DN_FP32},
    {"fashion-mnist-tiny", 1, 28, 28, 10, BATCH, 0, 0, DN_FP32},
    {BOTTLENECK, 3, 28, 28, 10, BATCH, 0, 0, DN_BF16},
    {IMAGENET, 3, 66, 62, 50, BATCH, 0, 1, DN_BF16},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static const dn_kernels *best_kernels(void)
{
    const dn_kernels *kernels;
    if (dn_kernels_select(&kernels, "") != DN_OK)
        fail_msg("%s", dn_message());
    return kernels;
}

static void make_nets(dn_net *nets[MEMBERS], const net_case *c, int count)
{
    nets[0] = net_make_grouped(c, best_kernels(), MEMBERS);
    for (int m = 1; m < count; m++)
        if (dn_net_create_sharing(&nets[m], nets[0]) != DN_OK)
            fail_msg("%s", dn_message());
}

static void destroy_nets(dn_net *nets[MEMBERS], int count)
{
    for (int m = count; m-- > 0;)
        dn_net_destroy(&nets[m]);
}

/* Member `member`'s images and labels, from a net that holds those of all. */
static void take_batch(dn_net *net, const dn_net *all, int member)
{
    const size_t floats = BATCH * dn_spec_values(dn_net_view(net).spec);
    memcpy(dn_net_view(net).images, dn_net_view(all).images + (size_t)member * floats,
           floats * sizeof(float));
    memcpy(dn_net_view(net).labels, dn_net_view(all).labels + (ptrdiff_t)member * BATCH,
           BATCH * sizeof(int32_t));
}

/* Of at most 50 classes. */
static const float class_weights[50] = {0.5F, 2, 1, 0.25F, 1.5F, 0.5F, 2, 1, 0.25F, 1.5F,
                                        0.5F, 2, 1, 0.25F, 1.5F, 0.5F, 2, 1, 0.25F, 1.5F,
                                        0.5F, 2, 1, 0.25F, 1.5F, 0.5F, 2, 1, 0.25F, 1.5F,
                                        0.5F, 2, 1, 0.25F, 1.5F, 0.5F, 2, 1, 0.25F, 1.5F,
                                        0.5F, 2, 1, 0.25F, 1.5F, 0.5F, 2, 1, 0.25F, 1.5F};

static const dn_pass passes[2] = {
    {.seed = 1, .step = 1, .label_smoothing = 0.1F, .class_weights = class_weights},
    {.seed = 1, .step = 2, .label_smoothing = 0.1F, .class_weights = class_weights}};

/* What a member's labels weigh, in the mean over all. */
static double mean_label_weights(const dn_net *whole)
{
    const int32_t *labels = dn_net_view(whole).labels;
    double sum = 0;
    for (int i = 0; i < MEMBERS * BATCH; i++)
        sum += (double)class_weights[labels[i]];
    return sum / MEMBERS;
}

/* One step; o takes the means of losses and leaves over the team. */
static void step_team(const dn_team *team, const dn_pass *pass, net_outcome *o)
{
    dn_result results[MEMBERS];
    dn_team_forward(team, pass, results);
    dn_team_backward(team, pass);
    memset(o->leaf, 0, o->leaf_count * sizeof *o->leaf);
    o->loss = 0;
    for (int m = 0; m < team->count; m++) {
        const float *leaf = dn_net_view(team->nets[m]).leaf;
        for (size_t i = 0; i < o->leaf_count; i++)
            o->leaf[i] += leaf[i] / (float)team->count;
        o->loss += results[m].loss / team->count;
    }
    dn_net_update_running(team->nets[0], o->leaf, DN_NORM_MOMENTUM);
}

/* The team on the batches that `whole` holds from number `place` on, drawn with the same seeds. */
static net_outcome run_team(const dn_team *team, int place, dn_net *whole, uint64_t seed)
{
    const dn_net *first = team->nets[0];
    const size_t logits = BATCH * (size_t)dn_net_view(first).spec->classes;
    net_outcome o = net_outcome_create(first, team->count);
    net_draw_all(whole, DRAW_PLAIN, seed);
    net_draw_all(team->nets[0], DRAW_PLAIN, seed);
    for (int s = 0; s < 2; s++) {
        if (s > 0)
            net_draw_batch(whole, seed + 1000);
        for (int m = 0; m < team->count; m++)
            take_batch(team->nets[m], whole, place + m);
        dn_pass pass = passes[s];
        pass.label_weights = mean_label_weights(whole);
        step_team(team, &pass, &o);
    }
    for (int m = 0; m < team->count; m++)
        memcpy(o.logits + (size_t)m * logits, dn_net_view(team->nets[m]).logits,
               logits * sizeof *o.logits);
    memcpy(o.running, dn_net_view(first).running, o.running_count * sizeof *o.running);
    return o;
}

/* The largest error of a tensor's gradient; all else is checked here. */
static double compare(const net_case *c, const dn_net *net, const net_outcome *whole,
                      const net_outcome *team)
{
    const double tolerance = forward_tolerance[c->dtype];
    const size_t parameters = dn_net_view(net).parameter_count;
    const double logits = net_distance(whole->logits, team->logits, whole->logit_count);
    const double running = net_distance(whole->running, team->running, whole->running_count);
    const double statistics = net_distance(whole->leaf + parameters, team->leaf + parameters,
                                           whole->leaf_count - parameters);
    if (!(logits <= tolerance && running <= tolerance && statistics <= tolerance &&
          fabs(whole->loss - team->loss) <= tolerance * whole->loss))
        fail_msg(
            "%s: logits err by %.2g, statistics by %.2g, running ones by %.2g, loss %.9g, %.9g",
            c->model, logits, statistics, running, whole->loss, team->loss);
    return net_largest_distance(net, whole->leaf, team->leaf);
}

static net_case whole_case(const net_case *c)
{
    net_case whole = *c;
    whole.batch = MEMBERS * BATCH;
    return whole;
}

static void test_one_batch(void **state)
{
    for (int k = 0; k < CASES; k++) {
        const net_case *c = &cases[k], all = whole_case(c);
        dn_net *nets[MEMBERS], *whole = net_make(&all, best_kernels());
        make_nets(nets, c, MEMBERS);
        double least = INFINITY;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            net_outcome a = net_run(whole, passes, seed);
            net_outcome b = run_team(&(dn_team){.nets = nets, .count = MEMBERS}, 0, whole, seed);
            least = fmin(least, compare(c, whole, &a, &b));
            free(a.leaf);
            free(b.leaf);
        }
        if (!(least <= gradient_tolerance[c->dtype]))
            fail_msg("%s: a gradient errs by %.2g", c->model, least);
        destroy_nets(nets, MEMBERS);
        dn_net_destroy(&whole);
    }
}

/* ---- a group in several teams ---- */

/* What the whole group in one team added up, in order, and the sums; a part of it is checked
 * against its rows and gets the sums. */
typedef struct record {
    double *rows;
    size_t used, capacity;
    int replay, first, count;
} record;

static void record_or_replay(void *user, double *rows, size_t width)
{
    record *r = user;
    const size_t total = (MEMBERS + 1) * width;
    if (!r->replay && r->used + total > r->capacity) {
        r->capacity = 2 * (r->used + total);
        r->rows = realloc(r->rows, r->capacity * sizeof *r->rows);
        assert_non_null(r->rows);
    }
    double *recorded = r->rows + r->used, *sum = recorded + MEMBERS * width;
    r->used += total;
    if (r->replay) {
        assert_memory_equal(rows, recorded + (size_t)r->first * width,
                            (size_t)r->count * width * sizeof *rows);
    } else {
        memcpy(recorded, rows, MEMBERS * width * sizeof *rows);
        for (size_t i = 0; i < width; i++)
            sum[i] = dn_tree_sum(rows + i, MEMBERS, (int)width);
    }
    memcpy(rows, sum, width * sizeof *rows);
}

/* Leaves of members [first, first + count) of the last step, behind one another. */
static float *run_part(dn_net *whole, const net_case *c, record *r, int first, int count)
{
    dn_net *nets[MEMBERS];
    make_nets(nets, c, count);
    r->used = 0;
    r->first = first;
    r->count = count;
    const size_t floats = dn_net_view(nets[0]).leaf_count;
    float *leaves = calloc((size_t)count * floats, sizeof *leaves);
    assert_non_null(leaves);
    const dn_team team = {nets, count, record_or_replay, r};
    net_outcome o = run_team(&team, first, whole, 1);
    for (int m = 0; m < count; m++)
        memcpy(leaves + (size_t)m * floats, dn_net_view(nets[m]).leaf, floats * sizeof *leaves);
    free(o.leaf);
    destroy_nets(nets, count);
    return leaves;
}

static void test_parts(void **state)
{
    for (int k = 0; k < CASES; k++) {
        const net_case *c = &cases[k], all = whole_case(c);
        dn_net *whole = net_make(&all, best_kernels());
        const size_t floats = dn_net_view(whole).leaf_count;
        record r = {0};
        float *expected = run_part(whole, c, &r, 0, MEMBERS);
        const size_t exchanged = r.used;
        r.replay = 1;
        for (int first = 0; first < MEMBERS; first++)
            for (int count = 1; first + count <= MEMBERS; count++) {
                float *found = run_part(whole, c, &r, first, count);
                assert_int_equal(r.used, exchanged);
                assert_memory_equal(found, expected + (size_t)first * floats,
                                    (size_t)count * floats * sizeof *found);
                free(found);
            }
        free(r.rows);
        free(expected);
        dn_net_destroy(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_batch),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
