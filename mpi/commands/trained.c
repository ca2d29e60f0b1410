/* Trained nets, in checkpoints and other files of weights; see trained.h. */
#include "commands/trained.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/from_options.h"
#include "dn/file.h"
#include "dn/run_folder.h"
#include "dn/weights.h"

dn_status dn_is_checkpoint(const char *path, int *is)
{
    static const char signature[] = "\211HDF";
    char begin[sizeof signature - 1] = "";
    int file;
    int64_t size;
    *is = dn_is_folder(path);
    if (*is)
        return DN_OK;
    DN_TRY(dn_file_open(path, &file, &size));
    const dn_status status =
        size >= (int64_t)sizeof begin ? dn_file_read(file, path, begin, sizeof begin, 0) : DN_OK;
    close(file);
    *is = memcmp(begin, signature, sizeof begin) == 0;
    return status;
}

/* Opens the folder's best checkpoint, or its newest if there is none or it is damaged. */
static dn_status open_folder(dn_trained *t, const char *folder)
{
    char best[PATH_MAX], runs[DN_RUNS_TEXT];
    dn_failure failure = {0};
    DN_TRY(dn_join_path(best, folder, DN_CHECKPOINT_BEST));
    const dn_status status = dn_checkpoint_open(&t->file, best, &t->state);
    if (status != DN_ENOENT && status != DN_ECORRUPT)
        return status;
    dn_failure_keep(&failure, status);
    DN_TRY(dn_checkpoint_open_newest(&t->file, folder, INT64_MAX, &t->state));
    if (status == DN_ECORRUPT && !t->file)
        return dn_failure_report(&failure);
    DN_CHECK(t->file, DN_ENOENT, "%s: found no checkpoint-STEP.h5, expected the folder of a run%s",
             folder, dn_runs_there(folder, runs));
    if (status == DN_ECORRUPT)
        dn_warn("best checkpoint skipped: %s; using %s", failure.message, t->state.path);
    return DN_OK;
}

static dn_status open_file(dn_trained *t, const char *path)
{
    return dn_is_folder(path) ? open_folder(t, path)
                              : dn_checkpoint_open(&t->file, path, &t->state);
}

/* A safetensors file has one kind of weights. */
static dn_status resolve_weights(const dn_trained *t, dn_options *o)
{
    const int is_average = strcmp(t->told.weights, "average") == 0;
    DN_CHECK(o->weights == DN_WEIGHTS_AUTO || (o->weights == DN_WEIGHTS_AVERAGE) == is_average,
             DN_EINVAL, "--weights %s: found safetensors of %s weights, expected a checkpoint",
             is_average ? "trained" : "average", is_average ? "averaged" : "trained");
    o->weights = is_average ? DN_WEIGHTS_AVERAGE : DN_WEIGHTS_TRAINED;
    return DN_OK;
}

/* Takes options that were not given from the file's metadata. */
static dn_status open_safetensors(dn_trained *t, dn_options *o)
{
    DN_TRY(dn_safetensors_metadata(o->checkpoint, &t->told));
    DN_CHECK(t->told.model[0] || dn_options_given(o, "model"), DN_EINVAL,
             "%s: found safetensors that do not tell their model, expected --model NAME",
             o->checkpoint);
    DN_TRY(resolve_weights(t, o));
    if (!dn_options_given(o, "model"))
        strcpy(o->model, t->told.model);
    if (!dn_options_given(o, "size"))
        o->size = t->told.size;
    if (!dn_options_given(o, "eval-transform") && t->told.eval_transform[0])
        strcpy(o->eval_transform, t->told.eval_transform);
    if (!dn_options_given(o, "normalize") && t->told.data)
        dn_normalize_describe(&t->told.data->info, o->normalize, sizeof o->normalize);
    t->state.step = t->told.step;
    t->state.average_step = -1;
    return DN_OK;
}

/* Makes a manifest from the tensors' shapes alone, with numbers for class names. */
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
    const dn_status status = dn_manifest_describe(&t->data, &info, names, NULL);
    json_decref(names);
    return status;
}

static void take_folder(const dn_trained *t, dn_options *o)
{
    if (t->state.folder[0] && !dn_options_given(o, "data"))
        strcpy(o->data, t->state.folder);
}

