/*
 * Records spans in memory, and writes them on rank 0; see timeline.h.
 *
 * Clocks of different hosts are unrelated: a barrier at the start defines a common zero, whose
 * error is at most the barrier's time. At the end each rank in turn sends its spans to rank 0.
 */
#include "job/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"

enum { SPANS_TAG = 0 };

typedef struct span {
    int kind, slot;
    int64_t number;
    double start, end; /* since the start of the timeline */
} span;

/* What a rank sends to rank 0. */
typedef struct record {
    int count;
    int64_t dropped;
    span spans[DN_TIMELINE_SPANS];
} record;

struct dn_timeline {
    const dn_comm *comm;
    const char *path;
    FILE *file; /* rank 0; until it is complete its name is: */
    char partial[PATH_MAX], target[PATH_MAX];
    double zero;
    record own;
};

/* The rows of a rank; the last is followed by those of further slots. */
enum { ROW_COMPUTE, ROW_WAIT, ROW_COMMUNICATE };

static const char *const row_names[] = {"computation", "waiting", "communication"};

static const struct {
    const char *name, *counts; /* the name of its number */
    int row;
} kinds[DN_SPANS] = {
    [DN_SPAN_LOAD] = {"load", "virtual rank", ROW_COMPUTE},
    [DN_SPAN_FORWARD] = {"forward", "virtual rank", ROW_COMPUTE},
    [DN_SPAN_BACKWARD] = {"backward", "virtual rank", ROW_COMPUTE},
    [DN_SPAN_UPDATE] = {"update", "step", ROW_COMPUTE},
    [DN_SPAN_EVALUATE] = {"evaluate", "step", ROW_COMPUTE},
    [DN_SPAN_SAVE] = {"checkpoint", "step", ROW_COMPUTE},
    [DN_SPAN_WAIT] = {"wait", "step", ROW_WAIT},
    [DN_SPAN_STATISTICS] = {"statistics", "doubles", ROW_WAIT},
    [DN_SPAN_BUCKET] = {"bucket", "bucket", ROW_COMMUNICATE},
};

/* An existing trace is replaced when the new one is complete. */
static dn_status open_file(dn_timeline *t, const char *path)
{
    t->path = path;
    DN_TRY(dn_file_check_kind(path, "timeline", 0, "{\"displayTimeUnit\""));
    DN_TRY(dn_file_places(path, DN_PARTIAL, t->partial, t->target));
    t->file = fopen(t->partial, "we");
    DN_CHECK(t->file != NULL, DN_EIO, "--timeline: cannot write %s: %s", path, strerror(errno));
    return DN_OK;
}

static void drop_file(dn_timeline *t)
{
    if (t == NULL || t->file == NULL)
        return;
    fclose(t->file);
    if (strcmp(t->partial, t->target) != 0)
        unlink(t->partial);
}

static dn_status close_file(dn_timeline *t)
{
    errno = EIO; /* if an earlier write failed */
    const int good = fflush(t->file) == 0 && !ferror(t->file);
    const int error = good ? dn_file_flush(fileno(t->file)) : errno;
    if (error) {
        drop_file(t);
        return dn_fail(DN_EIO, "--timeline: cannot write %s: %s", t->path, strerror(error));
    }
    fclose(t->file);
    if (strcmp(t->partial, t->target) == 0)
        return DN_OK;
    const dn_status status = dn_file_rename(t->partial, t->target);
    if (status != DN_OK)
        unlink(t->partial);
    return status;
}

dn_status dn_timeline_create(dn_timeline **timeline, const dn_comm *comm, const char *path)
{
    *timeline = NULL;
    if (path[0] == '\0')
        return DN_OK;
    dn_timeline *t = calloc(1, sizeof *t);
    dn_status status =
        t != NULL ? comm->rank == 0 ? open_file(t, path) : DN_OK
                  : dn_fail(DN_ENOMEM, "--timeline: out of memory for %d spans", DN_TIMELINE_SPANS);
    status = dn_comm_agree(comm, status);
    if (status != DN_OK) {
        drop_file(t);
        free(t);
        return status;
    }
    t->comm = comm;
    DN_COLLECTIVE(comm, MPI_Barrier(comm->world));
    t->zero = omp_get_wtime();
    *timeline = t;
    return DN_OK;
}

