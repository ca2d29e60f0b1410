/*
 * Writes checkpoints in the background; see include/dn/checkpoint.h.
 *
 * The calling thread copies the vectors; a thread of its own for each file builds and writes it
 * from there. The copy is written only while no such thread runs: dn_saver_start joins the one
 * before.
 *
 * The HDF5 library crashes when the disk is full, so it writes into memory, from which
 * dn_file_write takes the bytes to the disk. HDF5 calls on an object that could not be opened fail
 * in their turn, so only the last of a chain of calls is tested.
 */
#include <inttypes.h>
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "checkpoint_file.h"
#include "dn/file.h"

enum {
    GROWTH = 4 << 20, /* bytes by which the file in memory grows */
    PIECE = 1 << 18   /* floats that one OpenMP thread copies at a time */
};

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
    float copy[];            /* of parameters, running statistics, the optimizer's vectors */
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

static int write_state(const dn_saver *s, hid_t file)
{
    const dn_checkpoint *state = &s->state;
    const hsize_t doubles = DN_SCHEDULE_DOUBLES;
    const hid_t text = dn_hdf5_text_type(strlen(state->config) + 1);
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, state->hash);
    const int ok = dn_hdf5_write(file, "config", text, H5Screate(H5S_SCALAR), state->config) &&
                   dn_hdf5_write(file, "schedule_state", H5T_IEEE_F64LE,
                                 H5Screate_simple(1, &doubles, NULL), &state->schedule_state) &&
                   dn_hdf5_put_text(file, "format", DN_CHECKPOINT_FORMAT) &&
                   dn_hdf5_put_integer(file, "format_version", DN_CHECKPOINT_VERSION) &&
                   dn_hdf5_put_text(file, "model", dn_net_view(s->net).spec->name) &&
                   dn_hdf5_put_integer(file, "step", state->step) &&
                   dn_hdf5_put_text(file, "weights_hash", hash) &&
                   dn_hdf5_put_text(file, "data", state->data) &&
                   dn_hdf5_put_text(file, "optimizer", s->optimizer->optimizer->name) &&
                   dn_hdf5_put_text(file, "schedule", state->schedule);
    H5Tclose(text);
    return ok;
}

static int write_content(const dn_saver *s, hid_t file)
{
    const dn_view net = dn_net_view(s->net);
    const float *running = s->copy + net.parameter_count, *vector = running + net.running_count;
    const char *const *states = s->optimizer->optimizer->states;
    char group[64];
    int ok = write_group(s, file, "model", s->copy, running);
    for (int i = 0; ok && states[i]; i++, vector += net.parameter_count) {
        snprintf(group, sizeof group, "optimizer/%s", states[i]);
        ok = write_group(s, file, group, vector, NULL);
    }
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

static dn_status write_checkpoint(const dn_saver *s)
{
    char path[PATH_MAX], *bytes;
    size_t count = 0;
    dn_checkpoint_path(path, sizeof path, s->folder, s->state.step);
    DN_TRY(dn_make_folders(s->folder));
    dn_checkpoint_prune(s->folder, DN_PARTIAL, INT64_MAX, 0);
    DN_TRY(build_file(s, &bytes, &count));
    const dn_status status = dn_file_write(path, bytes, count);
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
    dn_saver *s = malloc(sizeof *s + floats * sizeof *s->copy);
    DN_CHECK(s, DN_ENOMEM, "memory: found none to copy %zu floats for checkpoints", floats);
    *s = (dn_saver){.net = net, .optimizer = optimizer, .folder = folder, .keep = keep};
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

static void *save_copy(void *user)
{
    dn_saver *s = user;
    const double start = omp_get_wtime();
    dn_failure_keep(&s->failure, write_checkpoint(s));
    s->seconds = omp_get_wtime() - start;
    return NULL;
}

dn_status dn_saver_start(dn_saver *s, const dn_checkpoint *state)
{
    if (s == NULL)
        return DN_OK;
    DN_TRY(dn_saver_wait(s));
    const dn_view net = dn_net_view(s->net);
    float *to = copy_floats(s->copy, net.parameters, net.parameter_count);
    to = copy_floats(to, net.running, net.running_count);
    copy_floats(to, s->optimizer->vectors, s->optimizer->floats);
    s->state = *state;
    s->is_writing = pthread_create(&s->thread, NULL, save_copy, s) == 0;
    if (!s->is_writing) /* the system is short of threads, not of disks */
        save_copy(s);
    return DN_OK;
}

dn_status dn_saver_wait(dn_saver *s)
{
    if (s == NULL)
        return DN_OK;
    if (s->is_writing)
        pthread_join(s->thread, NULL);
    s->is_writing = 0;
    s->longest = s->seconds > s->longest ? s->seconds : s->longest;
    const dn_status status = dn_failure_report(&s->failure);
    s->failure.status = DN_OK;
    return status;
}

double dn_saver_longest(const dn_saver *s)
{
    return s == NULL ? 0 : s->longest;
}

void dn_saver_destroy(dn_saver **saver)
{
    if (dn_saver_wait(*saver) != DN_OK)
        dn_warn("%s", dn_message());
    free(*saver);
    *saver = NULL;
}
