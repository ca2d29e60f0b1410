/*
 * Writes checkpoints in the background; see include/dn/checkpoint.h.
 *
 * The calling thread copies the vectors; a thread of its own for each file builds and writes it
 * from there. The copy is written only while no such thread runs: dn_saver_start joins the one
 * before.
 *
 * The HDF5 library crashes when the disk is full, so it writes into memory, from which
 * dn_file_write takes the bytes to the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "checkpoint_file.h"
#include "dn/child.h"
#include "dn/file.h"
#include "weights_file.h"

enum {
    GROWTH = 4 << 20,   /* bytes by which the file in memory grows */
    PIECE = 1 << 18,    /* floats that one OpenMP thread copies at a time */
    CHILD_SECONDS = 600 /* after which a child that saves gives up */
};

/* What a child's file ends in until it is whole: the parent may be writing, too. */
#define DN_RESCUED ".rescued"

struct dn_saver {
    const dn_net *net;
    const dn_optimizer_state *optimizer;
    const char *folder;
    int keep;
    dn_checkpoint state;
    pthread_t thread;
    int is_writing;          /* the thread has to be joined */
    double seconds, longest; /* of the last write; of those that were joined */
    dn_failure failure;      /* of the last write, until it was reported */
    _Atomic int has_failed;  /* the failure is there: the thread has ended, or will at once */
    int has_warned;          /* of that failure */
    _Atomic int64_t written; /* the step of the last file that is on the disk, -1 before */
    pthread_mutex_t library; /* HDF5's: no child is forked while a thread is inside */
    const float *parameters, *running, *vectors; /* what is written: in `copy`, but in a child */
    float copy[]; /* of parameters, running statistics, the optimizer's vectors */
};

/* ---- the file; these return 0 when HDF5 fails, which in memory only its lack can cause ---- */

static int write_batches_tracked(hid_t file, char *running_var, int64_t step)
{
    dn_batches_tracked_name(running_var);
    return dn_hdf5_write(file, running_var, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &step);
}

/* The tensors of `parameters` and, unless it is NULL, of `running`. */
static int write_group(const dn_saver *s, hid_t file, const char *group, const float *parameters,
                       const float *running)
{
    const dn_view net = dn_net_view(s->net);
    char name[DN_TENSOR_PATH];
    int ok = 1;
    for (int i = 0; ok && i < net.tensor_count; i++) {
        const dn_tensor *t = &net.tensors[i];
        const float *values = dn_is_parameter(t) ? parameters : running;
        if (values == NULL)
            continue;
        snprintf(name, sizeof name, "%s/%s", group, t->name);
        ok = dn_hdf5_write(file, name, H5T_IEEE_F32LE, dn_tensor_space(t), values + t->offset) &&
             (t->kind != DN_RUNNING_VAR || write_batches_tracked(file, name, s->state.step));
    }
    return ok;
}

static int write_data_set(const dn_checkpoint *state, hid_t file)
{
    const hsize_t bytes = state->data_set_bytes;
    return dn_hdf5_write(file, "data_set", H5T_STD_U8LE, H5Screate_simple(1, &bytes, NULL),
                         state->data_set);
}

static int write_state(const dn_saver *s, hid_t file)
{
    dn_checkpoint_file f = {.state = s->state};
    snprintf(f.model, sizeof f.model, "%s", dn_net_view(s->net).spec->name);
    snprintf(f.optimizer, sizeof f.optimizer, "%s", s->optimizer->optimizer->name);
    snprintf(f.hash, sizeof f.hash, "%016" PRIx64, s->state.hash);
    return dn_checkpoint_write_state(&f, file) && write_data_set(&s->state, file);
}

static int write_content(const dn_saver *s, hid_t file)
{
    const dn_view net = dn_net_view(s->net);
    const float *vector = s->vectors;
    const char *const *states = s->optimizer->optimizer->states;
    char group[64];
    int ok = write_group(s, file, "model", s->parameters, s->running);
    for (int i = 0; ok && states[i]; i++, vector += net.parameter_count) {
        snprintf(group, sizeof group, "optimizer/%s", states[i]);
        ok = write_group(s, file, group, vector, NULL);
    }
    if (ok && s->optimizer->average != NULL)
        ok = write_group(s, file, DN_AVERAGE_GROUP, vector, vector + net.parameter_count);
    return ok && write_state(s, file);
}

