/*
 * Reads a checkpoint; see include/dn/checkpoint.h.
 *
 * A file is read once, into memory, where its checksum is verified and HDF5 finds it: nothing that
 * changes the file in the meantime has an effect.
 *
 * The checksum proves that a file is as it was written, not that dn_dist wrote it. The HDF5 library
 * crashes on crafted metadata, so it reads the bytes only in a child process (dn/child.h). Storage,
 * types, shapes and tensors are checked there, the state in the parent. The child's exit closes
 * what it opened.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "checkpoint_file.h"
#include "dn/child.h"
#include "dn/file.h"
#include "weights_file.h"

/* Checks that the file's bytes match the checksum at their end, which is followed by a zero byte.
 */
static dn_status check_has_seal(const char *path, const char *found, int64_t content)
{
    DN_CHECK(content > 0 && memcmp(found, DN_SEAL, strlen(DN_SEAL)) == 0, DN_ECORRUPT,
             "%s: found no checksum at the end, expected a whole checkpoint (cut short?)", path);
    return DN_OK;
}

static dn_status check_seal(const char *path, const uint8_t *bytes, size_t size)
{
    const size_t content = size < DN_SEAL_BYTES ? 0 : size - DN_SEAL_BYTES;
    const char *const found = (const char *)bytes + content;
    char expected[DN_SEAL_BYTES + 1];
    DN_TRY(check_has_seal(path, found, (int64_t)content));
    snprintf(expected, sizeof expected, DN_SEAL "%016" PRIx64, XXH3_64bits(bytes, content));
    DN_CHECK(strcmp(found, expected) == 0, DN_ECORRUPT,
             "%s: found bytes of checksum %s, expected %s (damaged)", path,
             expected + strlen(DN_SEAL), found + strlen(DN_SEAL));
    return DN_OK;
}

/* Looks for the seal first: the file may be another HDF5 file, too large to be loaded. */
static dn_status load_sealed(const char *path, uint8_t **bytes, size_t *size)
{
    char seal[DN_SEAL_BYTES] = {0};
    int64_t length;
    int file;
    DN_TRY(dn_file_open(path, &file, &length));
    const int64_t content = length - DN_SEAL_BYTES;
    dn_status status = content > 0 ? dn_file_read(file, path, seal, sizeof seal, content) : DN_OK;
    close(file);
    if (status == DN_OK)
        status = check_has_seal(path, seal, content);
    return status == DN_OK ? dn_file_load(path, bytes, size) : status;
}

/* ---- in the child ---- */

/* A dn_child_fn. */
static dn_status read_state(void *user)
{
    dn_checkpoint_file *const f = user;
    const hid_t file = dn_hdf5_open_bytes(f->bytes, f->size);
    DN_CHECK(file >= 0, DN_ECORRUPT, "%s: HDF5 cannot open it", f->path);
    return dn_checkpoint_read_state(f, file);
}

static void space_text(char text[DN_SHAPE_TEXT], hid_t space)
{
    hsize_t shape[H5S_MAX_RANK];
    const int rank = H5Sget_simple_extent_dims(space, shape, NULL);
    dn_shape_text(text, rank, (const int64_t *)shape);
}

/* Checks that the file has the tensor under that name, in its shape. */
static dn_status check_tensor(const dn_checkpoint_file *f, hid_t file, const char *name,
                              const dn_tensor *tensor, const char *model)
{
    char found_text[DN_SHAPE_TEXT], expected_text[DN_SHAPE_TEXT];
    hid_t set;
    const dn_status status = dn_hdf5_open_set(file, f->path, name, H5D_CONTIGUOUS, &set);
    DN_CHECK(status != DN_ENOENT, DN_ESHAPE,
             "%s: found no tensor %s (model %s), which model %s has", f->path, name, f->model,
             model);
    DN_TRY(status);
    const hid_t found = H5Dget_space(set), expected = dn_tensor_space(tensor);
    const int same = H5Sextent_equal(found, expected) > 0;
    space_text(found_text, found);
    space_text(expected_text, expected);
    H5Sclose(expected);
    H5Sclose(found);
    H5Dclose(set);
    DN_CHECK(same, DN_ESHAPE, "%s: %s: found shape %s (model %s), expected %s (model %s)", f->path,
             tensor->name, found_text, f->model, expected_text, model);
    return DN_OK;
}

