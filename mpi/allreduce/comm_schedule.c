/*
 * Plans the sum across ranks by walking the tree, once for each segment; see comm_schedule.h.
 *
 * All ranks walk the same tree and find the same transfers. A transfer's round is the height of its
 * node above the ranks' own subtrees; nodes of the same round have no subtree in common.
 *
 * The way back takes the transfers from the last to the first: the receiver of a transfer returns a
 * final segment that it learned in an earlier round, unless the sender has learned it too. All
 * ranks learn every segment: when a node's turn comes one of its holders has it, that holder's
 * partner on the other side learns it in this round, and the nodes below both continue from there.
 */
#include "allreduce/comm_schedule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dn/tree.h"

enum {
    MAX_DEPTH = 32,            /* of a tree over INT_MAX leaves */
    LATENCY_FLOATS = 8 * 1024, /* latency x bandwidth, alike at 10 and 100 Gb/s */
};

/* The holders of a segment are on a stack, the left child's below the right child's. */
typedef struct planner {
    dn_comm_schedule *schedule;
    int capacity, is_out_of_memory;
    int virtual_ranks, ranks;
    int segment;       /* that the current walk plans */
    int rank, slot;    /* of the subtree reached */
    int *slots;        /* (ranks) */
    dn_holder *holder; /* (ranks + MAX_DEPTH) */
    int holders;
    int *learned; /* (segments, ranks): the round that brings a rank the final segment, or 0 */
} planner;

/* A node as its parent sees it. */
typedef struct node {
    int round;
    int first, last;  /* segments with the same holders as the walk's segment */
    int begin, count; /* its holders on the stack, by ascending rank */
} node;

static void add_transfer(planner *p, dn_transfer t)
{
    dn_comm_schedule *schedule = p->schedule;
    if (t.first == t.last || p->is_out_of_memory)
        return;
    if (schedule->count == p->capacity) {
        const int larger = 2 * p->capacity + 64;
        dn_transfer *grown = realloc(schedule->transfer, (size_t)larger * sizeof t);
        p->is_out_of_memory = grown == NULL;
        if (grown == NULL)
            return;
        schedule->transfer = grown;
        p->capacity = larger;
    }
    schedule->transfer[schedule->count++] = t;
}

/* Adds the transfer of segments [first, last) from one child's holder to the other's. Segments with
 * the same holders share one transfer, which the walk of the first of them adds. */
static void add_sum(planner *p, const node *sum, dn_holder from, dn_holder to, int first, int last)
{
    if (p->segment == sum->first)
        add_transfer(p, (dn_transfer){sum->round, from, to, first, last, 1});
}

/* Halving: each side has one holder of these segments. The first half stays on the left, and the
 * rest goes to the right. The walk's segment keeps one holder. */
static void halve(planner *p, const node *left, const node *right, node *sum)
{
    const int middle = (sum->first + sum->last) / 2;
    const dn_holder a = p->holder[left->begin], b = p->holder[right->begin];
    add_sum(p, sum, b, a, sum->first, middle);
    add_sum(p, sum, a, b, middle, sum->last);
    const int stays = p->segment < middle;
    p->holder[sum->begin] = stays ? a : b;
    sum->count = 1;
    *(stays ? &sum->last : &sum->first) = middle;
}

/* Doubling: pairs the holders of the two sides; both partners then hold the sum. A rank that is the
 * last on the left and the first on the right is its own partner, and holds the sum once. A holder
 * without a partner receives the final sum on the way back. */
static void double_up(planner *p, const node *left, const node *right, node *sum)
{
    const dn_holder *l = p->holder + left->begin, *r = p->holder + right->begin;
    const int own = l[left->count - 1].rank == r->rank;
    const int pairs = (left->count < right->count ? left->count : right->count) - own;
    dn_holder *partners = p->holder + left->begin + pairs + own; /* close up to the left's pairs */
    if (own)
        add_sum(p, sum, *r, l[left->count - 1], sum->first, sum->last);
    for (int i = 0; i < pairs; i++) {
        add_sum(p, sum, r[own + i], l[i], sum->first, sum->last);
        add_sum(p, sum, l[i], r[own + i], sum->first, sum->last);
    }
    if (own)
        p->holder[left->begin + pairs] = l[left->count - 1];
    memmove(partners, r + own, (size_t)pairs * sizeof *partners);
    sum->count = 2 * pairs + own;
}

/* The next subtree that lies on one rank. */
static node plan_subtree(planner *p)
{
    const node own = {.last = p->schedule->segments, .begin = p->holders, .count = 1};
    p->holder[p->holders++] = (dn_holder){p->rank, p->slot};
    p->slots[p->rank] = ++p->slot;
    return own;
}

/* Plans the sum of the node [lo, hi) for the walk's segment. */
static node plan_tree(planner *p, int lo, int hi)
{
    while (dn_share_begin(p->virtual_ranks, p->ranks, p->rank + 1) <= lo) {
        p->rank++;
        p->slot = 0;
    }
    if (hi <= dn_share_begin(p->virtual_ranks, p->ranks, p->rank + 1))
        return plan_subtree(p);
    const int middle = dn_tree_split(lo, hi);
    const node left = plan_tree(p, lo, middle), right = plan_tree(p, middle, hi);
    node sum = {.round = 1 + (left.round > right.round ? left.round : right.round),
                .first = left.first > right.first ? left.first : right.first,
                .last = left.last < right.last ? left.last : right.last,
                .begin = left.begin};
    const int is_single = left.count == 1 && right.count == 1 &&
                          p->holder[left.begin].rank != p->holder[right.begin].rank;
    if (is_single && sum.last - sum.first > 1)
        halve(p, &left, &right, &sum);
    else
        double_up(p, &left, &right, &sum);
    p->holders = sum.begin + sum.count;
    return sum;
}

