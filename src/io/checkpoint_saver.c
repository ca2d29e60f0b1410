/*
 * Saves in the background; see include/dn/checkpoint.h.
 *
 * The calling thread copies the arrays into memory that lasts as long as the saver; a thread of its
 * own for each file builds and writes it from there. The copy is written only while no such thread
 * runs: dn_saver_start joins the one before.
 */
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_file.h"

enum { PIECE = 1 << 18 }; /* floats that one OpenMP thread copies at a time */

struct dn_saver {
    const char *folder;
    int keep;
    dn_snapshot snapshot;
    pthread_t thread;
    int is_writing;          /* the thread has to be joined */
    double seconds, longest; /* of the last write; of those that were joined */
    dn_status status;        /* of the last write, until it was reported */
    char message[1024];
};

dn_status dn_saver_create(dn_saver **saver, const dn_net *net, const char *folder, int keep)
{
    const dn_view view = dn_net_view(net);
    const size_t floats = 2 * view.parameter_count + view.running_count;
    dn_saver *s = calloc(1, sizeof *s);
    float *copy = malloc(floats * sizeof *copy);
    if (s == NULL || copy == NULL) {
        free(s);
        free(copy);
        return dn_fail(DN_ENOMEM, "memory: found none to copy %zu floats for checkpoints", floats);
    }
    *s = (dn_saver){.folder = folder, .keep = keep};
    s->snapshot = (dn_snapshot){.net = net,
                                .parameters = copy,
                                .momentum = copy + view.parameter_count,
                                .running = copy + 2 * view.parameter_count};
    *saver = s;
    return DN_OK;
}

static void copy_floats(float *to, const float *from, size_t count)
{
#pragma omp parallel for schedule(static)
    for (size_t begin = 0; begin < count; begin += PIECE)
        memcpy(to + begin, from + begin,
               (count - begin < PIECE ? count - begin : PIECE) * sizeof *to);
}

static void copy_weights(dn_snapshot *s, const dn_checkpoint *state)
{
    const dn_view view = dn_net_view(s->net);
    copy_floats(s->parameters, view.parameters, view.parameter_count);
    copy_floats(s->running, view.running, view.running_count);
    s->state = *state;
    if (state->momentum) {
        copy_floats(s->momentum, state->momentum, view.parameter_count);
        s->state.momentum = s->momentum;
    }
}

static void *write_file(void *user)
{
    dn_saver *s = user;
    const double start = omp_get_wtime();
    s->status = dn_snapshot_write(&s->snapshot, s->folder, s->keep);
    if (s->status != DN_OK)
        snprintf(s->message, sizeof s->message, "%s", dn_message());
    s->seconds = omp_get_wtime() - start;
    return NULL;
}

static void join(dn_saver *s)
{
    if (s->is_writing)
        pthread_join(s->thread, NULL);
    s->is_writing = 0;
    s->longest = s->seconds > s->longest ? s->seconds : s->longest;
}

dn_status dn_saver_start(dn_saver *s, const dn_checkpoint *state)
{
    if (s == NULL)
        return DN_OK;
    DN_TRY(dn_saver_wait(s));
    copy_weights(&s->snapshot, state);
    s->is_writing = pthread_create(&s->thread, NULL, write_file, s) == 0;
    if (!s->is_writing) /* the system is short of threads, not of disks */
        write_file(s);
    return DN_OK;
}

dn_status dn_saver_wait(dn_saver *s)
{
    if (s == NULL)
        return DN_OK;
    join(s);
    const dn_status status = s->status;
    s->status = DN_OK;
    return status == DN_OK ? DN_OK : dn_fail(status, "%s", s->message);
}

double dn_saver_longest(const dn_saver *s)
{
    return s == NULL ? 0 : s->longest;
}

void dn_saver_destroy(dn_saver **saver)
{
    dn_saver *s = *saver;
    if (s == NULL)
        return;
    join(s);
    if (s->status != DN_OK)
        dn_warn("%s", s->message);
    free(s->snapshot.parameters);
    free(s);
    *saver = NULL;
}