/* bytes(count) = the checkpoint's file, sealed; the caller frees it. */
static dn_status build_file(const dn_saver *s, char **bytes, size_t *count)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail alone */
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_core(access, GROWTH, 0);
    const hid_t file = H5Fcreate("checkpoint", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    const int ok = write_content(s, file) && H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0;
    const ssize_t size = ok ? H5Fget_file_image(file, NULL, 0) : 0;
    *bytes = size <= 0 ? NULL : malloc((size_t)size + DN_SEAL_BYTES + 1);
    const int is_whole = *bytes && H5Fget_file_image(file, *bytes, (size_t)size) == size;
    H5Fclose(file);
    H5Pclose(access);
    if (!is_whole) {
        free(*bytes);
        return dn_fail(DN_ENOMEM, "memory: found none to build the checkpoint of step %" PRId64,
                       s->state.step);
    }
    snprintf(*bytes + size, DN_SEAL_BYTES + 1, DN_SEAL "%016" PRIx64,
             XXH3_64bits(*bytes, (size_t)size));
    *count = (size_t)size + DN_SEAL_BYTES;
    return DN_OK;
}

/* The file under the name of the best, too: as a link, or where the file system has none as a copy.
 */
static dn_status name_best(const dn_saver *s, const char *path, const char *bytes, size_t count)
{
    char best[PATH_MAX], link_path[PATH_MAX];
    DN_TRY(dn_join_path(best, s->folder, DN_CHECKPOINT_BEST));
    DN_TRY(dn_join_path(link_path, s->folder, DN_CHECKPOINT_BEST DN_PARTIAL));
    unlink(link_path);
    const int is_linked = link(path, link_path) == 0 && dn_file_rename(link_path, best) == DN_OK;
    unlink(link_path); /* rename leaves it where both are the same file */
    return is_linked ? DN_OK : dn_file_write(best, bytes, count);
}

static dn_status write_checkpoint(dn_saver *s)
{
    char path[PATH_MAX], *bytes;
    size_t count = 0;
    dn_checkpoint_path(path, sizeof path, s->folder, s->state.step);
    dn_checkpoint_prune(s->folder, DN_PARTIAL, INT64_MAX, 0);
    pthread_mutex_lock(&s->library);
    dn_status status = build_file(s, &bytes, &count);
    pthread_mutex_unlock(&s->library);
    DN_TRY(status);
    status = dn_file_write(path, bytes, count);
    if (status == DN_OK)
        s->written = s->state.step;
    if (status == DN_OK && s->state.is_best)
        status = name_best(s, path, bytes, count);
    free(bytes);
    if (status == DN_OK && s->keep > 0)
        dn_checkpoint_prune(s->folder, "", s->state.step + 1, s->keep);
    return status;
}

/* ---- the saver ---- */

dn_status dn_saver_create(dn_saver **saver, const dn_net *net, const dn_optimizer_state *optimizer,
                          const char *folder, int keep)
{
    const dn_view view = dn_net_view(net);
    const size_t floats = view.parameter_count + view.running_count + optimizer->floats;
    DN_TRY(dn_make_folders(folder));
    dn_saver *s = malloc(sizeof *s + floats * sizeof *s->copy);
    DN_CHECK(s, DN_ENOMEM, "memory: found none to copy %zu floats for checkpoints", floats);
    *s = (dn_saver){.net = net, .optimizer = optimizer, .folder = folder, .keep = keep};
    s->written = -1;
    s->parameters = s->copy;
    s->running = s->parameters + view.parameter_count;
    s->vectors = s->running + view.running_count;
    pthread_mutex_init(&s->library, NULL);
    dn_checkpoint_prune(folder, DN_RESCUED, INT64_MAX, 0);
    *saver = s;
    return DN_OK;
}

/* Returns the end of the copy. */
static float *copy_floats(float *to, const float *from, size_t count)
{
#pragma omp parallel for schedule(static)
    for (size_t begin = 0; begin < count; begin += PIECE)
        memcpy(to + begin, from + begin,
               (count - begin < PIECE ? count - begin : PIECE) * sizeof *to);
    return to + count;
}

static int is_copy_finite(const dn_saver *s, size_t count)
{
    int bad = 0;
#pragma omp parallel for schedule(static) reduction(| : bad)
    for (size_t begin = 0; begin < count; begin += PIECE)
        bad |= !dn_are_finite(s->copy + begin, count - begin < PIECE ? count - begin : PIECE);
    return !bad;
}

static dn_status check_finite(const dn_saver *s)
{
    return dn_checkpoint_check_finite(s->net, s->optimizer, s->state.step, s->parameters,
                                      s->running, s->vectors);
}

static void join(dn_saver *s)
{
    if (s->is_writing)
        pthread_join(s->thread, NULL);
    s->is_writing = 0;
    s->longest = s->seconds > s->longest ? s->seconds : s->longest;
}

static void *save_copy(void *user)
{
    dn_saver *s = user;
    const double start = omp_get_wtime();
    dn_failure_keep(&s->failure, write_checkpoint(s));
    s->has_failed = s->failure.status != DN_OK;
    s->seconds = omp_get_wtime() - start;
    return NULL;
}