dn_status dn_trained_open(dn_trained *t, dn_options *o)
{
    int is_hdf5;
    *t = (dn_trained){0};
    const dn_status status = dn_is_checkpoint(o->checkpoint, &is_hdf5);
    DN_CHECK(status == DN_OK, status,
             "%s; expected the folder of a run, a checkpoint or safetensors", dn_message());
    if (!is_hdf5)
        return open_safetensors(t, o);
    DN_TRY(open_file(t, o->checkpoint));
    strcpy(o->checkpoint, t->state.path);
    DN_TRY(dn_options_resume(o, &t->state));
    take_folder(t, o);
    if (o->weights == DN_WEIGHTS_AUTO)
        o->weights = t->state.average_step > 0 ? DN_WEIGHTS_AVERAGE : DN_WEIGHTS_TRAINED;
    return DN_OK;
}

dn_status dn_learnt_folder(const dn_checkpoint *state)
{
    DN_CHECK(access(state->folder, F_OK) == 0, DN_ENOENT,
             "--data: found none, and %s, which %s learnt from, is no longer there", state->folder,
             state->path);
    return DN_OK;
}

/* Gives all ranks the options of rank 0, except those whose value may differ. No field of an option
 * is a pointer. */
static void share_options(const dn_comm *comm, dn_options *o)
{
    dn_options first = *o;
    dn_comm_broadcast(comm, &first, sizeof first);
    for (const dn_option *row = dn_option_table; row->name; row++)
        if (row->tag >= DN_FREE)
            memcpy((char *)o + row->offset, (const char *)&first + row->offset, row->size);
}

dn_status dn_trained_open_all(dn_trained *t, const dn_comm *comm, dn_options *o)
{
    *t = (dn_trained){0};
    DN_TRY(DN_ON_RANK_0(comm, dn_trained_open(t, o)));
    share_options(comm, o);
    dn_comm_broadcast(comm, &t->state, sizeof t->state);
    take_folder(t, o);
    return DN_OK;
}

const char *dn_trained_weights(const dn_trained *t, const dn_options *o)
{
    return o->weights == DN_WEIGHTS_AVERAGE ? ", averaged weights"
           : t->state.average_step >= 0     ? ", trained weights, not the averaged ones"
                                            : "";
}

/* ---- the classes ---- */

int dn_first_other_class(const dn_manifest *a, const dn_manifest *b)
{
    const int most = a->info.classes < b->info.classes ? a->info.classes : b->info.classes;
    int c = 0;
    while (c < most && strcmp(a->class_names[c], b->class_names[c]) == 0)
        c++;
    return c;
}

/* The first class of `a`, from `first` on, that `b` does not have; or NULL. */
static const char *missing_class(const dn_manifest *a, const dn_manifest *b, int first)
{
    for (int c = first; c < a->info.classes; c++) {
        int other = first;
        while (other < b->info.classes && strcmp(a->class_names[c], b->class_names[other]) != 0)
            other++;
        if (other == b->info.classes)
            return a->class_names[c];
    }
    return NULL;
}

/* `learnt` is NULL if only the number of classes is known. */
static dn_status refuse_number(const dn_manifest *learnt, int classes, const dn_manifest *data,
                               const dn_options *o)
{
    const int found = data->info.classes, is_less = found < classes;
    const char *name = NULL;
    if (learnt)
        name = is_less ? missing_class(learnt, data, dn_first_other_class(learnt, data))
                       : missing_class(data, learnt, dn_first_other_class(learnt, data));
    return dn_fail(DN_EINVAL, "%s: found %d classes, expected the %d of %s%s%s%s", o->data, found,
                   classes, o->checkpoint, name ? (is_less ? "; \"" : ", which lacks \"") : "",
                   name ? name : "", name ? (is_less ? "\" is not among them" : "\"") : "");
}