void dn_timeline_add(dn_timeline *t, dn_span kind, int64_t number, int slot, double start,
                     double end)
{
    if (t == NULL)
        return;
    if (t->own.count == DN_TIMELINE_SPANS)
        t->own.dropped++;
    else
        t->own.spans[t->own.count++] = (span){kind, slot, number, start - t->zero, end - t->zero};
}

/* Prints the names of a rank and of its rows, and its spans. */
static void print_rank(FILE *file, const dn_comm *comm, int rank, const record *r)
{
    int last_row = ROW_COMMUNICATE;
    fprintf(file,
            "%s{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\","
            "\"args\":{\"name\":\"rank %d on %s\",\"dropped\":%" PRId64 "}}",
            rank > 0 ? ",\n" : "", rank, rank, comm->host[rank], r->dropped);
    for (int i = 0; i < r->count; i++) {
        const span *s = &r->spans[i];
        const int row = kinds[s->kind].row + s->slot;
        last_row = row > last_row ? row : last_row;
        fprintf(file,
                ",\n{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"ts\":%.1f,\"dur\":%.1f,"
                "\"args\":{\"%s\":%" PRId64 "}}",
                rank, row, kinds[s->kind].name, s->start * 1e6, (s->end - s->start) * 1e6,
                kinds[s->kind].counts, s->number);
    }
    for (int row = 0; row <= last_row; row++)
        fprintf(file,
                ",\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\","
                "\"args\":{\"name\":\"%s\"}}",
                rank, row, row_names[row < ROW_COMMUNICATE ? row : ROW_COMMUNICATE]);
}

/* Rank 0: writes all ranks' records, one after another, and closes the file. */
static dn_status write_trace(dn_timeline *t)
{
    const dn_comm *comm = t->comm;
    record *r = &t->own;
    int64_t dropped = 0;
    fprintf(t->file, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    for (int rank = 0; rank < comm->size; rank++) {
        if (rank > 0)
            DN_WAIT_FOR(
                comm, rank,
                MPI_Recv(r, sizeof *r, MPI_BYTE, rank, SPANS_TAG, comm->world, MPI_STATUS_IGNORE));
        print_rank(t->file, comm, rank, r);
        dropped += r->dropped;
    }
    fprintf(t->file, "\n]}\n");
    if (dropped > 0)
        dn_warn("--timeline: kept the first %d spans of each rank, %" PRId64 " came later",
                DN_TIMELINE_SPANS, dropped);
    return close_file(t);
}

/* Sends this rank's record to rank 0, which writes the trace. Collective. */
static dn_status hand_in(dn_timeline *t)
{
    dn_status status = DN_OK;
    const size_t bytes = offsetof(record, spans) + (size_t)t->own.count * sizeof(span);
    if (t->comm->rank == 0)
        status = write_trace(t);
    else
        DN_WAIT_FOR(t->comm, 0,
                    MPI_Send(&t->own, (int)bytes, MPI_BYTE, 0, SPANS_TAG, t->comm->world));
    return dn_comm_agree(t->comm, status);
}

dn_status dn_timeline_close(dn_timeline **timeline, dn_status status)
{
    dn_timeline *t = *timeline;
    if (t == NULL)
        return status;
    const int has_failed = status != DN_OK && status != DN_STOPPED;
    if (dn_comm_max(t->comm, has_failed)) {
        drop_file(t);
    } else {
        const dn_status written = hand_in(t);
        status = status != DN_OK ? status : written;
    }
    free(t);
    *timeline = NULL;
    return status;
}
