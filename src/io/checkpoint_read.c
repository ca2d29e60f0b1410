/*
 * Reads a checkpoint; see include/dn/checkpoint.h.
 *
 * The checksum proves that a file is as it was written, not that dn_dist wrote it. So the HDF5
 * library, which crashes on metadata that nobody honest wrote, sees a file in a child process only
 * (dn/child.h), and storage, types, shapes and tensors are checked there; the state in the parent.
 * The child's end closes what it has opened. HDF5 calls on an object that could not be opened fail
 * in their turn, so only the last of a chain of calls is tested.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/child.h"
#include "dn/file.h"
#include "weights_file.h"

static const int64_t most_steps = 1000000000000000000; /* as of --max-steps */

struct dn_checkpoint_file { /* as a child leaves it in pages */
    char path[PATH_MAX], model[160], optimizer[32], hash[17];
    dn_checkpoint state;
};

#define END_TEXT(text) ((text)[sizeof(text) - 1] = '\0')

/* The bytes of the open file are those that were sealed. */
static dn_status check_seal(int file, int64_t size, const char *path)
{
    char found[DN_SEAL_BYTES + 1] = "", expected[DN_SEAL_BYTES + 1];
    const int64_t content = size - DN_SEAL_BYTES;
    uint64_t hash;
    if (content > 0)
        DN_TRY(dn_file_read(file, path, found, DN_SEAL_BYTES, content));
    DN_CHECK(memcmp(found, DN_SEAL, strlen(DN_SEAL)) == 0, DN_ECORRUPT,
             "%s: found no checksum at the end, expected a whole checkpoint (cut short?)", path);
    DN_TRY(dn_file_hash(file, path, content, &hash));
    snprintf(expected, sizeof expected, DN_SEAL "%016" PRIx64, hash);
    DN_CHECK(strcmp(found, expected) == 0, DN_ECORRUPT,
             "%s: found bytes of checksum %s, expected %s (damaged)", path,
             expected + strlen(DN_SEAL), found + strlen(DN_SEAL));
    return DN_OK;
}

static dn_status check_whole(const char *path)
{
    int file;
    int64_t size;
    dn_status status = dn_file_open(path, &file, &size);
    if (status == DN_OK)
        status = check_seal(file, size, path);
    if (file >= 0)
        close(file);
    return status;
}

/* ---- in the child ---- */

static dn_status read_doubles(const dn_checkpoint_file *f, hid_t file, const char *name, int count,
                              void *to)
{
    return dn_hdf5_read(file, f->path, name, H5T_NATIVE_DOUBLE, count, to);
}

static dn_status read_config(dn_checkpoint_file *f, hid_t file)
{
    char *const config = f->state.config;
    const hid_t text = dn_hdf5_text_type(sizeof f->state.config);
    DN_TRY(dn_hdf5_read(file, f->path, "config", text, 1, config));
    DN_CHECK(memchr(config, '\0', sizeof f->state.config), DN_ECORRUPT,
             "%s: config: found no zero byte at its end", f->path);
    return DN_OK;
}

