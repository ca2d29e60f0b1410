/*
 * Plan and execution of the tree sum across ranks (mpi/allreduce.h).
 *
 * The plan is a list of moves, each "these floats of that place's subtree are added to this
 * place's". All ranks walk the same tree and find the same moves; each keeps those that it takes
 * part in, ordered by round (the height of the node above the ranks' subtrees) and within a round
 * by the walk. Nodes of one round have no subtree in common, so a round's moves are independent:
 * receives first, then sends, then one wait, whatever the size of the messages. Two ranks list
 * their common moves in the same order, so one tag is enough.
 */
#include "allreduce.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

enum {
    PIECES_PER_RANK = 4, /* how finely an R that is no power of two can share out a vector */
    PIECE_MULTIPLE = 16, /* floats: a cache line */
    MAX_DEPTH = 32,      /* of a tree over INT_MAX leaves */
    TAG = 1
};

/* Where a piece of a sum lives: in this subtree, counted within the rank. */
typedef struct place {
    int rank, slot;
} place;

typedef struct move {
    int round, order;
    place from, to;
    int begin, count; /* floats of the vector */
    size_t landing;   /* where in the scratch a message from another rank is received */
} move;

struct dn_allreduce {
    const dn_comm *comm;
    int virtual_ranks, count;
    int slots; /* subtrees of this rank */
    int moves, capacity;
    move *move;
    int most_requests;
    MPI_Request *request;
    float *scratch;
    /* The allgather of the root's pieces: in turn k each rank gives its k-th run of pieces. */
    int turns;
    int *run_count, *run_begin; /* (turns, size) floats */
    int *run_slot;              /* (turns) this rank's */
    dn_allreduce_cost cost;
};

/* The walk over the tree that makes the plan. */
typedef struct planner {
    dn_allreduce *plan;
    int pieces, piece; /* number, and floats of each but the last */
    int rank, slot;    /* of the subtree reached */
    int order;
    place *work; /* (MAX_DEPTH, pieces) the homes of right children */
    int is_out_of_memory;
} planner;

/* A node as its parent sees it: its round, and the ranks below it. */
typedef struct node {
    int round, first_rank, last_rank;
} node;

static int piece_begin(const planner *p, int index)
{
    const int64_t begin = (int64_t)index * p->piece;
    return begin < p->plan->count ? (int)begin : p->plan->count;
}

static int same_place(place a, place b)
{
    return a.rank == b.rank && a.slot == b.slot;
}

/* Pieces [first, last) at `from` are to be added to those at `to`. */
static void plan_move(planner *p, int round, place from, place to, int first, int last)
{
    dn_allreduce *plan = p->plan;
    const int me = plan->comm->rank, begin = piece_begin(p, first);
    const int count = piece_begin(p, last) - begin;
    const int order = p->order++;
    if (count == 0 || (from.rank != me && to.rank != me))
        return;
    if (plan->moves == plan->capacity) {
        const int capacity = 2 * plan->capacity + 16;
        move *grown = realloc(plan->move, capacity * sizeof *grown);
        if (grown == NULL) {
            p->is_out_of_memory = 1;
            return;
        }
        plan->move = grown;
        plan->capacity = capacity;
    }
    plan->move[plan->moves++] = (move){round, order, from, to, begin, count, 0};
}

/* home(pieces), the left child's, becomes that of the node: of each run of pieces with one home on
 * the left and one on the right, the first part stays and the rest goes to the right. */
static void plan_node(planner *p, int round, int left_ranks, int right_ranks, place *home,
                      const place *right)
{
    const int ranks = left_ranks + right_ranks;
    int64_t due = ranks / 2; /* to the left, in units of 1/ranks of a piece */
    for (int begin = 0, end; begin < p->pieces; begin = end) {
        for (end = begin + 1; end < p->pieces && same_place(home[end], home[begin]) &&
                              same_place(right[end], right[begin]);)
            end++;
        int stay = end;
        if (home[begin].rank != right[begin].rank) {
            due += (int64_t)(end - begin) * left_ranks;
            stay = begin + (int)(due / ranks);
            due %= ranks;
        }
        plan_move(p, round, right[begin], home[begin], begin, stay);
        if (stay < end)
            plan_move(p, round, home[begin], right[begin], stay, end);
        for (int i = stay; i < end; i++)
            home[i] = right[i];
    }
}