static dn_holder result_of(const planner *p, int rank)
{
    return (dn_holder){rank, p->slots[rank] - 1};
}

/* The round in which the rank learns the final segment; 0: not yet. */
static int *learned(const planner *p, int segment, int rank)
{
    return &p->learned[(size_t)segment * (size_t)p->ranks + (size_t)rank];
}

/* Plans the walk's segment up to the root, whose holders then copy it to their ranks' results.
 * Returns the round of those copies. */
static int plan_segment(planner *p)
{
    p->rank = p->slot = p->holders = 0;
    const node root = plan_tree(p, 0, p->virtual_ranks);
    const int round = root.round + 1, s = p->segment;
    for (int i = 0; i < root.count; i++) {
        const dn_holder from = p->holder[i], to = result_of(p, from.rank);
        *learned(p, s, from.rank) = round;
        if (from.slot != to.slot)
            add_transfer(p, (dn_transfer){round, from, to, s, s + 1, 0});
    }
    return round;
}

/* The way back of a transfer, in round `round`. */
static void plan_return(planner *p, int round, dn_transfer t)
{
    const dn_holder from = result_of(p, t.to.rank), to = result_of(p, t.from.rank);
    for (int first = t.first, last; first < t.last; first = last + 1) {
        for (last = first; last < t.last; last++) {
            const int known = *learned(p, last, from.rank);
            if (known == 0 || known == round || *learned(p, last, to.rank) != 0)
                break;
            *learned(p, last, to.rank) = round;
        }
        add_transfer(p, (dn_transfer){round, from, to, first, last, 0});
    }
}

/* Keeps the transfers of `rank`, or all, by round and within it in the order of the walks. */
static void keep_by_round(planner *p, int rounds, int rank)
{
    dn_comm_schedule *schedule = p->schedule;
    const dn_comm_schedule all = *schedule;
    schedule->transfer = malloc(((size_t)all.count + 1) * sizeof *all.transfer);
    p->is_out_of_memory = schedule->transfer == NULL;
    schedule->count = 0;
    for (int round = 1; round <= rounds && !p->is_out_of_memory; round++)
        for (int i = 0; i < all.count; i++) {
            const dn_transfer *const t = &all.transfer[i];
            if (t->round == round &&
                (rank == DN_ALL_RANKS || t->from.rank == rank || t->to.rank == rank))
                schedule->transfer[schedule->count++] = *t;
        }
    free(all.transfer);
}

static void plan_all(planner *p, int rank)
{
    const dn_comm_schedule *schedule = p->schedule;
    int middle = 0;
    for (; p->segment < schedule->segments; p->segment++)
        middle = plan_segment(p);
    const int there = schedule->count;
    for (int round = middle - 1; round > 0; round--)
        for (int i = 0; i < there && !p->is_out_of_memory; i++)
            if (schedule->transfer[i].round == round)
                plan_return(p, 2 * middle - round, schedule->transfer[i]);
    if (!p->is_out_of_memory)
        keep_by_round(p, 2 * middle - 1, rank);
}

dn_status dn_comm_schedule_create(dn_comm_schedule *schedule, int virtual_ranks, int ranks,
                                  int rank, int segments)
{
    *schedule = (dn_comm_schedule){.segments = segments};
    planner p = {.schedule = schedule, .virtual_ranks = virtual_ranks, .ranks = ranks};
    p.slots = calloc((size_t)ranks, sizeof *p.slots);
    p.holder = malloc(((size_t)ranks + MAX_DEPTH) * sizeof *p.holder);
    p.learned = calloc((size_t)segments * (size_t)ranks, sizeof *p.learned);
    p.is_out_of_memory = p.slots == NULL || p.holder == NULL || p.learned == NULL;
    if (!p.is_out_of_memory)
        plan_all(&p, rank);
    free(p.holder);
    free(p.learned);
    free(p.slots);
    DN_CHECK(!p.is_out_of_memory, DN_ENOMEM,
             "sum across ranks: out of memory for the schedule of %d ranks", ranks);
    return DN_OK;
}

void dn_comm_schedule_destroy(dn_comm_schedule *schedule)
{
    free(schedule->transfer);
    *schedule = (dn_comm_schedule){0};
}

/* One more halving costs one more round, on the way back, and halves the bytes of every later
 * doubling. */
int dn_comm_schedule_segments(size_t count, int ranks)
{
    int segments = 1, doublings = -1;
    while (1 << (doublings + 1) < ranks)
        doublings++;
    while (segments < ranks) {
        const size_t spared =
            count / (size_t)segments * (size_t)(doublings > 2 ? doublings : 2) / 2;
        if (spared <= LATENCY_FLOATS)
            break;
        segments *= 2;
        doublings--;
    }
    return segments;
}

int dn_comm_schedule_slot(int segments)
{
    assert(segments > 0 && (segments & (segments - 1)) == 0);
    return __builtin_ctz((unsigned)segments);
}