/* A dn_child_fn. */
static dn_status read_state(void *user)
{
    dn_checkpoint_file *f = user;
    dn_checkpoint *state = &f->state;
    char format[64];
    int64_t version;
    const hid_t file = dn_hdf5_open(f->path);
    DN_CHECK(file >= 0, DN_ECORRUPT, "%s: HDF5 cannot open it", f->path);
    DN_TRY(dn_hdf5_get_text(file, f->path, "format", format, sizeof format));
    DN_CHECK(strcmp(format, DN_CHECKPOINT_FORMAT) == 0, DN_ECORRUPT,
             "%s: found format \"%s\", expected \"%s\"", f->path, format, DN_CHECKPOINT_FORMAT);
    DN_TRY(dn_hdf5_get(file, f->path, "format_version", H5T_NATIVE_INT64, &version));
    DN_CHECK(version == DN_CHECKPOINT_VERSION, DN_ECORRUPT,
             "%s: found format version %" PRId64 ", expected %d: made by another dn_dist", f->path,
             version, DN_CHECKPOINT_VERSION);
    DN_TRY(dn_hdf5_get_text(file, f->path, "model", f->model, sizeof f->model));
    DN_TRY(dn_hdf5_get(file, f->path, "step", H5T_NATIVE_INT64, &state->step));
    DN_TRY(dn_hdf5_get_text(file, f->path, "weights_hash", f->hash, sizeof f->hash));
    DN_TRY(dn_hdf5_get_text(file, f->path, "data", state->data, sizeof state->data));
    DN_TRY(dn_hdf5_get_text(file, f->path, "data_folder", state->folder, sizeof state->folder));
    DN_TRY(dn_hdf5_get_text(file, f->path, "kernels", state->kernels, sizeof state->kernels));
    DN_TRY(dn_hdf5_get_text(file, f->path, "optimizer", f->optimizer, sizeof f->optimizer));
    DN_TRY(dn_hdf5_get_text(file, f->path, "schedule", state->schedule, sizeof state->schedule));
    DN_TRY(read_doubles(f, file, "schedule_state", DN_SCHEDULE_DOUBLES, &state->schedule_state));
    DN_TRY(read_doubles(f, file, "monitor", DN_MONITOR_DOUBLES, &state->monitor));
    DN_TRY(read_doubles(f, file, "epoch_scores", DN_EPOCH_DOUBLES, &state->scores));
    state->has_average = H5Lexists(file, DN_AVERAGE_GROUP, H5P_DEFAULT) > 0;
    return read_config(f, file);
}

static void space_text(char text[DN_SHAPE_TEXT], hid_t space)
{
    hsize_t shape[H5S_MAX_RANK];
    const int rank = H5Sget_simple_extent_dims(space, shape, NULL);
    dn_shape_text(text, rank, (const int64_t *)shape);
}

/* The file has the tensor under that name, in its shape. */
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

/* What a norm counts beside its running variance is the step, which a forger may have forgotten. */
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

/* A group's tensors, 0 or more where they are of squares, into `parameters` and, unless it is NULL,
 * into `running`. */
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

/* A model with more tensors than the net, every one of whose tensors fits, is another model. */
static dn_status read_model(const dn_checkpoint_file *f, hid_t file, const char *group,
                            const dn_view *net, float *parameters, float *running)
{
    H5G_info_t info = {0};
    int expected = net->tensor_count;
    for (int i = 0; i < net->tensor_count; i++)
        expected += net->tensors[i].kind == DN_RUNNING_VAR; /* its num_batches_tracked */
    DN_TRY(read_group(f, file, group, 0, net, parameters, running));
    H5Gget_info_by_name(file, group, &info, H5P_DEFAULT);
    DN_CHECK((int)info.nlinks == expected, DN_ESHAPE,
             "%s: found %d tensors (model %s), expected %d (model %s)", f->path, (int)info.nlinks,
             f->model, expected, net->spec->name);
    return DN_OK;
}

typedef struct loading {
    const dn_checkpoint_file *f;
    dn_view net;              /* whose parameters and statistics are to go to pages */
    dn_optimizer_state state; /* the same; zeroed: none is wanted */
    int is_average;           /* averaged weights are wanted as the net's */
} loading;

/* Averaged weights, or the net's where the file has none. */
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
    const hid_t file = dn_hdf5_open(l->f->path);
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

typedef struct data_set { /* in pages that a child fills */
    const dn_checkpoint_file *f;
    size_t size;
    uint8_t text[DN_MANIFEST_BYTES];
} data_set;

