/*
 * Writes a checkpoint; see include/dn/checkpoint.h.
 *
 * The HDF5 library crashes when the disk is full, so it writes into memory, from which
 * dn_file_write takes the bytes to the disk. HDF5 calls on an object that could not be opened fail
 * in their turn, so only the last of a chain of calls is tested.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "checkpoint_file.h"
#include "dn/checkpoint.h"
#include "dn/file.h"
#include "dn/hdf5.h"

enum { GROWTH = 4 << 20 }; /* bytes by which the file in memory grows */

/* These return 0 when HDF5 fails, which in memory only its lack can cause. */

static int write_tensor(hid_t group, const dn_tensor *tensor, const float *values)
{
    hsize_t shape[4];
    for (int i = 0; i < tensor->rank; i++)
        shape[i] = (hsize_t)tensor->shape[i];
    return dn_hdf5_write(group, tensor->name, H5T_IEEE_F32LE,
                         H5Screate_simple(tensor->rank, shape, NULL), values);
}

/* torchvision's third buffer of a batch norm, beside its running_var. */
static int write_batches_tracked(hid_t group, const dn_tensor *tensor, int64_t step)
{
    char name[sizeof tensor->name + 32];
    const int length = (int)(strrchr(tensor->name, '.') - tensor->name);
    snprintf(name, sizeof name, "%.*s.num_batches_tracked", length, tensor->name);
    return dn_hdf5_write(group, name, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &step);
}

static int write_tensors(hid_t file, const dn_snapshot *snapshot)
{
    const dn_checkpoint *state = &snapshot->state;
    const dn_view net = dn_net_view(snapshot->net);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    const hid_t model = H5Gcreate2(file, DN_CHECKPOINT_MODEL, links, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t momentum =
        state->momentum ? H5Gcreate2(file, DN_CHECKPOINT_MOMENTUM, links, H5P_DEFAULT, H5P_DEFAULT)
                        : -1;
    int ok = 1;
    for (int i = 0; ok && i < net.tensor_count; i++) {
        const dn_tensor *t = &net.tensors[i];
        const float *values = dn_is_running(t) ? snapshot->running : snapshot->parameters;
        ok = write_tensor(model, t, values + t->offset);
        if (ok && t->kind == DN_RUNNING_VAR)
            ok = write_batches_tracked(model, t, state->step);
        if (ok && !dn_is_running(t) && state->momentum)
            ok = write_tensor(momentum, t, state->momentum + t->offset);
    }
    if (state->momentum)
        H5Gclose(momentum);
    H5Gclose(model);
    H5Pclose(links);
    return ok;
}

static int write_file(hid_t file, const dn_snapshot *snapshot)
{
    const dn_checkpoint *state = &snapshot->state;
    char hash[DN_HASH_DIGITS + 1];
    const hid_t text = dn_hdf5_text_type(strlen(state->config) + 1);
    snprintf(hash, sizeof hash, "%016" PRIx64, state->hash);
    const int ok = write_tensors(file, snapshot) &&
                   dn_hdf5_write(file, "config", text, H5Screate(H5S_SCALAR), state->config) &&
                   dn_hdf5_put_text(file, "format", DN_CHECKPOINT_FORMAT) &&
                   dn_hdf5_put_integer(file, "format_version", DN_CHECKPOINT_VERSION) &&
                   dn_hdf5_put_text(file, "model", dn_net_view(snapshot->net).spec->name) &&
                   dn_hdf5_put_integer(file, "step", state->step) &&
                   dn_hdf5_put_text(file, "weights_hash", hash) &&
                   dn_hdf5_put_text(file, "data", state->data);
    H5Tclose(text);
    return ok;
}

/* bytes(count) = a copy of the HDF5 file, NULL when there is no memory for it; then the seal. */
static char *copy_file(hid_t file, size_t *count)
{
    const ssize_t size =
        H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0 ? H5Fget_file_image(file, NULL, 0) : -1;
    char *bytes = size > 0 ? malloc((size_t)size + DN_SEAL_BYTES + 1) : NULL;
    if (bytes && H5Fget_file_image(file, bytes, (size_t)size) == size) {
        const uint64_t checksum = XXH3_64bits(bytes, (size_t)size);
        snprintf(bytes + size, DN_SEAL_BYTES + 1, DN_SEAL "%016" PRIx64, checksum);
        *count = (size_t)size + DN_SEAL_BYTES;
        return bytes;
    }
    free(bytes);
    return NULL;
}

/* bytes(count) = the checkpoint's file; the caller frees it. */
static dn_status build(const dn_snapshot *snapshot, char **bytes, size_t *count)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail alone */
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_core(access, GROWTH, 0);
    const hid_t file = H5Fcreate("checkpoint", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    *bytes = write_file(file, snapshot) ? copy_file(file, count) : NULL;
    H5Fclose(file);
    H5Pclose(access);
    DN_CHECK(*bytes, DN_ENOMEM, "out of memory while building the checkpoint of step %" PRId64,
             snapshot->state.step);
    return DN_OK;
}

dn_status dn_snapshot_write(const dn_snapshot *snapshot, const char *folder, int keep)
{
    const int64_t step = snapshot->state.step;
    char name[64], path[PATH_MAX];
    char *bytes;
    size_t count = 0;
    dn_checkpoint_name(name, sizeof name, step);
    DN_TRY(dn_join_path(path, folder, name));
    DN_TRY(dn_make_folders(folder));
    dn_checkpoint_remove_partials(folder);
    DN_TRY(build(snapshot, &bytes, &count));
    const dn_status status = dn_file_write(path, bytes, count);
    free(bytes);
    if (status == DN_OK && keep > 0)
        dn_checkpoint_prune(folder, step, keep);
    return status;
}
