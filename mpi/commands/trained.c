/* Trained nets, in checkpoints and other files of weights; see trained.h. */
#include "commands/trained.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/settings.h"
#include "dn/file.h"
#include "dn/weights.h"

/* The file is a folder of checkpoints, or begins as HDF5 does. */
static dn_status is_checkpoint(const char *path, int *is)
{
    static const char signature[] = "\211HDF";
    char begin[sizeof signature - 1] = "";
    int file = -1;
    int64_t size;
    *is = dn_is_folder(path);
    dn_status status = *is ? DN_OK : dn_file_open(path, &file, &size);
    if (!*is && status == DN_OK && size >= (int64_t)sizeof begin)
        status = dn_file_read(file, path, begin, sizeof begin, 0);
    if (file >= 0)
        close(file);
    *is |= memcmp(begin, signature, sizeof begin) == 0;
    return status;
}

/* Opens the best of a folder where there is one, else the newest; or the file. */
static dn_status open_file(dn_trained *t, const char *path)
{
    char best[PATH_MAX], runs[DN_RUNS_TEXT];
    if (!dn_is_folder(path))
        return dn_checkpoint_open(&t->file, path, &t->state);
    DN_TRY(dn_join_path(best, path, DN_CHECKPOINT_BEST));
    if (access(best, F_OK) == 0)
        return dn_checkpoint_open(&t->file, best, &t->state);
    DN_TRY(dn_checkpoint_open_newest(&t->file, path, INT64_MAX, &t->state));
    DN_CHECK(t->file, DN_ENOENT, "%s: found no checkpoint-STEP.h5, expected the folder of a run%s",
             path, dn_runs_there(path, runs));
    return DN_OK;
}

/* Takes what the file tells and was not given. */
static dn_status open_safetensors(dn_trained *t, dn_options *o)
{
    DN_TRY(dn_safetensors_tell(o->checkpoint, &t->told));
    DN_CHECK(t->told.model[0] || dn_options_given(o, "model"), DN_EINVAL,
             "%s: found safetensors that do not tell their model, expected --model NAME",
             o->checkpoint);
    DN_CHECK(!o->weights, DN_EINVAL, "--weights average: found safetensors, expected a checkpoint");
    if (!dn_options_given(o, "model"))
        strcpy(o->model, t->told.model);
    if (!dn_options_given(o, "size"))
        o->size = t->told.size;
    if (!dn_options_given(o, "eval-transform") && t->told.eval_transform[0])
        strcpy(o->eval_transform, t->told.eval_transform);
    if (!dn_options_given(o, "normalize") && t->told.data)
        dn_normalize_describe(&t->told.data->info, o->normalize, sizeof o->normalize);
    t->state.step = t->told.step;
    return DN_OK;
}

/* A data set of which only the tensors' shapes are known. */
static dn_status number_classes(dn_trained *t, const dn_options *o)
{
    const dn_data_info info = {.channels = t->told.channels, .classes = t->told.classes};
    DN_CHECK(dn_options_given(o, "normalize"), DN_EINVAL,
             "%s: found neither --data nor --normalize, expected one, such as --normalize imagenet",
             o->checkpoint);
    DN_CHECK(
        info.channels > 0 && info.classes > 0, DN_ESHAPE,
        "%s: found no features.conv0.weight and classifier.weight, expected those of a DenseNet",
        o->checkpoint);
    json_t *const names = json_array();
    for (int i = 0; i < info.classes; i++)
        json_array_append_new(names, json_sprintf("%d", i));
    const dn_status status = dn_manifest_describe(&t->data, &info, names);
    json_decref(names);
    return status;
}

dn_status dn_trained_open(dn_trained *t, dn_options *o)
{
    int is_hdf5;
    *t = (dn_trained){0};
    const dn_status status = is_checkpoint(o->checkpoint, &is_hdf5);
    DN_CHECK(status == DN_OK, status,
             "%s; expected the folder of a run, a checkpoint or safetensors", dn_message());
    if (!is_hdf5)
        return open_safetensors(t, o);
    DN_TRY(open_file(t, o->checkpoint));
    strcpy(o->checkpoint, t->state.path);
    DN_TRY(dn_options_resume(o, &t->state));
    if (t->state.folder[0] && !dn_options_given(o, "data"))
        strcpy(o->data, t->state.folder);
    return DN_OK;
}

