/*
 * Runs the communication schedule for all ranks in one process without MPI: every rank must end
 * with every leaf in every segment exactly once, for any number of segments; the transfers of a
 * round must be independent; and rounds and volume must be minimal where comm_schedule.h says so.
 */
#include <stdlib.h>
#include <string.h>

#include "allreduce/comm_schedule.h"
#include "dn/tree.h"
#include "unit.h"

enum { MAX_SLOTS = 16 };

/* What a holder has of a segment: how many leaves were added up, and the sum of their numbers'
 * squares, which tells a leaf that was added twice. */
typedef struct content {
    int64_t leaves, squares;
} content;

typedef struct state {
    int v, ranks, segments;
    content *content; /* (ranks, MAX_SLOTS, segments) */
    content *before;  /* the same, before the round */
    int *slots;       /* (ranks) */
} state;

static size_t contents(const state *s)
{
    return (size_t)s->ranks * MAX_SLOTS * (size_t)s->segments;
}

static size_t at(const state *s, dn_holder holder, int segment)
{
    return ((size_t)holder.rank * MAX_SLOTS + (size_t)holder.slot) * (size_t)s->segments +
           (size_t)segment;
}

static void fill(state *s)
{
    for (int r = 0; r < s->ranks; r++) {
        dn_tree *tree = NULL;
        const dn_subtree *subtree;
        float leaf[1];
        assert_int_equal(dn_tree_create(&tree, s->v, dn_share_begin(s->v, s->ranks, r),
                                        dn_share_begin(s->v, s->ranks, r + 1), leaf, 1, 0),
                         DN_OK);
        s->slots[r] = dn_tree_subtrees(tree, &subtree);
        assert_true(s->slots[r] <= MAX_SLOTS);
        for (int slot = 0; slot < s->slots[r]; slot++)
            for (int i = 0; i < s->segments; i++)
                for (int64_t n = subtree[slot].lo; n < subtree[slot].hi; n++) {
                    content *own = &s->content[at(s, (dn_holder){r, slot}, i)];
                    own->leaves++;
                    own->squares += n * n;
                }
        dn_tree_destroy(&tree);
    }
}

/* Carries out one round: all reads see what was there before it, and nothing is written twice.
 * Returns the segments that `rank` sent to other ranks. */
static int64_t run_round(state *s, const dn_transfer *begin, const dn_transfer *end, int rank)
{
    int64_t sent = 0;
    memcpy(s->before, s->content, contents(s) * sizeof *s->content);
    for (const dn_transfer *t = begin; t < end; t++) {
        for (const dn_transfer *other = begin; other < t; other++)
            assert_false(t->to.rank == other->to.rank && t->to.slot == other->to.slot &&
                         t->first < other->last && other->first < t->last);
        for (int i = t->first; i < t->last; i++) {
            const content from = s->before[at(s, t->from, i)];
            content *to = &s->content[at(s, t->to, i)];
            to->leaves = (t->adds ? to->leaves : 0) + from.leaves;
            to->squares = (t->adds ? to->squares : 0) + from.squares;
        }
        sent += t->from.rank == rank && t->to.rank != rank ? t->last - t->first : 0;
    }
    return sent;
}

/* Where ranks are a power of two and their leaves too: rounds and volume as comm_schedule.h says.
 */
static void check_costs(const state *s, int rounds, int64_t sent)
{
    const int leaves = s->v / s->ranks;
    if ((s->ranks & (s->ranks - 1)) != 0 || s->v % s->ranks != 0 || (leaves & (leaves - 1)) != 0)
        return;
    int doublings = 0, halvings = 0;
    while (1 << (doublings + halvings) < s->ranks)
        if (1 << halvings < s->segments)
            halvings++;
        else
            doublings++;
    assert_int_equal(rounds, 2 * halvings + doublings);
    assert_true(sent ==
                2 * ((int64_t)s->segments - (s->segments >> halvings)) + (int64_t)doublings);
}

static void check_schedule(int v, int ranks, int segments)
{
    dn_comm_schedule schedule;
    assert_int_equal(dn_comm_schedule_create(&schedule, v, ranks, DN_ALL_RANKS, segments), DN_OK);
    state s = {.v = v, .ranks = ranks, .segments = schedule.segments};
    s.content = calloc(contents(&s), sizeof *s.content);
    s.before = calloc(contents(&s), sizeof *s.before);
    s.slots = calloc((size_t)ranks, sizeof *s.slots);
    assert_true(s.content != NULL && s.before != NULL && s.slots != NULL);
    fill(&s);
    int64_t sent = 0, squares = 0;
    int rounds = 0;
    const dn_transfer *const last = schedule.transfer + schedule.count;
    for (const dn_transfer *begin = schedule.transfer, *end; begin < last; begin = end, rounds++) {
        for (end = begin; end < last && end->round == begin->round;)
            end++;
        sent += run_round(&s, begin, end, ranks - 1);
    }
    for (int64_t i = 0; i < v; i++)
        squares += i * i;
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < s.segments; i++) {
            const content *c = &s.content[at(&s, (dn_holder){r, s.slots[r] - 1}, i)];
            assert_true(c->leaves == v && c->squares == squares);
        }
    check_costs(&s, rounds, sent);
    free(s.slots);
    free(s.before);
    free(s.content);
    dn_comm_schedule_destroy(&schedule);
}

static void test_schedules(void **unused)
{
    (void)unused;
    for (int segments = 1; segments <= 16; segments *= 2) {
        for (int v = 1; v <= 20; v++)
            for (int ranks = 1; ranks <= v; ranks++)
                check_schedule(v, ranks, segments);
        check_schedule(64, 64, segments);
        check_schedule(65, 65, segments);
        check_schedule(70, 33, segments);
        check_schedule(96, 7, segments);
        check_schedule(100, 99, segments);
    }
    check_schedule(64, 64, 64);
    check_schedule(33, 33, 256);
}

/* Long vectors are halved down to one segment a rank, short ones are not. */
static void test_segments(void **unused)
{
    (void)unused;
    assert_int_equal(dn_comm_schedule_segments(1, 1024), 1);
    assert_int_equal(dn_comm_schedule_segments(1000, 2), 1);
    assert_int_equal(dn_comm_schedule_segments(1 << 18, 1), 1);
    assert_int_equal(dn_comm_schedule_segments(1 << 18, 3), 4);
    assert_int_equal(dn_comm_schedule_segments(1 << 18, 1024), 64);
    assert_int_equal(dn_comm_schedule_segments(1 << 18, 1000), 64);
    assert_int_equal(dn_comm_schedule_segments(1 << 28, 1024), 1024);
}

/* Every rank lists what it takes part in, as it stands in the whole plan. */
static void test_own_transfers(void **unused)
{
    (void)unused;
    dn_comm_schedule all, own;
    assert_int_equal(dn_comm_schedule_create(&all, 13, 5, DN_ALL_RANKS, 4), DN_OK);
    for (int rank = 0; rank < 5; rank++) {
        assert_int_equal(dn_comm_schedule_create(&own, 13, 5, rank, 4), DN_OK);
        int next = 0;
        for (int i = 0; i < all.count; i++) {
            const dn_transfer *t = &all.transfer[i];
            if (t->from.rank != rank && t->to.rank != rank)
                continue;
            assert_true(next < own.count);
            assert_memory_equal(t, &own.transfer[next], sizeof *t);
            next++;
        }
        assert_int_equal(next, own.count);
        dn_comm_schedule_destroy(&own);
    }
    dn_comm_schedule_destroy(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schedules),
                                       cmocka_unit_test(test_segments),
                                       cmocka_unit_test(test_own_transfers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