/* A batch norm's number of batches must equal the step; running_var becomes its name. */
static dn_status check_batches_tracked(const dn_checkpoint_file *f, hid_t file, char *running_var)
{
    int64_t found;
    dn_batches_tracked_name(running_var);
    DN_TRY(dn_hdf5_read(file, f->path, running_var, H5T_NATIVE_INT64, 1, &found));
    DN_CHECK(found == f->state.step, DN_ECORRUPT,
             "%s: %s: found %" PRId64 ", expected the step, %" PRId64, f->path, running_var, found,
             f->state.step);
    return DN_OK;
}

/* Reads a group's tensors into `parameters` and, unless it is NULL, into `running`; those that are
 * averages of squares must not be negative. */
static dn_status read_group(const dn_checkpoint_file *f, hid_t file, const char *group,
                            int is_squares, const dn_view *net, float *parameters, float *running)
{
    char name[DN_TENSOR_PATH];
    for (int i = 0; i < net->tensor_count; i++) {
        const dn_tensor *t = &net->tensors[i];
        float *values = dn_is_parameter(t) ? parameters : running;
        if (values == NULL)
            continue;
        snprintf(name, sizeof name, "%s/%s", group, t->name);
        DN_TRY(check_tensor(f, file, name, t, net->spec->name));
        DN_TRY(dn_hdf5_read(file, f->path, name, H5T_NATIVE_FLOAT, (int64_t)t->count,
                            values + t->offset));
        DN_TRY(dn_check_values(f->path, name, t, is_squares, values + t->offset));
        if (t->kind == DN_RUNNING_VAR)
            DN_TRY(check_batches_tracked(f, file, name));
    }
    return DN_OK;
}

/* Reads the model's tensors. If all tensors of the net fit but the file has more, it is another
 * model. */
static dn_status read_model(const dn_checkpoint_file *f, hid_t file, const char *group,
                            const dn_view *net, float *parameters, float *running)
{
    H5G_info_t info = {0};
    int expected = net->tensor_count;
    for (int i = 0; i < net->tensor_count; i++)
        expected += net->tensors[i].kind == DN_RUNNING_VAR; /* and its num_batches_tracked */
    DN_TRY(read_group(f, file, group, 0, net, parameters, running));
    H5Gget_info_by_name(file, group, &info, H5P_DEFAULT);
    DN_CHECK((int)info.nlinks == expected, DN_ESHAPE,
             "%s: found %d tensors (model %s), expected %d (model %s)", f->path, (int)info.nlinks,
             f->model, expected, net->spec->name);
    return DN_OK;
}

typedef struct loading {
    const dn_checkpoint_file *f;
    dn_view net;              /* its parameters and statistics are in shared pages */
    dn_optimizer_state state; /* likewise; zeroed: not wanted */
    int is_average;           /* 1: read averaged weights as the net's */
} loading;

/* Reads the averaged weights, or the net's if the file has none. */
static dn_status read_average(const loading *l, hid_t file)
{
    const size_t parameters = l->net.parameter_count;
    float *const average = l->state.average;
    if (H5Lexists(file, DN_AVERAGE_GROUP, H5P_DEFAULT) > 0)
        return read_model(l->f, file, DN_AVERAGE_GROUP, &l->net, average, average + parameters);
    memcpy(average, l->net.parameters, parameters * sizeof *average);
    memcpy(average + parameters, l->net.running, l->net.running_count * sizeof *average);
    return DN_OK;
}

