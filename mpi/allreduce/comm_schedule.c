/*
 * The walk over the tree that plans the sum across ranks (comm_schedule.h).
 *
 * All ranks walk the same tree and find the same transfers. A transfer's round is the height of its
 * node above the ranks' own subtrees; nodes of one round have no subtree in common.
 *
 * The way back takes the transfers from the last to the first: a receiver returns a final segment
 * that it has learned in an earlier round, and that the sender has not. So all ranks learn it: of a
 * node's holders one has when the node's turn comes; its partner on the other side does in this
 * round, and both sides' own nodes go on from there.
 */
#include "allreduce/comm_schedule.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dn/tree.h"

enum {
    MAX_DEPTH = 32,            /* of a tree over INT_MAX leaves */
    SEGMENTS_PER_RANK = 4,     /* how finely an R that is no power of two can share out a vector */
    LATENCY_FLOATS = 8 * 1024, /* what a network carries in one latency: 10 or 100 Gb/s alike */
};

/* The holders of one segment of a node's sum, by ascending rank. */
typedef struct holder_list {
    int begin, count; /* in the planner's holders */
} holder_list;

typedef struct planner {
    dn_comm_schedule *schedule;
    int capacity, is_out_of_memory;
    int virtual_ranks, ranks;
    int rank, slot;     /* of the subtree reached */
    int *slots;         /* (ranks) */
    holder_list *lists; /* (MAX_DEPTH + 1, segments): of the right children, and the root's */
    dn_holder *holder;  /* of all lists */
    int holders, holder_capacity;
    int *learned; /* (segments, ranks): the round that brings a rank the final segment, or 0 */
} planner;

/* A node as its parent sees it: its round, and the ranks below it. */
typedef struct node {
    int round, first_rank, last_rank;
} node;

/* `items` in memory for more; NULL, and the plan is void, where there is none. */
static void *with_more_room(planner *p, void *items, int *capacity, size_t bytes)
{
    const int larger = 2 * *capacity + 64;
    void *grown = realloc(items, (size_t)larger * bytes);
    if (grown == NULL)
        p->is_out_of_memory = 1;
    else
        *capacity = larger;
    return grown;
}

static void add_transfer(planner *p, dn_transfer t)
{
    dn_comm_schedule *schedule = p->schedule;
    if (t.first == t.last)
        return;
    if (schedule->count == p->capacity) {
        dn_transfer *grown = with_more_room(p, schedule->transfer, &p->capacity, sizeof t);
        if (grown == NULL)
            return;
        schedule->transfer = grown;
    }
    t.order = schedule->count;
    schedule->transfer[schedule->count++] = t;
}

static void add_holder(planner *p, holder_list *list, dn_holder holder)
{
    if (p->holders == p->holder_capacity) {
        dn_holder *grown = with_more_room(p, p->holder, &p->holder_capacity, sizeof holder);
        if (grown == NULL)
            return;
        p->holder = grown;
    }
    p->holder[p->holders++] = holder;
    list->count++;
}

static int same_holders(const planner *p, holder_list a, holder_list b)
{
    return a.count == b.count && memcmp(p->holder + a.begin, p->holder + b.begin,
                                        (size_t)a.count * sizeof *p->holder) == 0;
}

/* Doubling of the segments [first, last): holders left and right are paired. A rank that is the
 * left side's last and the right side's first is its own partner, and keeps the sum once. Holders
 * without partner are sent the final sum on the way back. Returns who holds the sum. */
static holder_list exchange_segments(planner *p, int round, int first, int last, holder_list left,
                                     holder_list right)
{
    const dn_holder l = p->holder[left.begin + left.count - 1], r = p->holder[right.begin];
    const int own = l.rank == r.rank;
    const int pairs = (left.count < right.count ? left.count : right.count) - own;
    holder_list sum = {.begin = p->holders};
    for (int i = 0; i < pairs; i++)
        add_holder(p, &sum, p->holder[left.begin + i]);
    if (own) {
        add_holder(p, &sum, l);
        add_transfer(p, (dn_transfer){round, 0, r, l, first, last, 1});
    }
    for (int i = 0; i < pairs; i++) {
        const dn_holder a = p->holder[left.begin + i], b = p->holder[right.begin + own + i];
        add_holder(p, &sum, b);
        add_transfer(p, (dn_transfer){round, 0, b, a, first, last, 1});
        add_transfer(p, (dn_transfer){round, 0, a, b, first, last, 1});
    }
    return sum;
}

/* lists(segments), the left child's, become those of the node. Of several segments with one holder
 * on the left and one on the right, the first part stays and the rest goes to the right. */
static void plan_node(planner *p, int round, int left_ranks, int right_ranks, holder_list *lists,
                      const holder_list *right)
{
    const int ranks = left_ranks + right_ranks, segments = p->schedule->segments;
    int64_t due = ranks / 2; /* to the left, in units of 1/ranks of a segment */
    for (int first = 0, last; first < segments && !p->is_out_of_memory; first = last) {
        const holder_list l = lists[first], r = right[first];
        for (last = first + 1;
             last < segments && same_holders(p, lists[last], l) && same_holders(p, right[last], r);)
            last++;
        const dn_holder a = p->holder[l.begin], b = p->holder[r.begin];
        if (last - first > 1 && l.count == 1 && r.count == 1 && a.rank != b.rank) {
            due += (int64_t)(last - first) * left_ranks;
            const int stay = first + (int)(due / ranks);
            due %= ranks;
            add_transfer(p, (dn_transfer){round, 0, b, a, first, stay, 1});
            add_transfer(p, (dn_transfer){round, 0, a, b, stay, last, 1});
            for (int s = stay; s < last; s++)
                lists[s] = r;
        } else {
            const holder_list sum = exchange_segments(p, round, first, last, l, r);
            for (int s = first; s < last; s++)
                lists[s] = sum;
        }
    }
}

