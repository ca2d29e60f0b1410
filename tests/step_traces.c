/*
 * Writes one training step as SimGrid's time-independent traces, from the same profile, the same
 * buckets and the same plan of messages as the program's own (scripts/simulate_scaling.sh).
 *
 *     step_traces PROFILE RANKS BUCKET_MB FOLDER
 *
 * Process r computes for rank r, on node r. Each place for a bucket under way is a process of its
 * own there, RANKS (1 + place) + r: what a communication thread does. It takes the buckets b with
 * b mod places = place in turn: it waits for an empty message that b is ready, walks through the
 * rounds, and sends one back that b's sum is done. FOLDER gets a file for each process, their names
 * in `list`, and their nodes in `hosts`. Prints the number of processes. A flop is a nanosecond.
 */
#include <stdio.h>
#include <stdlib.h>

#include "allreduce/allreduce.h"
#include "allreduce/comm_schedule.h"
#include "planning/profile.h"

enum { PLACES = DN_BUCKETS_IN_FLIGHT, LOSSES = -1 };
enum { READY = 1, DONE = 2, ROUND = 16 }; /* tags */

typedef struct writer {
    dn_profile profile;
    dn_comm_schedule moves;
    dn_bucket *bucket;
    int buckets, ranks;
    const char *folder;
} writer;

static FILE *open_file(const writer *w, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        perror(path);
    return file;
}

static FILE *open_trace(const writer *w, int process)
{
    char name[32];
    snprintf(name, sizeof name, "%d", process);
    FILE *file = open_file(w, name);
    if (file != NULL)
        fprintf(file, "%d init\n", process);
    return file;
}

static int close_trace(FILE *file, int process)
{
    fprintf(file, "%d finalize\n", process);
    return fclose(file) == 0;
}

/* The process of `rank` that takes the bucket; of the losses' messages, the one that computes. */
static int process_of(const writer *w, int rank, int bucket)
{
    return bucket == LOSSES ? rank : w->ranks * (1 + bucket % PLACES) + rank;
}

static size_t move_bytes(const writer *w, const dn_transfer *m, int bucket)
{
    const double share = (double)(m->last - m->first) / w->moves.pieces;
    return bucket == LOSSES ? sizeof(double)
                            : (size_t)(share * w->bucket[bucket].count * sizeof(float));
}

/* The receives and sends of a rank in the round that starts with `m`; returns the next round. */
static const dn_transfer *write_round(const writer *w, FILE *file, int rank, int b,
                                      const dn_transfer *m)
{
    const dn_transfer *end = w->moves.move + w->moves.count;
    const int me = process_of(w, rank, b), round = m->round;
    int messages = 0;
    for (; m < end && m->round == round; m++) {
        const int from = m->from.rank, to = m->to.rank;
        if (from == to || (from != rank && to != rank))
            continue;
        fprintf(file, "%d %s %d %d %zu\n", me, to == rank ? "irecv" : "isend",
                process_of(w, to == rank ? from : to, b), ROUND + round, move_bytes(w, m, b));
        messages++;
    }
    if (messages > 0)
        fprintf(file, "%d waitall\n", me);
    return m;
}

/* Forward, backward with its buckets, the wait for their sums, the losses, update. */
static int write_compute(const writer *w, int rank)
{
    const dn_profile *p = &w->profile;
    const dn_transfer *end = w->moves.move + w->moves.count;
    FILE *file = open_trace(w, rank);
    double seconds = p->forward;
    size_t final = 0;
    int b = 0;
    if (file == NULL)
        return 0;
    for (int i = 0; i < p->stages; i++) {
        seconds += p->stage[i].seconds;
        final += p->stage[i].floats;
        for (; b < w->buckets && w->bucket[b].begin + (size_t)w->bucket[b].count <= final; b++) {
            fprintf(file, "%d compute %.0f\n", rank, seconds * 1e9);
            fprintf(file, "%d isend %d %d 0\n", rank, process_of(w, rank, b), READY);
            seconds = 0;
        }
    }
    fprintf(file, "%d compute %.0f\n", rank, seconds * 1e9);
    for (b = 0; b < w->buckets; b++)
        fprintf(file, "%d recv %d %d 0\n", rank, process_of(w, rank, b), DONE);
    for (const dn_transfer *m = w->moves.move; m < end && m->adds;)
        m = write_round(w, file, rank, LOSSES, m);
    fprintf(file, "%d compute %.0f\n", rank, p->update * 1e9);
    return close_trace(file, rank);
}

static int write_place(const writer *w, int rank, int place)
{
    const int me = process_of(w, rank, place);
    const dn_transfer *end = w->moves.move + w->moves.count;
    FILE *file = open_trace(w, me);
    if (file == NULL)
        return 0;
    for (int b = place; b < w->buckets; b += PLACES) {
        fprintf(file, "%d recv %d %d 0\n", me, rank, READY);
        for (const dn_transfer *m = w->moves.move; m < end;)
            m = write_round(w, file, rank, b, m);
        fprintf(file, "%d isend %d %d 0\n", me, rank, DONE);
    }
    return close_trace(file, me);
}

static int write_lists(const writer *w)
{
    FILE *list = open_file(w, "list"), *hosts = open_file(w, "hosts");
    for (int i = 0; list && hosts && i < w->ranks * (1 + PLACES); i++) {
        fprintf(list, "%s/%d\n", w->folder, i);
        fprintf(hosts, "node-%d\n", i % w->ranks);
    }
    return list && hosts && fclose(list) == 0 && fclose(hosts) == 0;
}

static int write_all(const writer *w)
{
    int ok = write_lists(w);
    for (int rank = 0; ok && rank < w->ranks; rank++) {
        ok = write_compute(w, rank);
        for (int i = 0; ok && i < PLACES; i++)
            ok = write_place(w, rank, i);
    }
    return ok;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: step_traces PROFILE RANKS BUCKET_MB FOLDER\n");
        return 2;
    }
    writer w = {.ranks = atoi(argv[2]), .folder = argv[4]};
    dn_allreduce_settings settings = {.bucket =
                                          (size_t)(atof(argv[3]) * (1 << 20) / sizeof(float))};
    dn_status status;
    DN_TRY_OR_DONE(dn_profile_read(&w.profile, argv[1]));
    settings.count = dn_profile_floats(&w.profile);
    settings.split = settings.count - w.profile.statistics;
    DN_TRY_OR_DONE(dn_allreduce_cut(&settings, &w.bucket, &w.buckets));
    DN_TRY_OR_DONE(dn_comm_schedule_create(&w.moves, w.ranks, w.ranks, DN_ALL_RANKS));
    if (!write_all(&w))
        status = dn_fail(DN_EIO, "%s: traces not written", w.folder);
    else
        printf("%d\n", w.ranks * (1 + PLACES));
done:
    if (status != DN_OK)
        fprintf(stderr, "step_traces: %s\n", dn_message());
    dn_comm_schedule_destroy(&w.moves);
    free(w.bucket);
    dn_profile_destroy(&w.profile);
    return status != DN_OK;
}