dn_status dn_trained_open_all(dn_trained *t, const dn_comm *comm, dn_options *o)
{
    *t = (dn_trained){0};
    DN_TRY(dn_comm_agree(comm, comm->rank == 0 ? dn_trained_open(t, o) : DN_OK));
    dn_comm_broadcast(comm, o->checkpoint, sizeof o->checkpoint, 0);
    return dn_comm_agree(comm, comm->rank == 0 ? DN_OK : dn_trained_open(t, o));
}

dn_status dn_trained_learnt(dn_trained *t)
{
    if (t->file)
        return dn_checkpoint_data_set(t->file, &t->data);
    t->data = t->told.data;
    t->told.data = NULL;
    return DN_OK;
}

dn_status dn_trained_data(dn_trained *t, const dn_options *o)
{
    if (dn_options_given(o, "data"))
        DN_TRY(dn_manifest_load(&t->data, o->data));
    else
        DN_TRY(dn_trained_learnt(t));
    if (!t->file && !t->data)
        DN_TRY(number_classes(t, o));
    return dn_options_normalize(o, &t->data->info);
}

dn_status dn_trained_input(const dn_options *options, const dn_data_info *data,
                           dn_transform *transform, const dn_transform **input)
{
    dn_options o = *options;
    *input = NULL;
    if (o.size > 0 || strcmp(o.eval_transform, "auto") == 0)
        return DN_OK;
    *input = transform;
    return dn_options_transform(&o, DN_TEST, data, transform);
}

dn_status dn_trained_net(const dn_trained *t, const dn_options *o, const dn_data_info *data,
                         const dn_transform *input, dn_net **net)
{
    int classes;
    DN_TRY(dn_options_net(o, data, input, 1, net));
    if (t->file)
        return o->weights ? dn_checkpoint_load_average(t->file, *net)
                          : dn_checkpoint_load(t->file, *net, NULL);
    DN_TRY(dn_safetensors_load(*net, o->checkpoint, &classes));
    DN_CHECK(classes == 0, DN_ESHAPE, "%s: found %d classes, expected %d", o->checkpoint, classes,
             dn_net_view(*net).spec->classes);
    return DN_OK;
}

void dn_trained_close(dn_trained *t)
{
    dn_checkpoint_close(&t->file);
    free(t->told.data);
    free(t->data);
    t->told.data = t->data = NULL;
}

/* ---- weights to start from ---- */

/* The checkpoint is loaded into a net of its own, all of it: so it is checked in full, and only
 * then taken in part. */
static dn_status copy_checkpoint(dn_net *net, const dn_options *options, const char *path,
                                 int *classes)
{
    dn_options own = *options;
    dn_trained from;
    dn_transform transform;
    const dn_transform *input = NULL;
    dn_net *loaded = NULL;
    const dn_data_info images = {.channels = dn_net_view(net).spec->channels};
    dn_status status;
    own.command = DN_COMMAND_EVAL;
    own.given = 0;
    snprintf(own.checkpoint, sizeof own.checkpoint, "%s", path);
    DN_TRY_OR_DONE(dn_trained_open(&from, &own));
    own.batch_size = 1;
    DN_TRY_OR_DONE(dn_checkpoint_data_set(from.file, &from.data));
    DN_TRY_OR_DONE(dn_trained_input(&own, &from.data->info, &transform, &input));
    DN_TRY_OR_DONE(dn_trained_net(&from, &own, &images, input, &loaded));
    DN_TRY_OR_DONE(dn_weights_copy(net, own.checkpoint, loaded, classes));
done:
    dn_net_destroy(&loaded);
    dn_trained_close(&from);
    return status;
}

dn_status dn_init_from(dn_net *net, const dn_options *options, const char *path)
{
    const dn_spec *spec = dn_net_view(net).spec;
    int is_hdf5, classes;
    const dn_status status = is_checkpoint(path, &is_hdf5);
    DN_CHECK(status == DN_OK, status,
             "--init-from: %s; of PyTorch's weights scripts/pth_to_safetensors.py makes one",
             dn_message());
    DN_TRY(is_hdf5 ? copy_checkpoint(net, options, path, &classes)
                   : dn_safetensors_load(net, path, &classes));
    if (classes > 0)
        dn_info("weights of %s, but for its head of %d classes: that for %d starts anew", path,
                classes, spec->classes);
    else
        dn_info("weights of %s", path);
    return DN_OK;
}