/* Warns of a failure that was met before, and waits for what is written after it: what lasts is
 * told at the second save, and what passed cost only the first. */
dn_status dn_saver_start(dn_saver *s, const dn_checkpoint *state)
{
    if (s == NULL)
        return DN_OK;
    join(s);
    dn_saver_warn(s);
    const int had_failed = dn_saver_wait(s) != DN_OK;
    const dn_view net = dn_net_view(s->net);
    float *to = copy_floats(s->copy, net.parameters, net.parameter_count);
    to = copy_floats(to, net.running, net.running_count);
    to = copy_floats(to, s->optimizer->vectors, s->optimizer->floats);
    s->state = *state;
    if (!is_copy_finite(s, (size_t)(to - s->copy)))
        return check_finite(s);
    s->is_writing = pthread_create(&s->thread, NULL, save_copy, s) == 0;
    if (!s->is_writing) /* the system is short of threads, not of disks */
        save_copy(s);
    return had_failed ? dn_saver_wait(s) : DN_OK;
}

void dn_saver_warn(dn_saver *s)
{
    if (s == NULL || !s->has_failed || s->has_warned)
        return;
    dn_warn("%s; training goes on, the next checkpoint is tried all the same", s->failure.message);
    s->has_warned = 1;
}

dn_status dn_saver_wait(dn_saver *s)
{
    if (s == NULL)
        return DN_OK;
    join(s);
    const dn_status status = dn_failure_report(&s->failure);
    s->failure.status = DN_OK;
    s->has_failed = s->has_warned = 0;
    return status;
}

double dn_saver_longest(const dn_saver *s)
{
    return s == NULL ? 0 : s->longest;
}

void dn_saver_destroy(dn_saver **saver)
{
    const int is_known = *saver != NULL && (*saver)->has_warned;
    if (dn_saver_wait(*saver) != DN_OK && !is_known)
        dn_warn("%s", dn_message());
    if (*saver != NULL)
        pthread_mutex_destroy(&(*saver)->library);
    free(*saver);
    *saver = NULL;
}

/* ---- a child that saves ---- */

/* The net's state itself, which in a child nobody changes. */
static dn_status write_rescued(dn_saver *s, const char *path)
{
    char *bytes;
    size_t count = 0;
    s->parameters = dn_net_view(s->net).parameters;
    s->running = dn_net_view(s->net).running;
    s->vectors = s->optimizer->vectors;
    s->state.hash = dn_net_hash(s->net);
    DN_TRY(check_finite(s));
    DN_TRY(build_file(s, &bytes, &count));
    DN_TRY(dn_file_write_as(path, DN_RESCUED, bytes, count));
    if (s->keep > 0)
        dn_checkpoint_prune(s->folder, "", s->state.step + 1, s->keep);
    return DN_OK;
}

/* Says what was saved. mpirun may have ended, and what this process had for standard error with it:
 * then mpirun's own is where its user looks. */
static void say_rescued(const char *line, int launcher)
{
    if (dprintf(STDERR_FILENO, "%s", line) < 0 && launcher >= 0)
        dprintf(launcher, "%s", line);
}

static _Noreturn void save_as_child(dn_saver *s, const dn_checkpoint *state, int is_swapped,
                                    const char *path, int launcher)
{
    char line[PATH_MAX + 256];
    const dn_view net = dn_net_view(s->net);
    dn_optimizer_state optimizer = *s->optimizer;
    alarm(CHILD_SECONDS);
    s->state = *state;
    if (is_swapped)
        dn_optimizer_swap_average(&optimizer, &net, 1);
    const dn_status status = write_rescued(s, path);
    snprintf(line, sizeof line,
             "dn_dist: the running step may be cut off: the state after step %" PRId64
             " is %s %s\n",
             state->step,
             status == DN_OK ? "saved in" : "not saved:", status == DN_OK ? path : dn_message());
    say_rescued(line, launcher);
    _exit(status != DN_OK);
}

void dn_saver_rescue(dn_saver *s, const dn_checkpoint *state, int is_swapped)
{
    char path[PATH_MAX], launcher[64];
    dn_checkpoint_path(path, sizeof path, s->folder, state->step);
    if (s->written == state->step || strcmp(path, state->path) == 0)
        return;
    snprintf(launcher, sizeof launcher, "/proc/%d/fd/2", (int)getppid());
    pthread_mutex_lock(&s->library);
    const pid_t child = dn_child_detach();
    if (child == 0)
        save_as_child(s, state, is_swapped, path,
                      open(launcher, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC));
    pthread_mutex_unlock(&s->library);
    if (child < 0)
        dn_warn("the running step may be cut off, and no process can start that saves the state "
                "after step %" PRId64 ": %s",
                state->step, strerror(errno));
}
