/* The weights that a run starts from; see init_from.h. */
#include "commands/init_from.h"

#include <stdlib.h>
#include <string.h>

#include "commands/trained.h"
#include "dn/weights.h"

/* What the file says of its weights. */
typedef struct origin {
    int classes;         /* of a head that was skipped as it has another number of classes; or 0 */
    int is_average;      /* averaged weights */
    dn_manifest *learnt; /* NULL: not known */
} origin;

static dn_status start_kind(const char *path, int *is_hdf5)
{
    const dn_status status = dn_is_checkpoint(path, is_hdf5);
    DN_CHECK(status == DN_OK, status,
             "--init-from: %s; of PyTorch's weights scripts/pth_to_safetensors.py makes one",
             dn_message());
    return DN_OK;
}

/* Opens the checkpoint of --init-from; *own = the options of its run. The caller closes it, even
 * after a failure. */
static dn_status open_start(dn_trained *from, const dn_options *options, dn_options *own)
{
    *own = *options;
    own->given = 0;
    strcpy(own->checkpoint, options->init_from);
    return dn_trained_open(from, own);
}

/* Loads the whole checkpoint into a net of its own, which checks all of it, then copies the parts
 * that fit. */
static dn_status copy_checkpoint(dn_net *net, const dn_options *options, origin *told)
{
    dn_options own;
    dn_trained from;
    dn_transform transform;
    const dn_transform *input = NULL;
    dn_net *loaded = NULL;
    dn_status status;
    DN_TRY_OR_DONE(open_start(&from, options, &own));
    own.batch_size = 1;
    DN_TRY_OR_DONE(dn_trained_learnt(&from));
    DN_TRY_OR_DONE(dn_trained_input(&own, &from.data->info, &transform, &input));
    const dn_data_info images = {.channels = from.data->info.channels};
    DN_TRY_OR_DONE(dn_trained_net(&from, &own, &images, input, &loaded));
    DN_TRY_OR_DONE(dn_weights_copy(net, own.checkpoint, loaded, &told->classes));
    told->is_average = own.weights == DN_WEIGHTS_AVERAGE;
    told->learnt = from.data;
    from.data = NULL;
done:
    dn_net_destroy(&loaded);
    dn_trained_close(&from);
    return status;
}

static dn_status copy_safetensors(dn_net *net, const char *path, origin *from)
{
    dn_weights_told told;
    DN_TRY(dn_safetensors_tell(path, &told));
    from->learnt = told.data;
    from->is_average = strcmp(told.weights, "average") == 0;
    return dn_safetensors_load(net, path, &from->classes);
}

/* Copies the head's tensors to `kept`, one after another, or with `back` from there. Returns their
 * floats; with NULL it does only that. */
static size_t keep_head(const dn_view *net, float *kept, int back)
{
    size_t count = 0;
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++) {
        if (t->kind != DN_LINEAR_WEIGHT && t->kind != DN_LINEAR_BIAS)
            continue;
        float *const own = net->parameters + t->offset;
        if (kept && back)
            memcpy(own, kept + count, t->count * sizeof *own);
        else if (kept)
            memcpy(kept + count, own, t->count * sizeof *own);
        count += t->count;
    }
    return count;
}

/* A head trained for other classes, by name or order, is useless here: the head that was kept takes
 * its place. */
static void settle_head(const dn_view *net, const char *path, const origin *from,
                        const dn_manifest *data, float *kept)
{
    const char *const kind = from->is_average ? "averaged weights" : "weights";
    const int classes = net->spec->classes;
    const int other =
        from->learnt && from->classes == 0 ? dn_first_other_class(from->learnt, data) : classes;
    if (from->classes > 0) {
        dn_info("%s of %s, except its head of %d classes: a new head for %d is initialised", kind,
                path, from->classes, classes);
    } else if (other < classes) {
        keep_head(net, kept, 1);
        dn_info(
            "%s of %s, except its head, whose class %d is \"%s\", not \"%s\": a new head for these "
            "classes is initialised",
            kind, path, other, from->learnt->class_names[other], data->class_names[other]);
    } else {
        dn_info("%s of %s", kind, path);
    }
}

/* Checks that the file names as many classes as its head has. */
static dn_status check_learnt(const dn_view *net, const char *path, const dn_manifest *learnt)
{
    DN_CHECK(learnt->info.classes == net->spec->classes, DN_ECORRUPT,
             "%s: found %d class names, expected %d as its head has classes", path,
             learnt->info.classes, net->spec->classes);
    return DN_OK;
}

dn_status dn_init_from(dn_net *net, const dn_options *options, const dn_manifest *data)
{
    const dn_view view = dn_net_view(net);
    origin from = {0};
    int is_hdf5;
    DN_TRY(start_kind(options->init_from, &is_hdf5));
    float *const kept = malloc(keep_head(&view, NULL, 0) * sizeof *kept);
    DN_CHECK(kept, DN_ENOMEM, "out of memory for a head of %d classes", view.spec->classes);
    keep_head(&view, kept, 0);
    dn_status status = is_hdf5 ? copy_checkpoint(net, options, &from)
                               : copy_safetensors(net, options->init_from, &from);
    if (status == DN_OK && from.learnt && from.classes == 0)
        status = check_learnt(&view, options->init_from, from.learnt);
    if (status == DN_OK)
        settle_head(&view, options->init_from, &from, data, kept);
    free(from.learnt);
    free(kept);
    return status;
}

/* told = the model that the file names, or "". */
static dn_status told_model(const dn_options *options, char told[sizeof options->model])
{
    int is_hdf5;
    dn_options own;
    dn_trained from;
    dn_weights_told tensors;
    DN_TRY(start_kind(options->init_from, &is_hdf5));
    if (is_hdf5) {
        const dn_status status = open_start(&from, options, &own);
        strcpy(told, own.model);
        dn_trained_close(&from);
        return status;
    }
    DN_TRY(dn_safetensors_tell(options->init_from, &tensors));
    free(tensors.data);
    strcpy(told, tensors.model);
    return DN_OK;
}

dn_status dn_init_model(dn_options *o)
{
    char told[sizeof o->model] = "";
    dn_spec spec;
    DN_TRY(told_model(o, told));
    DN_CHECK(told[0] == '\0' || dn_spec_parse(&spec, told) == DN_OK, DN_EINVAL,
             "--init-from %s: %s; expected --model NAME", o->init_from, dn_message());
    if (told[0])
        strcpy(o->model, told);
    else
        dn_warn("--init-from %s: does not tell its model, taken for that of %s (--model)",
                o->init_from, o->model);
    return DN_OK;
}
