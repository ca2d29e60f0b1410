/*
 * The plan of the sum across ranks, carried out on all ranks at once without MPI: every rank ends
 * with every leaf in every piece exactly once, moves of a round are independent, and the volume is
 * the least possible where it can be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "dn/tree.h"
#include "allreduce/comm_schedule.h"

enum { MAX_SLOTS = 16 };

/* What a place holds of a piece: how many leaves were added up, and the sum of their numbers'
 * squares, which tells a leaf that was added twice. */
typedef struct content {
    int64_t leaves, squares;
} content;

typedef struct state {
    int v, ranks, pieces;
    content *content; /* (ranks, MAX_SLOTS, pieces) */
    int *slots;       /* (ranks) */
} state;

static content *at(const state *s, dn_home place, int piece)
{
    return &s->content[((size_t)place.rank * MAX_SLOTS + (size_t)place.slot) * (size_t)s->pieces +
                       (size_t)piece];
}

static void fill(state *s)
{
    for (int r = 0; r < s->ranks; r++) {
        dn_tree *tree = NULL;
        const dn_subtree *subtree;
        float leaf[1];
        assert_int_equal(dn_tree_create(&tree, s->v, dn_tree_first(s->v, s->ranks, r),
                                        dn_tree_first(s->v, s->ranks, r + 1), leaf, 1, 0),
                         DN_OK);
        s->slots[r] = dn_tree_subtrees(tree, &subtree);
        assert_true(s->slots[r] <= MAX_SLOTS);
        for (int slot = 0; slot < s->slots[r]; slot++)
            for (int i = 0; i < s->pieces; i++)
                for (int64_t leaf_number = subtree[slot].lo; leaf_number < subtree[slot].hi;
                     leaf_number++) {
                    at(s, (dn_home){r, slot}, i)->leaves++;
                    at(s, (dn_home){r, slot}, i)->squares += leaf_number * leaf_number;
                }
        dn_tree_destroy(&tree);
    }
}

/* Carries out one round: all reads see what was there before it. Returns the pieces that `rank`
 * sent to other ranks. */
static int64_t run_round(state *s, const dn_transfer *begin, const dn_transfer *end, int rank)
{
    int64_t sent = 0;
    for (const dn_transfer *m = begin; m < end; m++) {
        for (const dn_transfer *other = begin; other < end;
             other++) /* what is written is not read */
            assert_false(m->to.rank == other->from.rank && m->to.slot == other->from.slot &&
                         m->first < other->last && other->first < m->last);
        for (int i = m->first; i < m->last; i++) {
            const content from = *at(s, m->from, i);
            content *to = at(s, m->to, i);
            to->leaves = (m->adds ? to->leaves : 0) + from.leaves;
            to->squares = (m->adds ? to->squares : 0) + from.squares;
        }
        sent += m->from.rank == rank && m->to.rank != rank ? m->last - m->first : 0;
    }
    return sent;
}

static void check_plan(int v, int ranks)
{
    dn_comm_schedule moves;
    assert_int_equal(dn_comm_schedule_create(&moves, v, ranks, DN_ALL_RANKS), DN_OK);
    state s = {.v = v, .ranks = ranks, .pieces = moves.pieces};
    s.content = calloc((size_t)ranks * MAX_SLOTS * (size_t)s.pieces, sizeof *s.content);
    s.slots = calloc((size_t)ranks, sizeof *s.slots);
    assert_true(s.content != NULL && s.slots != NULL);
    fill(&s);
    int64_t sent = 0;
    int rounds = 0;
    const dn_transfer *const last = moves.move + moves.count;
    for (const dn_transfer *begin = moves.move, *end; begin < last; begin = end, rounds++) {
        for (end = begin; end < last && end->round == begin->round;)
            end++;
        sent += run_round(&s, begin, end, ranks - 1);
    }
    int64_t squares = 0;
    for (int64_t i = 0; i < v; i++)
        squares += i * i;
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < s.pieces; i++) {
            const content *c = at(&s, (dn_home){r, s.slots[r] - 1}, i);
            assert_true(c->leaves == v && c->squares == squares);
        }
    const int leaves = v / ranks;
    if ((ranks & (ranks - 1)) == 0 && v % ranks == 0 && (leaves & (leaves - 1)) == 0) {
        assert_true(sent == (int64_t)2 * (ranks - 1) * s.pieces / ranks);
        assert_int_equal(1 << rounds, ranks * ranks);
    }
    free(s.slots);
    free(s.content);
    dn_comm_schedule_destroy(&moves);
}

static void test_plans(void **unused)
{
    (void)unused;
    for (int v = 1; v <= 20; v++)
        for (int ranks = 1; ranks <= v; ranks++)
            check_plan(v, ranks);
    check_plan(64, 64);
    check_plan(70, 33);
    check_plan(96, 7);
}

/* Every rank lists what it takes part in, as it stands in the whole plan. */
static void test_own_moves(void **unused)
{
    (void)unused;
    dn_comm_schedule all, own;
    assert_int_equal(dn_comm_schedule_create(&all, 13, 5, DN_ALL_RANKS), DN_OK);
    for (int rank = 0; rank < 5; rank++) {
        assert_int_equal(dn_comm_schedule_create(&own, 13, 5, rank), DN_OK);
        int next = 0;
        for (int i = 0; i < all.count; i++) {
            const dn_transfer *m = &all.move[i];
            if (m->from.rank != rank && m->to.rank != rank)
                continue;
            assert_true(next < own.count);
            assert_memory_equal(m, &own.move[next], sizeof *m);
            next++;
        }
        assert_int_equal(next, own.count);
        dn_comm_schedule_destroy(&own);
    }
    dn_comm_schedule_destroy(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plans),
                                       cmocka_unit_test(test_own_moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