/* Plans the node [lo, hi) and sets lists(segments) to who will hold its sum. */
static node plan_tree(planner *p, int lo, int hi, int depth, holder_list *lists)
{
    while (dn_tree_first(p->virtual_ranks, p->ranks, p->rank + 1) <= lo) {
        p->rank++;
        p->slot = 0;
    }
    if (hi <= dn_tree_first(p->virtual_ranks, p->ranks, p->rank + 1)) {
        holder_list own = {.begin = p->holders};
        add_holder(p, &own, (dn_holder){p->rank, p->slot});
        for (int s = 0; s < p->schedule->segments; s++)
            lists[s] = own;
        p->slots[p->rank] = ++p->slot;
        return (node){0, p->rank, p->rank};
    }
    holder_list *right_lists = p->lists + (size_t)depth * (size_t)p->schedule->segments;
    const int middle = dn_tree_split(lo, hi);
    const node left = plan_tree(p, lo, middle, depth + 1, lists);
    const node right = plan_tree(p, middle, hi, depth + 1, right_lists);
    const int round = 1 + (left.round > right.round ? left.round : right.round);
    plan_node(p, round, left.last_rank - left.first_rank + 1,
              right.last_rank - right.first_rank + 1, lists, right_lists);
    return (node){round, left.first_rank, right.last_rank};
}

static dn_holder result_of(const planner *p, int rank)
{
    return (dn_holder){rank, p->slots[rank] - 1};
}

/* When the rank learns the final segment; 0: not yet. */
static int *learned(const planner *p, int segment, int rank)
{
    return &p->learned[(size_t)segment * (size_t)p->ranks + (size_t)rank];
}

/* In round `round`, the holders of the root copy their segments to their ranks' results. */
static void plan_results(planner *p, int round, const holder_list *root)
{
    for (int s = 0; s < p->schedule->segments; s++)
        for (int i = 0; i < root[s].count; i++) {
            const dn_holder from = p->holder[root[s].begin + i], to = result_of(p, from.rank);
            *learned(p, s, from.rank) = round;
            if (from.slot != to.slot)
                add_transfer(p, (dn_transfer){round, 0, from, to, s, s + 1, 0});
        }
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
        add_transfer(p, (dn_transfer){round, 0, from, to, first, last, 0});
    }
}

static int by_round(const void *a, const void *b)
{
    const dn_transfer *x = a, *y = b;
    return x->round != y->round ? (x->round > y->round) - (x->round < y->round)
                                : (x->order > y->order) - (x->order < y->order);
}

static void sort_transfers(dn_comm_schedule *schedule)
{
    if (schedule->count > 0)
        qsort(schedule->transfer, (size_t)schedule->count, sizeof *schedule->transfer, by_round);
}

static void keep_those_of(dn_comm_schedule *schedule, int rank)
{
    int kept = 0;
    for (int i = 0; i < schedule->count; i++) {
        const dn_transfer t = schedule->transfer[i];
        if (rank == DN_ALL_RANKS || t.from.rank == rank || t.to.rank == rank)
            schedule->transfer[kept++] = t;
    }
    schedule->count = kept;
}

static void plan_all(planner *p)
{
    dn_comm_schedule *schedule = p->schedule;
    holder_list *root = p->lists + MAX_DEPTH * (size_t)schedule->segments;
    const int middle = plan_tree(p, 0, p->virtual_ranks, 0, root).round + 1;
    const int there = schedule->count;
    plan_results(p, middle, root);
    sort_transfers(schedule);
    for (int i = there - 1; i >= 0 && !p->is_out_of_memory; i--)
        plan_return(p, 2 * middle - schedule->transfer[i].round, schedule->transfer[i]);
    sort_transfers(schedule);
}

dn_status dn_comm_schedule_create(dn_comm_schedule *schedule, int virtual_ranks, int ranks,
                                  int rank, int segments)
{
    *schedule = (dn_comm_schedule){.segments = segments};
    planner p = {.schedule = schedule, .virtual_ranks = virtual_ranks, .ranks = ranks};
    p.slots = calloc((size_t)ranks, sizeof *p.slots);
    p.lists = malloc((MAX_DEPTH + 1) * (size_t)segments * sizeof *p.lists);
    p.learned = calloc((size_t)segments * (size_t)ranks, sizeof *p.learned);
    p.is_out_of_memory = p.slots == NULL || p.lists == NULL || p.learned == NULL;
    if (!p.is_out_of_memory)
        plan_all(&p);
    if (!p.is_out_of_memory)
        keep_those_of(schedule, rank);
    free(p.holder);
    free(p.learned);
    free(p.lists);
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

/* Halving once more takes one round more, back, and spares each later doubling half a segment. */
int dn_comm_schedule_segments(size_t count, int ranks)
{
    int segments = 1, doublings = -1;
    while (1 << (doublings + 1) < ranks)
        doublings++;
    while (segments < SEGMENTS_PER_RANK * ranks) {
        const size_t spared =
            count / (size_t)segments * (size_t)(doublings > 2 ? doublings : 2) / 2;
        if (spared <= LATENCY_FLOATS)
            break;
        segments *= 2;
        doublings--;
    }
    return segments;
}
