/*
 * Writes one training step as SimGrid's time-independent traces, from the same profile, the same
 * buckets and the same communication schedules as the program's own (scripts/simulate_scaling.sh).
 *
 *     step_traces PROFILE RANKS BUCKET_MB FOLDER
 *
 * Process r computes for rank r, on node r. Each bucket in flight has a process there, number RANKS
 * (1 + place) + r, which does the work of the communication thread. It takes the buckets b with b
 * mod places = place in turn: it waits for an empty message that b is ready, runs through the
 * rounds, and sends an empty message that b's sum is done. Writes into FOLDER a file for each
 * process, their names in `list`, and their nodes in `hosts`. Prints the number of processes. A
 * flop is a nanosecond.
 */
#include <stdio.h>
#include <stdlib.h>

#include "allreduce/allreduce.h"
#include "allreduce/comm_schedule.h"
#include "planning/profile.h"
#include "training/step.h"

enum { PLACES = DN_BUCKETS_IN_FLIGHT, COMPUTES = -1 };
enum { READY = 1, DONE = 2, ROUND = 16 }; /* tags */

typedef struct writer {
    dn_profile profile;
    dn_comm_schedule schedule[DN_SCHEDULES]; /* of all ranks, by dn_comm_schedule_slot */
    dn_bucket *bucket, scores;
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

/* The process of a rank that takes the buckets of a place, or computes. */
static int process_of(const writer *w, int rank, int place)
{
    return w->ranks * (1 + place) + rank;
}

/* The receives and sends of a rank in the round of the bucket that starts with `t`; returns the
 * next round. */
static const dn_transfer *write_round(const writer *w, FILE *file, int rank, int place,
                                      const dn_bucket *bucket, const dn_transfer *t)
{
    const dn_transfer *end = bucket->schedule->transfer + bucket->schedule->count;
    const int me = process_of(w, rank, place), round = t->round;
    int messages = 0;
    for (; t < end && t->round == round; t++) {
        const int from = t->from.rank, to = t->to.rank;
        if (from == to || (from != rank && to != rank))
            continue;
        const double share = (double)(t->last - t->first) / bucket->segments;
        fprintf(file, "%d %s %d %d %.0f\n", me, to == rank ? "irecv" : "isend",
                process_of(w, to == rank ? from : to, place), ROUND + round,
                share * bucket->count * sizeof(float));
        messages++;
    }
    if (messages > 0)
        fprintf(file, "%d waitall\n", me);
    return t;
}

static void write_rounds(const writer *w, FILE *file, int rank, int place, const dn_bucket *bucket)
{
    const dn_transfer *t = bucket->schedule->transfer, *end = t + bucket->schedule->count;
    while (t < end)
        t = write_round(w, file, rank, place, bucket, t);
}

/* Forward, backward with its buckets, the wait for their sums, the scores, update. */
static int write_compute(const writer *w, int rank)
{
    const dn_profile *p = &w->profile;
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
            fprintf(file, "%d isend %d %d 0\n", rank, process_of(w, rank, b % PLACES), READY);
            seconds = 0;
        }
    }
    fprintf(file, "%d compute %.0f\n", rank, seconds * 1e9);
    for (b = 0; b < w->buckets; b++)
        fprintf(file, "%d recv %d %d 0\n", rank, process_of(w, rank, b % PLACES), DONE);
    write_rounds(w, file, rank, COMPUTES, &w->scores);
    fprintf(file, "%d compute %.0f\n", rank, p->update * 1e9);
    return close_trace(file, rank);
}

static int write_place(const writer *w, int rank, int place)
{
    const int me = process_of(w, rank, place);
    FILE *file = open_trace(w, me);
    if (file == NULL)
        return 0;
    for (int b = place; b < w->buckets; b += PLACES) {
        fprintf(file, "%d recv %d %d 0\n", me, rank, READY);
        write_rounds(w, file, rank, place, &w->bucket[b]);
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

static dn_status plan_bucket(writer *w, dn_bucket *bucket)
{
    dn_comm_schedule *s = &w->schedule[dn_comm_schedule_slot(bucket->segments)];
    if (s->segments == 0)
        DN_TRY(dn_comm_schedule_create(s, w->ranks, w->ranks, DN_ALL_RANKS, bucket->segments));
    bucket->schedule = s;
    return DN_OK;
}

/* The buckets that the sum would use, and their schedules. */
static dn_status plan_step(writer *w, double bucket_mb)
{
    const size_t floats = w->profile.floats;
    const dn_allreduce_settings settings = dn_step_sum(&(dn_step_settings){.bucket_mb = bucket_mb},
                                                       floats, floats - w->profile.statistics);
    DN_TRY(dn_allreduce_cut(&settings, w->ranks, &w->bucket, &w->buckets));
    for (int b = 0; b < w->buckets; b++)
        DN_TRY(plan_bucket(w, &w->bucket[b]));
    w->scores = (dn_bucket){.count = 2, .segments = 1};
    return plan_bucket(w, &w->scores);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: step_traces PROFILE RANKS BUCKET_MB FOLDER\n");
        return 2;
    }
    writer w = {.ranks = atoi(argv[2]), .folder = argv[4]};
    dn_status status;
    DN_TRY_OR_DONE(dn_profile_read(&w.profile, argv[1]));
    DN_TRY_OR_DONE(plan_step(&w, atof(argv[3])));
    if (!write_all(&w))
        status = dn_fail(DN_EIO, "%s: traces not written", w.folder);
    else
        printf("%d\n", w.ranks * (1 + PLACES));
done:
    if (status != DN_OK)
        fprintf(stderr, "step_traces: %s\n", dn_message());
    for (int i = 0; i < DN_SCHEDULES; i++)
        dn_comm_schedule_destroy(&w.schedule[i]);
    free(w.bucket);
    dn_profile_destroy(&w.profile);
    return status != DN_OK;
}