/* Plans the node [lo, hi) and sets home(pieces) to where its sum will be. */
static node plan_tree(planner *p, int lo, int hi, int depth, place *home)
{
    const int virtual_ranks = p->plan->virtual_ranks, size = p->plan->comm->size;
    while (dn_tree_first(virtual_ranks, size, p->rank + 1) <= lo) {
        p->rank++;
        p->slot = 0;
    }
    if (hi <= dn_tree_first(virtual_ranks, size, p->rank + 1)) {
        for (int i = 0; i < p->pieces; i++)
            home[i] = (place){p->rank, p->slot};
        p->slot++;
        if (p->rank == p->plan->comm->rank)
            p->plan->slots = p->slot;
        return (node){0, p->rank, p->rank};
    }
    place *right_home = p->work + (size_t)depth * p->pieces;
    const int middle = dn_tree_split(lo, hi);
    const node left = plan_tree(p, lo, middle, depth + 1, home);
    const node right = plan_tree(p, middle, hi, depth + 1, right_home);
    const int round = 1 + (left.round > right.round ? left.round : right.round);
    plan_node(p, round, left.last_rank - left.first_rank + 1,
              right.last_rank - right.first_rank + 1, home, right_home);
    return (node){round, left.first_rank, right.last_rank};
}

/* The next run of pieces with one home, from *begin on; sets *begin behind it. */
static int next_run(const planner *p, const place *home, int *begin)
{
    const int first = *begin;
    while (*begin < p->pieces && same_place(home[*begin], home[first]))
        ++*begin;
    return first;
}

/* Shares out the root's runs to turns of the allgather. turn(size) is scratch of zeros. */
static dn_status plan_gather(planner *p, const place *home, int *turn)
{
    dn_allreduce *plan = p->plan;
    const int size = plan->comm->size;
    for (int end = 0; end < p->pieces;) {
        const int rank = home[next_run(p, home, &end)].rank;
        turn[rank]++;
        plan->turns = turn[rank] > plan->turns ? turn[rank] : plan->turns;
    }
    plan->run_count = calloc((size_t)plan->turns * size, sizeof *plan->run_count);
    plan->run_begin = calloc((size_t)plan->turns * size, sizeof *plan->run_begin);
    plan->run_slot = calloc(plan->turns, sizeof *plan->run_slot);
    if (plan->run_count == NULL || plan->run_begin == NULL || plan->run_slot == NULL)
        return DN_ENOMEM;
    for (int end = 0; end < p->pieces;) {
        const int first = next_run(p, home, &end), rank = home[first].rank;
        const int k = --turn[rank], begin = piece_begin(p, first);
        plan->run_begin[k * size + rank] = begin;
        plan->run_count[k * size + rank] = piece_begin(p, end) - begin;
        if (rank == plan->comm->rank)
            plan->run_slot[k] = home[first].slot;
    }
    return DN_OK;
}

static int compare_moves(const void *a, const void *b)
{
    const move *x = a, *y = b;
    return x->round != y->round ? (x->round > y->round) - (x->round < y->round)
                                : (x->order > y->order) - (x->order < y->order);
}

static int is_received(const dn_allreduce *plan, const move *m)
{
    return m->to.rank == plan->comm->rank && m->from.rank != plan->comm->rank;
}

static int is_sent(const dn_allreduce *plan, const move *m)
{
    return m->from.rank == plan->comm->rank && m->to.rank != plan->comm->rank;
}

/* Sorts the moves, gives the receives their landing, and allocates what a round needs at most. */
static dn_status plan_rounds(dn_allreduce *plan)
{
    dn_allreduce_cost *cost = &plan->cost;
    if (plan->moves > 0)
        qsort(plan->move, plan->moves, sizeof *plan->move, compare_moves);
    size_t landed = 0;
    int requests = 0;
    for (int i = 0; i < plan->moves; i++) {
        move *m = &plan->move[i];
        if (i == 0 || m->round != m[-1].round) {
            landed = requests = 0;
            cost->rounds++;
        }
        requests += is_received(plan, m) || is_sent(plan, m);
        plan->most_requests = requests > plan->most_requests ? requests : plan->most_requests;
        if (is_sent(plan, m)) {
            cost->sent += m->count;
            cost->messages++;
        }
        if (is_received(plan, m)) {
            m->landing = landed;
            landed += (m->count + PIECE_MULTIPLE - 1) / PIECE_MULTIPLE * PIECE_MULTIPLE;
            cost->scratch = landed > cost->scratch ? landed : cost->scratch;
        }
    }
    cost->gathers = plan->turns;
    plan->request = malloc((plan->most_requests + 1) * sizeof *plan->request);
    plan->scratch = aligned_alloc(64, (cost->scratch + PIECE_MULTIPLE) * sizeof(float));
    return plan->request != NULL && plan->scratch != NULL ? DN_OK : DN_ENOMEM;
}

