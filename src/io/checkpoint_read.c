/*
 * Reads a checkpoint; see include/dn/checkpoint.h.
 *
 * The HDF5 library crashes on files with damaged metadata, so it is given none before the checksum
 * of all bytes has proved them whole. HDF5 calls on an object that could not be opened fail in
 * their turn, so only the last of a chain of calls is tested.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/file.h"

struct dn_checkpoint_file {
    hid_t file;
    char path[PATH_MAX], model[160], optimizer[32];
};

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

/* A text attribute that the first files of this version do not have: then `text` stays as it is. */
static dn_status get_newer_text(const dn_checkpoint_file *f, const char *name, char *text,
                                size_t size)
{
    return H5Aexists(f->file, name) > 0 ? dn_hdf5_get_text(f->file, f->path, name, text, size)
                                        : DN_OK;
}

static dn_status read_state(dn_checkpoint_file *f, dn_checkpoint *state)
{
    char format[64];
    int64_t version;
    DN_TRY(dn_hdf5_get_text(f->file, f->path, "format", format, sizeof format));
    DN_CHECK(strcmp(format, DN_CHECKPOINT_FORMAT) == 0, DN_ECORRUPT,
             "%s: found format \"%s\", expected \"%s\"", f->path, format, DN_CHECKPOINT_FORMAT);
    DN_TRY(dn_hdf5_get(f->file, f->path, "format_version", H5T_NATIVE_INT64, &version));
    DN_CHECK(version == DN_CHECKPOINT_VERSION, DN_ECORRUPT,
             "%s: found format version %" PRId64 ", expected %d: made by another dn_dist", f->path,
             version, DN_CHECKPOINT_VERSION);
    DN_TRY(dn_hdf5_get_text(f->file, f->path, "model", f->model, sizeof f->model));
    DN_TRY(dn_hdf5_get(f->file, f->path, "step", H5T_NATIVE_INT64, &state->step));
    DN_TRY(get_newer_text(f, "data", state->data, sizeof state->data));
    strcpy(f->optimizer, "sgd");
    DN_TRY(get_newer_text(f, "optimizer", f->optimizer, sizeof f->optimizer));
    DN_TRY(get_newer_text(f, "schedule", state->schedule, sizeof state->schedule));
    if (state->schedule[0])
        DN_TRY(dn_hdf5_read(f->file, f->path, "schedule_state", H5T_NATIVE_DOUBLE,
                            DN_SCHEDULE_DOUBLES, &state->schedule_state));
    const hid_t text = dn_hdf5_text_type(sizeof state->config);
    const dn_status status = dn_hdf5_read(f->file, f->path, "config", text, 1, state->config);
    H5Tclose(text);
    return status;
}

dn_status dn_checkpoint_open(dn_checkpoint_file **file, const char *path, dn_checkpoint *state)
{
    *file = NULL;
    DN_TRY(check_whole(path));
    dn_checkpoint_file *f = calloc(1, sizeof *f);
    DN_CHECK(f, DN_ENOMEM, "%s: out of memory", path);
    *state = (dn_checkpoint){0};
    snprintf(f->path, sizeof f->path, "%s", path);
    snprintf(state->path, sizeof state->path, "%s", path);
    f->file = dn_hdf5_open(path);
    *file = f;
    const dn_status status =
        f->file >= 0 ? read_state(f, state) : dn_fail(DN_ECORRUPT, "%s: HDF5 cannot open it", path);
    if (status != DN_OK)
        dn_checkpoint_close(file);
    return status;
}

void dn_checkpoint_close(dn_checkpoint_file **file)
{
    if (*file && (*file)->file >= 0)
        H5Fclose((*file)->file);
    free(*file);
    *file = NULL;
}

/* text(64) = "(64, 3, 7, 7)". */
static void shape_text(char *text, hid_t space)
{
    hsize_t shape[H5S_MAX_RANK];
    const int rank = H5Sget_simple_extent_dims(space, shape, NULL);
    int at = snprintf(text, 64, "(");
    for (int i = 0; i < rank && at < 64; i++)
        at += snprintf(text + at, (size_t)(64 - at), "%s%llu%s", i ? ", " : "",
                       (unsigned long long)shape[i], i == rank - 1 ? ")" : "");
}

/* The file has the tensor under that name, in its shape. */
static dn_status check_tensor(const dn_checkpoint_file *f, const char *name,
                              const dn_tensor *tensor, const char *model)
{
    char found_text[64], expected_text[64];
    const hid_t set = H5Dopen2(f->file, name, H5P_DEFAULT);
    DN_CHECK(set >= 0, DN_ESHAPE, "%s: found no tensor %s (model %s), which model %s has", f->path,
             name, f->model, model);
    const hid_t found = H5Dget_space(set), expected = dn_tensor_space(tensor);
    const int same = H5Sextent_equal(found, expected) > 0;
    shape_text(found_text, found);
    shape_text(expected_text, expected);
    H5Sclose(expected);
    H5Sclose(found);
    H5Dclose(set);
    DN_CHECK(same, DN_ESHAPE, "%s: %s: found shape %s (model %s), expected %s (model %s)", f->path,
             tensor->name, found_text, f->model, expected_text, model);
    return DN_OK;
}

/* A group's tensors into `parameters` and, unless it is NULL, into `running`. */
static dn_status read_group(const dn_checkpoint_file *f, const char *group, const dn_view *net,
                            float *parameters, float *running)
{
    char name[DN_TENSOR_PATH];
    for (int i = 0; i < net->tensor_count; i++) {
        const dn_tensor *t = &net->tensors[i];
        float *values = dn_is_parameter(t) ? parameters : running;
        if (values == NULL)
            continue;
        snprintf(name, sizeof name, "%s/%s", group, t->name);
        DN_TRY(check_tensor(f, name, t, net->spec->name));
        DN_TRY(dn_hdf5_read(f->file, f->path, name, H5T_NATIVE_FLOAT, (int64_t)t->count,
                            values + t->offset));
    }
    return DN_OK;
}

/* A model with more tensors than the net, every one of whose tensors fits, is another model. */
static dn_status read_model(const dn_checkpoint_file *f, const dn_view *net)
{
    H5G_info_t info = {0};
    int expected = net->tensor_count;
    for (int i = 0; i < net->tensor_count; i++)
        expected += net->tensors[i].kind == DN_RUNNING_VAR; /* its num_batches_tracked */
    DN_TRY(read_group(f, "model", net, net->parameters, net->running));
    H5Gget_info_by_name(f->file, "model", &info, H5P_DEFAULT);
    DN_CHECK((int)info.nlinks == expected, DN_ESHAPE,
             "%s: found %d tensors (model %s), expected %d (model %s)", f->path, (int)info.nlinks,
             f->model, expected, net->spec->name);
    return DN_OK;
}

dn_status dn_checkpoint_load(const dn_checkpoint_file *f, dn_net *net, dn_optimizer_state *state)
{
    const dn_view view = dn_net_view(net);
    const dn_optimizer *optimizer = state ? state->optimizer : NULL;
    char group[64];
    DN_TRY(read_model(f, &view));
    DN_CHECK(!optimizer || strcmp(f->optimizer, optimizer->name) == 0, DN_EINVAL,
             "--optimizer %s: found the state of %s in %s, expected the same (or --resume none)",
             optimizer->name, f->optimizer, f->path);
    for (int i = 0; optimizer && optimizer->states[i]; i++) {
        snprintf(group, sizeof group, "optimizer/%s", optimizer->states[i]);
        DN_TRY(read_group(f, group, &view, state->vectors + (size_t)i * state->count, NULL));
    }
    return DN_OK;
}
