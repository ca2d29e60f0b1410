/*
 * Reads a checkpoint; see include/dn/checkpoint.h.
 *
 * The HDF5 library crashes on files with damaged metadata, so it is given none before the checksum
 * of all bytes has proved them whole. HDF5 calls on an object that could not be opened fail in
 * their turn, so only the last of a chain of calls is tested.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/checkpoint.h"
#include "dn/file.h"
#include "dn/hdf5.h"

enum { SHAPE_TEXT = 64 };

/* A file being read: what the messages name. */
typedef struct reader {
    hid_t file;
    const char *path;
    char model[160]; /* the file's */
    const char *expected_model;
} reader;

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

static dn_status check_file(const char *path)
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

static dn_status check_format(reader *r)
{
    char format[64];
    int64_t version;
    DN_TRY(dn_hdf5_get_text(r->file, r->path, "format", format, sizeof format));
    DN_CHECK(strcmp(format, DN_CHECKPOINT_FORMAT) == 0, DN_ECORRUPT,
             "%s: found format \"%s\", expected \"%s\"", r->path, format, DN_CHECKPOINT_FORMAT);
    DN_TRY(dn_hdf5_get(r->file, r->path, "format_version", H5T_NATIVE_INT64, &version));
    DN_CHECK(version == DN_CHECKPOINT_VERSION, DN_ECORRUPT,
             "%s: found format version %" PRId64 ", expected %d: made by another dn_dist", r->path,
             version, DN_CHECKPOINT_VERSION);
    return dn_hdf5_get_text(r->file, r->path, "model", r->model, sizeof r->model);
}

/* Opens the file when it is whole and of our format; on failure nothing stays open. */
static dn_status open_reader(reader *r, const char *path)
{
    *r = (reader){.file = -1, .path = path};
    DN_TRY(check_file(path));
    r->file = dn_hdf5_open(path);
    DN_CHECK(r->file >= 0, DN_ECORRUPT, "%s: HDF5 cannot open it", path);
    const dn_status status = check_format(r);
    if (status != DN_OK)
        H5Fclose(r->file);
    return status;
}

static dn_status read_position(const reader *r, dn_checkpoint *state)
{
    state->data[0] = '\0';
    if (H5Aexists(r->file, "data") > 0) /* the first files had none */
        DN_TRY(dn_hdf5_get_text(r->file, r->path, "data", state->data, sizeof state->data));
    DN_TRY(dn_hdf5_get(r->file, r->path, "step", H5T_NATIVE_INT64, &state->step));
    const hid_t text = dn_hdf5_text_type(sizeof state->config);
    const dn_status status = dn_hdf5_read(r->file, r->path, "config", text, 1, state->config);
    H5Tclose(text);
    return status;
}

/* text = "(64, 3, 7, 7)". */
static void shape_text(char text[SHAPE_TEXT], int rank, const hsize_t *shape)
{
    int at = snprintf(text, SHAPE_TEXT, "(");
    for (int i = 0; i < rank && at < SHAPE_TEXT; i++)
        at += snprintf(text + at, (size_t)(SHAPE_TEXT - at), "%s%llu", i ? ", " : "",
                       (unsigned long long)shape[i]);
    if (at < SHAPE_TEXT)
        snprintf(text + at, (size_t)(SHAPE_TEXT - at), ")");
}

static float *values_of(const dn_net *net, const dn_tensor *tensor)
{
    const dn_view view = dn_net_view(net);
    return (dn_is_running(tensor) ? view.running : view.parameters) + tensor->offset;
}

static dn_status check_shape(const reader *r, hid_t set, const dn_tensor *tensor)
{
    hsize_t found[H5S_MAX_RANK], expected[4];
    const hid_t space = H5Dget_space(set);
    const int rank = H5Sget_simple_extent_dims(space, found, NULL);
    H5Sclose(space);
    for (int i = 0; i < tensor->rank; i++)
        expected[i] = (hsize_t)tensor->shape[i];
    if (rank == tensor->rank && !memcmp(found, expected, (size_t)rank * sizeof *found))
        return DN_OK;
    char found_text[SHAPE_TEXT], expected_text[SHAPE_TEXT];
    shape_text(found_text, rank, found);
    shape_text(expected_text, tensor->rank, expected);
    return dn_fail(DN_ESHAPE, "%s: %s: found shape %s (model %s), expected %s (model %s)", r->path,
                   tensor->name, found_text, r->model, expected_text, r->expected_model);
}

static dn_status read_tensor(const reader *r, const char *group, const dn_tensor *tensor,
                             float *values)
{
    char name[sizeof tensor->name + 32];
    snprintf(name, sizeof name, "%s/%s", group, tensor->name);
    const hid_t set = H5Dopen2(r->file, name, H5P_DEFAULT);
    DN_CHECK(set >= 0, DN_ESHAPE, "%s: found no tensor %s (model %s), which model %s has", r->path,
             name, r->model, r->expected_model);
    dn_status status = check_shape(r, set, tensor);
    if (status == DN_OK &&
        H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        status = dn_fail(DN_ECORRUPT, "%s: %s cannot be read (damaged)", r->path, name);
    H5Dclose(set);
    return status;
}

/* A model with more tensors than the net, every one of whose tensors fits, is another model. */
static dn_status check_tensor_count(const reader *r, int expected)
{
    H5G_info_t info = {0};
    const hid_t group = H5Gopen2(r->file, DN_CHECKPOINT_MODEL, H5P_DEFAULT);
    H5Gget_info(group, &info);
    H5Gclose(group);
    DN_CHECK((int)info.nlinks == expected, DN_ESHAPE,
             "%s: found %d tensors (model %s), expected %d (model %s)", r->path, (int)info.nlinks,
             r->model, expected, r->expected_model);
    return DN_OK;
}

static dn_status read_tensors(const reader *r, dn_net *net, float *momentum)
{
    const dn_view view = dn_net_view(net);
    int norms = 0;
    for (int i = 0; i < view.tensor_count; i++) {
        const dn_tensor *t = &view.tensors[i];
        norms += t->kind == DN_RUNNING_VAR;
        DN_TRY(read_tensor(r, DN_CHECKPOINT_MODEL, t, values_of(net, t)));
        if (momentum && !dn_is_running(t))
            DN_TRY(read_tensor(r, DN_CHECKPOINT_MOMENTUM, t, momentum + t->offset));
    }
    return check_tensor_count(r, view.tensor_count + norms);
}

dn_status dn_checkpoint_peek(const char *path, dn_checkpoint *state)
{
    reader r;
    DN_TRY(open_reader(&r, path));
    const dn_status status = read_position(&r, state);
    H5Fclose(r.file);
    return status;
}

dn_status dn_checkpoint_load(const char *path, dn_net *net, float *momentum)
{
    reader r;
    DN_TRY(open_reader(&r, path));
    r.expected_model = dn_net_view(net).spec->name;
    const dn_status status = read_tensors(&r, net, momentum);
    H5Fclose(r.file);
    return status;
}
