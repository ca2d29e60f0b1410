/*
 * The walk over the tree that plans the sum across ranks (mpi/comm_schedule.h).
 *
 * All ranks walk the same tree and find the same moves. A move's round is the height of its node
 * above the ranks' own subtrees; nodes of one round have no subtree in common. The way back takes
 * the moves from the last to the first, so whoever is to send a final piece has been sent it in an
 * earlier round.
 */
#include "allreduce/comm_schedule.h"

#include <stdint.h>
#include <stdlib.h>

#include "dn/tree.h"

enum {
    PIECES_PER_RANK = 4, /* how finely an R that is no power of two can share out a vector */
    MAX_DEPTH = 32       /* of a tree over INT_MAX leaves */
};

typedef struct planner {
    dn_comm_schedule *moves;
    int capacity, is_out_of_memory;
    int virtual_ranks, ranks;
    int rank, slot;            /* of the subtree reached */
    int *slots;                /* (ranks) */
    dn_home *homes;            /* (MAX_DEPTH + 1, pieces): of the right children, and the root's */
    unsigned char *has_result; /* (pieces, ranks) */
} planner;

/* A node as its parent sees it: its round, and the ranks below it. */
typedef struct node {
    int round, first_rank, last_rank;
} node;

static int same_place(dn_home a, dn_home b)
{
    return a.rank == b.rank && a.slot == b.slot;
}

static void add_move(planner *p, dn_transfer move)
{
    dn_comm_schedule *moves = p->moves;
    if (move.first == move.last)
        return;
    if (moves->count == p->capacity) {
        const int capacity = 2 * p->capacity + 64;
        dn_transfer *grown = realloc(moves->move, (size_t)capacity * sizeof *grown);
        if (grown == NULL) {
            p->is_out_of_memory = 1;
            return;
        }
        moves->move = grown;
        p->capacity = capacity;
    }
    move.order = moves->count;
    moves->move[moves->count++] = move;
}

/* home(pieces), the left child's, becomes that of the node: of each run of pieces with one home on
 * the left and one on the right, the first part stays and the rest goes to the right. */
static void plan_node(planner *p, int round, int left_ranks, int right_ranks, dn_home *home,
                      const dn_home *right)
{
    const int ranks = left_ranks + right_ranks, pieces = p->moves->pieces;
    int64_t due = ranks / 2; /* to the left, in units of 1/ranks of a piece */
    for (int first = 0, last; first < pieces; first = last) {
        const dn_home l = home[first], r = right[first];
        for (last = first + 1;
             last < pieces && same_place(home[last], l) && same_place(right[last], r);)
            last++;
        int stay = last;
        if (l.rank != r.rank) {
            due += (int64_t)(last - first) * left_ranks;
            stay = first + (int)(due / ranks);
            due %= ranks;
        }
        add_move(p, (dn_transfer){round, 0, r, l, first, stay, 1});
        add_move(p, (dn_transfer){round, 0, l, r, stay, last, 1});
        for (int i = stay; i < last; i++)
            home[i] = r;
    }
}

/* Plans the node [lo, hi) and sets home(pieces) to where its sum will be. */
static node plan_tree(planner *p, int lo, int hi, int depth, dn_home *home)
{
    while (dn_tree_first(p->virtual_ranks, p->ranks, p->rank + 1) <= lo) {
        p->rank++;
        p->slot = 0;
    }
    if (hi <= dn_tree_first(p->virtual_ranks, p->ranks, p->rank + 1)) {
        for (int i = 0; i < p->moves->pieces; i++)
            home[i] = (dn_home){p->rank, p->slot};
        p->slots[p->rank] = ++p->slot;
        return (node){0, p->rank, p->rank};
    }
    dn_home *right_home = p->homes + (size_t)depth * (size_t)p->moves->pieces;
    const int middle = dn_tree_split(lo, hi);
    const node left = plan_tree(p, lo, middle, depth + 1, home);
    const node right = plan_tree(p, middle, hi, depth + 1, right_home);
    const int round = 1 + (left.round > right.round ? left.round : right.round);
    plan_node(p, round, left.last_rank - left.first_rank + 1,
              right.last_rank - right.first_rank + 1, home, right_home);
    return (node){round, left.first_rank, right.last_rank};
}