static dn_status make_plan(dn_allreduce *plan)
{
    const int size = plan->comm->size;
    int pieces = PIECES_PER_RANK;
    while (pieces < PIECES_PER_RANK * size)
        pieces *= 2;
    const int exact = (int)(((int64_t)plan->count + pieces - 1) / pieces);
    planner p = {.plan = plan, .pieces = pieces};
    p.piece = (exact + PIECE_MULTIPLE - 1) / PIECE_MULTIPLE * PIECE_MULTIPLE;
    p.work = malloc((MAX_DEPTH + 1) * (size_t)pieces * sizeof *p.work);
    int *turn = calloc(size, sizeof *turn);
    dn_status status = DN_ENOMEM;
    if (p.work == NULL || turn == NULL)
        goto done;
    place *home = p.work + MAX_DEPTH * (size_t)pieces;
    plan_tree(&p, 0, plan->virtual_ranks, 0, home);
    if (p.is_out_of_memory)
        goto done;
    DN_TRY_OR_DONE(plan_gather(&p, home, turn));
    DN_TRY_OR_DONE(plan_rounds(plan));
done:
    free(turn);
    free(p.work);
    return status;
}

dn_status dn_allreduce_create(dn_allreduce **result, const dn_comm *comm, int virtual_ranks,
                              size_t count)
{
    DN_CHECK(virtual_ranks >= comm->size, DN_EINVAL,
             "%d ranks for %d virtual ranks: expected at most one rank for each virtual rank",
             comm->size, virtual_ranks);
    DN_CHECK(count <= INT_MAX, DN_EINVAL, "sum across ranks: %zu floats, expected at most %d",
             count, INT_MAX);
    dn_allreduce *plan = calloc(1, sizeof *plan);
    DN_CHECK(plan != NULL, DN_ENOMEM, "sum across ranks: out of memory");
    plan->comm = comm;
    plan->virtual_ranks = virtual_ranks;
    plan->count = (int)count;
    if (make_plan(plan) != DN_OK) {
        dn_allreduce_destroy(&plan);
        return dn_fail(DN_ENOMEM, "sum across ranks: out of memory for %zu floats", count);
    }
    *result = plan;
    return DN_OK;
}

void dn_allreduce_destroy(dn_allreduce **allreduce)
{
    dn_allreduce *plan = *allreduce;
    if (plan == NULL)
        return;
    free(plan->move);
    free(plan->request);
    free(plan->scratch);
    free(plan->run_count);
    free(plan->run_begin);
    free(plan->run_slot);
    free(plan);
    *allreduce = NULL;
}

/* Runs the round of moves that starts with `first`; returns where the next round starts. */
static const move *run_round(const dn_allreduce *plan, const move *first,
                             const dn_subtree *subtrees)
{
    const MPI_Comm world = plan->comm->world;
    const move *end = plan->move + plan->moves, *last = first, *m;
    int requests = 0;
    while (last < end && last->round == first->round)
        last++;
    for (m = first; m < last; m++)
        if (is_received(plan, m))
            DN_MPI(MPI_Irecv(plan->scratch + m->landing, m->count, MPI_FLOAT, m->from.rank, TAG,
                             world, &plan->request[requests++]));
    for (m = first; m < last; m++)
        if (is_sent(plan, m))
            DN_MPI(MPI_Isend(subtrees[m->from.slot].sum + m->begin, m->count, MPI_FLOAT, m->to.rank,
                             TAG, world, &plan->request[requests++]));
    DN_MPI(MPI_Waitall(requests, plan->request, MPI_STATUSES_IGNORE));
    for (m = first; m < last; m++) {
        if (m->to.rank != plan->comm->rank)
            continue;
        const float *other = is_received(plan, m) ? plan->scratch + m->landing
                                                  : subtrees[m->from.slot].sum + m->begin;
        dn_tree_add(subtrees[m->to.slot].sum + m->begin, other, m->count);
    }
    return last;
}

void dn_allreduce_run(dn_allreduce *plan, const dn_subtree *subtrees, int subtree_count,
                      float *result)
{
    const int rank = plan->comm->rank, size = plan->comm->size;
    assert(subtree_count == plan->slots);
    (void)subtree_count;
    for (const move *next = plan->move; next < plan->move + plan->moves;)
        next = run_round(plan, next, subtrees);
    for (int k = 0; k < plan->turns; k++) {
        const int *count = plan->run_count + k * size, *begin = plan->run_begin + k * size;
        DN_MPI(MPI_Allgatherv(subtrees[plan->run_slot[k]].sum + begin[rank], count[rank], MPI_FLOAT,
                              result, count, begin, MPI_FLOAT, plan->comm->world));
    }
}

dn_allreduce_cost dn_allreduce_get_cost(const dn_allreduce *allreduce)
{
    return allreduce->cost;
}