/* A dn_child_fn. */
static dn_status read_data_set(void *user)
{
    data_set *d = user;
    const char *path = d->f->path;
    const hid_t file = dn_hdf5_open(path);
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

static dn_status check_finite(const dn_checkpoint_file *f, const char *name, const void *doubles,
                              int count)
{
    const double *value = doubles;
    for (int i = 0; i < count; i++)
        DN_CHECK(isfinite(value[i]), DN_ECORRUPT, "%s: %s: found %g, expected finite numbers",
                 f->path, name, value[i]);
    return DN_OK;
}

/* The values are checked where no child can change them any more: where a file got the better of
 * HDF5, anything may stand there. */
static dn_status check_state(dn_checkpoint_file *f)
{
    dn_checkpoint *const s = &f->state;
    END_TEXT(f->model);
    END_TEXT(f->optimizer);
    END_TEXT(f->hash);
    END_TEXT(s->data);
    END_TEXT(s->folder);
    END_TEXT(s->config);
    END_TEXT(s->kernels);
    END_TEXT(s->schedule);
    s->is_best = 0;
    s->data_set = NULL;
    s->data_set_bytes = 0;
    DN_CHECK(s->step >= 0 && s->step <= most_steps, DN_ECORRUPT,
             "%s: found step %" PRId64 ", expected 0 to %" PRId64, f->path, s->step, most_steps);
    DN_TRY(check_finite(f, "schedule_state", &s->schedule_state, DN_SCHEDULE_DOUBLES));
    DN_CHECK(s->schedule_state.epochs >= 0, DN_ECORRUPT,
             "%s: schedule_state: found %g epochs, expected 0 or more", f->path,
             s->schedule_state.epochs);
    DN_TRY(check_finite(f, "monitor", &s->monitor, DN_MONITOR_DOUBLES));
    return check_finite(f, "epoch_scores", &s->scores, DN_EPOCH_DOUBLES);
}

dn_status dn_checkpoint_open(dn_checkpoint_file **file, const char *path, dn_checkpoint *state)
{
    *file = NULL;
    DN_TRY(check_whole(path));
    dn_checkpoint_file *const pages = dn_child_pages(sizeof *pages);
    DN_CHECK(pages, DN_ENOMEM, "%s: out of memory", path);
    snprintf(pages->path, sizeof pages->path, "%s", path);
    dn_status status = dn_child_run(path, read_state, pages);
    dn_checkpoint_file *const f = *file = status == DN_OK ? malloc(sizeof *f) : NULL;
    if (f)
        *f = *pages; /* which a later child cannot change */
    else if (status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", path);
    dn_child_pages_free(pages, sizeof *pages);
    if (f == NULL)
        return status;
    snprintf(f->path, sizeof f->path, "%s", path);
    snprintf(f->state.path, sizeof f->state.path, "%s", path);
    status = check_state(f);
    if (status == DN_OK)
        *state = f->state;
    else
        dn_checkpoint_close(file);
    return status;
}

void dn_checkpoint_close(dn_checkpoint_file **file)
{
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
    const size_t size = d->size; /* once: a child that went astray may have left anything */
    snprintf(what, sizeof what, "%s: data_set", f->path);
    if (status == DN_OK && size > DN_MANIFEST_BYTES)
        status = dn_fail(DN_ECORRUPT, "%s: found %zu bytes", what, size);
    if (status == DN_OK)
        status = dn_manifest_parse(manifest, what, d->text, size);
    dn_child_pages_free(d, sizeof *d);
    return status;
}

/* The net's and the optimizer's vectors from the pages; the weights are those that were hashed. */
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

static dn_status load(const dn_checkpoint_file *f, dn_net *net, dn_optimizer_state *state,
                      int is_average)
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
    if (status == DN_OK)
        status = take_vectors(&l, net, state);
    dn_child_pages_free(pages, bytes);
    return status;
}

dn_status dn_checkpoint_load(const dn_checkpoint_file *f, dn_net *net, dn_optimizer_state *state)
{
    return load(f, net, state, 0);
}

dn_status dn_checkpoint_load_average(const dn_checkpoint_file *f, dn_net *net)
{
    return load(f, net, NULL, 1);
}