static dn_home result_of(const planner *p, int rank)
{
    return (dn_home){rank, p->slots[rank] - 1};
}

/* Marks piece `i` as known to the rank; returns 1 where it was not. */
static int learn(planner *p, int i, int rank)
{
    unsigned char *has = &p->has_result[(size_t)i * (size_t)p->ranks + (size_t)rank];
    const int is_new = !*has;
    *has = 1;
    return is_new;
}

/* In round `round`, each home of the root copies its pieces to its rank's result. */
static void plan_results(planner *p, int round, const dn_home *home)
{
    const int pieces = p->moves->pieces;
    for (int first = 0, last; first < pieces; first = last) {
        const dn_home from = home[first], to = result_of(p, from.rank);
        for (last = first; last < pieces && same_place(home[last], from); last++)
            learn(p, last, from.rank);
        if (!same_place(from, to))
            add_move(p, (dn_transfer){round, 0, from, to, first, last, 0});
    }
}

/* The way back of a move: of its pieces, the runs that its sender does not have. */
static void plan_return(planner *p, int round, dn_transfer m)
{
    const dn_home from = result_of(p, m.to.rank), to = result_of(p, m.from.rank);
    for (int first = m.first, last; first < m.last; first = last + 1) {
        for (last = first; last < m.last && learn(p, last, to.rank);)
            last++;
        add_move(p, (dn_transfer){round, 0, from, to, first, last, 0});
    }
}

static int compare_moves(const void *a, const void *b)
{
    const dn_transfer *x = a, *y = b;
    return x->round != y->round ? (x->round > y->round) - (x->round < y->round)
                                : (x->order > y->order) - (x->order < y->order);
}

static void sort(dn_comm_schedule *moves)
{
    if (moves->count > 0)
        qsort(moves->move, (size_t)moves->count, sizeof *moves->move, compare_moves);
}

static void keep_those_of(dn_comm_schedule *moves, int rank)
{
    int kept = 0;
    for (int i = 0; i < moves->count; i++) {
        const dn_transfer m = moves->move[i];
        if (rank == DN_ALL_RANKS || m.from.rank == rank || m.to.rank == rank)
            moves->move[kept++] = m;
    }
    moves->count = kept;
}

static void walk(planner *p)
{
    dn_comm_schedule *moves = p->moves;
    dn_home *home = p->homes + MAX_DEPTH * (size_t)moves->pieces;
    const int middle = plan_tree(p, 0, p->virtual_ranks, 0, home).round + 1;
    const int there = moves->count;
    plan_results(p, middle, home);
    sort(moves);
    for (int i = there - 1; i >= 0; i--)
        plan_return(p, 2 * middle - moves->move[i].round, moves->move[i]);
    sort(moves);
}

dn_status dn_comm_schedule_create(dn_comm_schedule *moves, int virtual_ranks, int ranks, int rank)
{
    *moves = (dn_comm_schedule){.pieces = PIECES_PER_RANK};
    while (moves->pieces < PIECES_PER_RANK * ranks)
        moves->pieces *= 2;
    const size_t pieces = (size_t)moves->pieces;
    planner p = {.moves = moves, .virtual_ranks = virtual_ranks, .ranks = ranks};
    p.slots = calloc((size_t)ranks, sizeof *p.slots);
    p.homes = malloc((MAX_DEPTH + 1) * pieces * sizeof *p.homes);
    p.has_result = calloc(pieces * (size_t)ranks, 1);
    p.is_out_of_memory = p.slots == NULL || p.homes == NULL || p.has_result == NULL;
    if (!p.is_out_of_memory)
        walk(&p);
    if (!p.is_out_of_memory)
        keep_those_of(moves, rank);
    free(p.has_result);
    free(p.homes);
    free(p.slots);
    DN_CHECK(!p.is_out_of_memory, DN_ENOMEM,
             "sum across ranks: out of memory for the plan of %d ranks", ranks);
    return DN_OK;
}

void dn_comm_schedule_destroy(dn_comm_schedule *moves)
{
    free(moves->move);
    *moves = (dn_comm_schedule){0};
}