/* A dn_child_fn. */
static dn_status read_vectors(void *user)
{
    const loading *l = user;
    const dn_optimizer *optimizer = l->state.optimizer;
    const hid_t file = dn_hdf5_open_bytes(l->f->bytes, l->f->size);
    char group[64];
    DN_CHECK(!l->is_average || H5Lexists(file, DN_AVERAGE_GROUP, H5P_DEFAULT) > 0, DN_ESHAPE,
             "%s: found no averaged weights, expected those of a run with --ema", l->f->path);
    DN_TRY(read_model(l->f, file, l->is_average ? DN_AVERAGE_GROUP : "model", &l->net,
                      l->net.parameters, l->net.running));
    for (int i = 0; optimizer && optimizer->states[i]; i++) {
        snprintf(group, sizeof group, "optimizer/%s", optimizer->states[i]);
        DN_TRY(read_group(l->f, file, group, optimizer->squares >> i & 1, &l->net,
                          l->state.vectors + (size_t)i * l->state.count, NULL));
    }
    return l->state.average != NULL ? read_average(l, file) : DN_OK;
}

typedef struct data_set { /* in shared pages that a child fills */
    const dn_checkpoint_file *f;
    size_t size;
    uint8_t text[DN_MANIFEST_BYTES];
} data_set;

/* A dn_child_fn. */
static dn_status read_data_set(void *user)
{
    data_set *d = user;
    const char *path = d->f->path;
    const hid_t file = dn_hdf5_open_bytes(d->f->bytes, d->f->size);
    hid_t set;
    DN_TRY(dn_hdf5_open_set(file, path, "data_set", H5D_CONTIGUOUS, &set));
    const hssize_t count = H5Sget_simple_extent_npoints(H5Dget_space(set));
    DN_CHECK(count > 0 && count <= DN_MANIFEST_BYTES, DN_ECORRUPT,
             "%s: data_set: found %lld bytes, expected 1 to %d", path, (long long)count,
             DN_MANIFEST_BYTES);
    DN_TRY(dn_hdf5_read(file, path, "data_set", H5T_NATIVE_UINT8, count, d->text));
    d->size = (size_t)count;
    return DN_OK;
}

/* ---- in the caller's process ---- */

/* Reads the state from f->bytes. */
static dn_status read_in_child(dn_checkpoint_file *f)
{
    dn_checkpoint_file *const pages = dn_child_pages(sizeof *pages);
    DN_CHECK(pages, DN_ENOMEM, "%s: out of memory", f->path);
    *pages = *f;
    const dn_status status = dn_child_run(f->path, read_state, pages);
    memcpy(f->model, pages->model, sizeof f->model);
    memcpy(f->optimizer, pages->optimizer, sizeof f->optimizer);
    memcpy(f->hash, pages->hash, sizeof f->hash);
    f->state = pages->state; /* where no later child can change it */
    dn_child_pages_free(pages, sizeof *pages);
    snprintf(f->state.path, sizeof f->state.path, "%s", f->path);
    return status == DN_ENOENT ? DN_ECORRUPT : status; /* the file lacks a data set */
}

dn_status dn_checkpoint_open(dn_checkpoint_file **file, const char *path, dn_checkpoint *state)
{
    dn_checkpoint_file *const f = *file = calloc(1, sizeof *f);
    size_t size;
    DN_CHECK(f, DN_ENOMEM, "%s: out of memory", path);
    snprintf(f->path, sizeof f->path, "%s", path);
    dn_status status = load_sealed(path, &f->bytes, &size);
    if (status == DN_OK)
        status = check_seal(f->path, f->bytes, size);
    if (status == DN_OK) {
        f->size = size - DN_SEAL_BYTES;
        status = read_in_child(f);
    }
    if (status == DN_OK)
        status = dn_checkpoint_check_state(f);
    if (status == DN_OK)
        *state = f->state;
    else
        dn_checkpoint_close(file);
    return status;
}

/* The bytes are as many as all vectors: they are freed before the run needs the memory. */
static void free_bytes(dn_checkpoint_file *f)
{
    free(f->bytes);
    f->bytes = NULL;
}

