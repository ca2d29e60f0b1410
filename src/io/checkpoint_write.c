/*
 * Writes checkpoints in the background; see include/dn/checkpoint.h. Saving before the process is
 * killed is in checkpoint_rescue.c.
 *
 * The calling thread copies the vectors; a thread per file builds and writes it from the copy. The
 * copy is only overwritten while no such thread runs: dn_saver_start joins the previous one.
 *
 * The HDF5 library crashes when the disk is full, so it builds the file in memory, and
 * dn_file_write writes it to disk.
 */
#include "checkpoint_saver.h"

#include <fcntl.h>
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "checkpoint_file.h"
#include "dn/file.h"
#include "weights_file.h"

enum { PIECE = 1 << 18 }; /* floats per OpenMP chunk of a copy */

/* ---- the file; these return 0 if HDF5 fails, in memory only for lack of it ---- */

static int write_batches_tracked(hid_t file, char *running_var, int64_t step)
{
    dn_batches_tracked_name(running_var);
    return dn_hdf5_write(file, running_var, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &step);
}

/* Writes the tensors of `parameters` and, unless it is NULL, of `running`. */
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

dn_status dn_saver_build(const dn_saver *s, char **bytes, size_t *count)
{
    uint8_t *content;
    const hid_t file = dn_hdf5_create_bytes(&content);
    const int ok = write_content(s, file) && H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0;
    const ssize_t size = ok ? H5Fget_file_image(file, NULL, 0) : 0;
    H5Fclose(file);
    *bytes = size > 0 ? realloc(content, (size_t)size + DN_SEAL_BYTES + 1) : NULL;
    if (*bytes == NULL) {
        free(content);
        return dn_fail(DN_ENOMEM, "out of memory for the checkpoint of step %" PRId64,
                       s->state.step);
    }
    snprintf(*bytes + size, DN_SEAL_BYTES + 1, DN_SEAL "%016" PRIx64,
             XXH3_64bits(*bytes, (size_t)size));
    *count = (size_t)size + DN_SEAL_BYTES;
    return DN_OK;
}

dn_status dn_saver_write(const char *path, const char *suffix, const void *bytes, size_t count)
{
    struct stat info;
    DN_CHECK(stat(path, &info) != 0 || S_ISREG(info.st_mode), DN_EIO,
             "%s: cannot write: found no regular file there", path); /* a pipe would block */
    return dn_file_write_as(path, suffix, bytes, count);
}

/* Writes the best checkpoint before the one that says of which step it is, and gives it that name,
 * too: as a hard link or, if the file system has none, as a copy. */
static dn_status write_best(const dn_saver *s, const char *path, const char *bytes, size_t count)
{
    char best[PATH_MAX], link_path[PATH_MAX];
    DN_TRY(dn_join_path(best, s->folder, DN_CHECKPOINT_BEST));
    DN_TRY(dn_join_path(link_path, s->folder, DN_CHECKPOINT_BEST DN_PARTIAL));
    unlink(link_path);
    DN_TRY(dn_saver_write(best, DN_PARTIAL, bytes, count));
    const int is_linked = linkat(AT_FDCWD, best, AT_FDCWD, link_path, AT_SYMLINK_FOLLOW) == 0 &&
                          dn_file_rename(link_path, path) == DN_OK;
    unlink(link_path); /* rename does nothing if both are the same file */
    return is_linked ? DN_OK : dn_saver_write(path, DN_PARTIAL, bytes, count);
}

static dn_status write_checkpoint(dn_saver *s)
{
    char path[PATH_MAX], *bytes;
    size_t count = 0;
    dn_checkpoint_path(path, sizeof path, s->folder, s->state.step);
    dn_checkpoint_prune(s->folder, DN_PARTIAL, INT64_MAX, 0);
    pthread_mutex_lock(&s->library);
    dn_status status = dn_saver_build(s, &bytes, &count);
    pthread_mutex_unlock(&s->library);
    DN_TRY(status);
    status = s->state.is_best ? write_best(s, path, bytes, count)
                              : dn_saver_write(path, DN_PARTIAL, bytes, count);
    free(bytes);
    DN_TRY(status);
    s->written = s->state.step;
    if (s->keep > 0)
        dn_checkpoint_prune(s->folder, "", s->state.step + 1, s->keep);
    return DN_OK;
}

/* ---- the saver ---- */

dn_status dn_saver_create(dn_saver **saver, const dn_net *net, const dn_optimizer_state *optimizer,
                          const char *folder, int keep)
{
    const dn_view view = dn_net_view(net);
    const size_t floats = view.parameter_count + view.running_count + optimizer->floats;
    DN_TRY(dn_make_folders(folder));
    dn_saver *s = malloc(sizeof *s + floats * sizeof *s->copy);
    DN_CHECK(s, DN_ENOMEM, "out of memory for the checkpoints' copy of %zu floats", floats);
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

/* Copies; returns the end of the copy. */
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
    s->report = s->failure.status == DN_OK ? DN_NO_FAILURE : DN_UNREPORTED;
    s->seconds = omp_get_wtime() - start;
    return NULL;
}

/* Warns of the previous write's failure and waits for the next one: a persistent failure is
 * reported at the second save, a transient one costs only the first. The best checkpoint is written
 * again first: later ones say that it is there. */
dn_status dn_saver_start(dn_saver *s, const dn_checkpoint *state)
{
    if (s == NULL)
        return DN_OK;
    join(s);
    dn_saver_warn(s);
    const int had_failed = dn_saver_wait(s) != DN_OK;
    if (had_failed && s->state.is_best) {
        save_copy(s);
        DN_TRY(dn_saver_wait(s));
    }
    const dn_view net = dn_net_view(s->net);
    float *to = copy_floats(s->copy, net.parameters, net.parameter_count);
    to = copy_floats(to, net.running, net.running_count);
    to = copy_floats(to, s->optimizer->vectors, s->optimizer->floats);
    s->state = *state;
    if (!is_copy_finite(s, (size_t)(to - s->copy)))
        return dn_saver_check_finite(s);
    s->is_writing = pthread_create(&s->thread, NULL, save_copy, s) == 0;
    if (!s->is_writing) /* no thread could be started: write in this one */
        save_copy(s);
    return had_failed ? dn_saver_wait(s) : DN_OK;
}

void dn_saver_warn(dn_saver *s)
{
    if (s == NULL || s->report != DN_UNREPORTED)
        return;
    dn_warn("%s; training continues and will try the next checkpoint", s->failure.message);
    s->report = DN_WARNED_OF;
}

dn_status dn_saver_wait(dn_saver *s)
{
    if (s == NULL)
        return DN_OK;
    join(s);
    const dn_status status = dn_failure_report(&s->failure);
    s->failure.status = DN_OK;
    s->report = DN_NO_FAILURE;
    return status;
}

double dn_saver_longest(const dn_saver *s)
{
    return s == NULL ? 0 : s->longest;
}

void dn_saver_destroy(dn_saver **saver)
{
    dn_saver *const s = *saver;
    if (s != NULL) {
        join(s);
        if (s->report == DN_UNREPORTED) /* dn_message stays: it is the run's failure */
            dn_warn("%s", s->failure.message);
        pthread_mutex_destroy(&s->library);
    }
    free(s);
    *saver = NULL;
}