dn_status dn_trained_check(const dn_trained *t, const dn_manifest *data, const dn_options *o)
{
    const dn_manifest *const learnt = t->data;
    const int classes = learnt ? learnt->info.classes : t->told.classes;
    const int channels = learnt ? learnt->info.channels : t->told.channels;
    if (classes > 0 && classes != data->info.classes)
        return refuse_number(learnt, classes, data, o);
    const int other = learnt ? dn_first_other_class(learnt, data) : data->info.classes;
    DN_CHECK(other == data->info.classes, DN_EINVAL,
             "%s: found \"%s\" as class %d, expected \"%s\" as in %s", o->data,
             data->class_names[other], other, learnt->class_names[other], o->checkpoint);
    DN_CHECK(!learnt || !learnt->info.label_sets == !data->info.label_sets, DN_EINVAL,
             "%s: found images with %s, expected %s as in %s", o->data,
             data->info.label_sets ? "sets of classes" : "one class each",
             learnt->info.label_sets ? "sets of classes" : "one class each", o->checkpoint);
    DN_CHECK(channels == 0 || channels == data->info.channels, DN_ESHAPE,
             "%s: found images of %d channels, expected %d as in %s", o->data, data->info.channels,
             channels, o->checkpoint);
    return DN_OK;
}

/* ---- the data and the net ---- */

dn_status dn_trained_learnt(dn_trained *t)
{
    if (t->file)
        return dn_checkpoint_data_set(t->file, &t->data);
    t->data = t->told.data;
    t->told.data = NULL;
    return DN_OK;
}

/* Replaces the training data set by that of --data, if it passes dn_trained_check. How the training
 * images were converted remains known. */
static dn_status take_given(dn_trained *t, const dn_options *o)
{
    dn_manifest *given;
    DN_TRY(dn_manifest_load(&given, o->data));
    const dn_status status = dn_trained_check(t, given, o);
    if (t->data)
        memcpy(given->conversion, t->data->conversion, sizeof given->conversion);
    free(t->data);
    t->data = given;
    return status;
}

dn_status dn_trained_data(dn_trained *t, const dn_options *o)
{
    DN_TRY(dn_trained_learnt(t));
    if (dn_options_given(o, "data"))
        DN_TRY(take_given(t, o));
    else if (!t->data)
        DN_TRY(number_classes(t, o));
    return dn_options_normalize(o, &t->data->info);
}

static dn_status load_weights(const dn_trained *t, const dn_options *o, dn_net *net)
{
    int classes;
    if (t->file)
        return o->weights == DN_WEIGHTS_AVERAGE ? dn_checkpoint_load_average(t->file, net)
                                                : dn_checkpoint_load(t->file, net, NULL);
    DN_TRY(dn_safetensors_load(net, o->checkpoint, &classes));
    DN_CHECK(classes == 0, DN_ESHAPE, "%s: found %d classes, expected %d", o->checkpoint, classes,
             dn_net_view(net).spec->classes);
    return DN_OK;
}

/* The options give no size if the images are not square, but their transform does. */
dn_status dn_trained_net(const dn_trained *t, const dn_options *options, const dn_data_info *data,
                         dn_net **net)
{
    dn_options o = *options;
    dn_transform input;
    const int is_sized = o.size > 0 || strcmp(o.eval_transform, "auto") == 0;
    if (!is_sized)
        DN_TRY(dn_options_transform(&o, DN_TEST, data, &input));
    DN_TRY(dn_options_net(&o, DN_NET_EVALUATES, data, is_sized ? NULL : &input, 1, net));
    return load_weights(t, &o, *net);
}

dn_status dn_trained_net_all(const dn_trained *t, const dn_comm *comm, const dn_options *o,
                             const dn_data_info *data, const dn_transform *input, dn_net **net)
{
    DN_TRY(dn_comm_agree(comm, dn_options_net(o, DN_NET_EVALUATES, data, input, 1, net)));
    DN_TRY(DN_ON_RANK_0(comm, load_weights(t, o, *net)));
    dn_share_weights(comm, *net);
    return DN_OK;
}

void dn_share_weights(const dn_comm *comm, const dn_net *net)
{
    const dn_view view = dn_net_view(net);
    dn_comm_broadcast(comm, view.parameters, view.parameter_count * sizeof(float));
    dn_comm_broadcast(comm, view.running, view.running_count * sizeof(float));
}

void dn_trained_close(dn_trained *t)
{
    dn_checkpoint_close(&t->file);
    free(t->told.data);
    free(t->data);
    t->told.data = t->data = NULL;
}