void dn_checkpoint_close(dn_checkpoint_file **file)
{
    if (*file)
        free_bytes(*file);
    free(*file);
    *file = NULL;
}

dn_status dn_checkpoint_data_set(const dn_checkpoint_file *f, dn_manifest **manifest)
{
    char what[PATH_MAX + 16];
    *manifest = NULL;
    data_set *const d = dn_child_pages(sizeof *d);
    DN_CHECK(d, DN_ENOMEM, "%s: out of memory", f->path);
    d->f = f;
    dn_status status = dn_child_run(f->path, read_data_set, d);
    const size_t size = d->size; /* read once: a crashed child may have left anything */
    snprintf(what, sizeof what, "%s: data_set", f->path);
    if (status == DN_OK && size > DN_MANIFEST_BYTES)
        status = dn_fail(DN_ECORRUPT, "%s: found %zu bytes", what, size);
    if (status == DN_OK)
        status = dn_manifest_parse(manifest, what, d->text, size);
    dn_child_pages_free(d, sizeof *d);
    return status;
}

/* Copies the net's and the optimizer's vectors from the pages, and checks the hash of the weights.
 */
static dn_status take_vectors(const loading *l, dn_net *net, dn_optimizer_state *state)
{
    const dn_view view = dn_net_view(net);
    char hash[17];
    memcpy(view.parameters, l->net.parameters, view.parameter_count * sizeof(float));
    memcpy(view.running, l->net.running, view.running_count * sizeof(float));
    if (state)
        memcpy(state->vectors, l->state.vectors, state->floats * sizeof(float));
    snprintf(hash, sizeof hash, "%016" PRIx64, dn_net_hash(net));
    DN_CHECK(l->is_average || strcmp(hash, l->f->hash) == 0, DN_ECORRUPT,
             "%s: found weights of hash %s, expected %s as weights_hash says", l->f->path, hash,
             l->f->hash);
    return DN_OK;
}

static dn_status load(dn_checkpoint_file *f, dn_net *net, dn_optimizer_state *state, int is_average)
{
    loading l = {.f = f, .net = dn_net_view(net), .is_average = is_average};
    if (state)
        l.state = *state;
    const size_t weights = l.net.parameter_count + l.net.running_count;
    const size_t bytes = (weights + l.state.floats) * sizeof(float);
    DN_CHECK(!state || strcmp(f->optimizer, state->optimizer->name) == 0, DN_EINVAL,
             "--optimizer %s: found the state of %s in %s, expected the same (or another --out, or "
             "--resume none)",
             state->optimizer->name, f->optimizer, f->path);
    float *const pages = dn_child_pages(bytes);
    DN_CHECK(pages, DN_ENOMEM, "%s: out of memory", f->path);
    l.net.parameters = pages;
    l.net.running = pages + l.net.parameter_count;
    l.state.vectors = pages + weights;
    if (l.state.average)
        l.state.average = l.state.vectors + (state->average - state->vectors);
    dn_status status = dn_child_run(f->path, read_vectors, &l);
    free_bytes(f);
    if (status == DN_OK)
        status = take_vectors(&l, net, state);
    dn_child_pages_free(pages, bytes);
    return status;
}

dn_status dn_checkpoint_load(dn_checkpoint_file *f, dn_net *net, dn_optimizer_state *state)
{
    return load(f, net, state, 0);
}

dn_status dn_checkpoint_load_average(dn_checkpoint_file *f, dn_net *net)
{
    const int64_t measured = f->state.average_step;
    DN_CHECK(
        measured != 0, DN_EINVAL,
        "%s: found averaged weights whose batch statistics were never measured, expected those "
        "of an evaluated epoch or of a run's last step (or --weights trained)",
        f->path);
    DN_TRY(load(f, net, NULL, 1));
    if (measured < f->state.step)
        dn_warn("%s: the averaged weights are those of step %" PRId64
                ", their batch statistics were measured at step %" PRId64,
                f->path, f->state.step, measured);
    return DN_OK;
}
