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
static dn_status copy_checkpoint(dn_net *net, const dn_options *options, origin *found)
{
    dn_options own;
    dn_trained from;
    dn_net *loaded = NULL;
    dn_status status;
    DN_TRY_OR_DONE(open_start(&from, options, &own));
    own.batch_size = 1;
    DN_TRY_OR_DONE(dn_trained_learnt(&from));
    DN_TRY_OR_DONE(dn_trained_net(&from, &own, &from.data->info, &loaded));
    DN_TRY_OR_DONE(dn_weights_copy(net, own.checkpoint, loaded, &found->classes));
    found->is_average = own.weights == DN_WEIGHTS_AVERAGE;
    found->learnt = from.data;
    from.data = NULL;
done:
    dn_net_destroy(&loaded);
    dn_trained_close(&from);
    return status;
}

static dn_status copy_safetensors(dn_net *net, const char *path, origin *from)
{
    dn_weights_metadata told;
    DN_TRY(dn_safetensors_metadata(path, &told));
    from->learnt = told.data;
    from->is_average = strcmp(told.weights, "average") == 0;
    return dn_safetensors_load(net, path, &from->classes);
}

/* Copies the head's tensors from the initial parameters. */
static void restore_head(const dn_view *net, const float *initial)
{
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++)
        if (t->is_head)
            memcpy(net->parameters + t->offset, initial + t->offset, t->count * sizeof *initial);
}

/* A head trained for other classes, by name or order, is useless here: the initial one takes its
 * place. */
static void settle_head(const dn_view *net, const char *path, const origin *from,
                        const dn_manifest *data, const float *initial)
{
    const char *const kind = from->is_average ? "averaged weights" : "weights";
    const int classes = net->spec->classes;
    const int other =
        from->learnt && from->classes == 0 ? dn_first_other_class(from->learnt, data) : classes;
    if (from->classes > 0) {
        dn_info("%s of %s, except its head of %d classes: a new head for %d is initialised", kind,
                path, from->classes, classes);
    } else if (other < classes) {
        restore_head(net, initial);
        dn_info(
            "%s of %s, except its head, whose class %d is \"%s\", not \"%s\": a new head for these "
            "classes is initialised",
            kind, path, other, from->learnt->class_names[other], data->class_names[other]);
    } else {
        dn_info("%s of %s", kind, path);
    }
}

dn_status dn_init_from(dn_net *net, const dn_options *options, const dn_manifest *data)
{
    const dn_view view = dn_net_view(net);
    origin from = {0};
    int is_hdf5;
    DN_TRY(start_kind(options->init_from, &is_hdf5));
    float *const initial = malloc(view.parameter_count * sizeof *initial);
    DN_CHECK(initial, DN_ENOMEM, "out of memory for %zu parameters", view.parameter_count);
    memcpy(initial, view.parameters, view.parameter_count * sizeof *initial);
    dn_status status = is_hdf5 ? copy_checkpoint(net, options, &from)
                               : copy_safetensors(net, options->init_from, &from);
    const int names = from.learnt ? from.learnt->info.classes : 0;
    if (status == DN_OK && names > 0 && from.classes == 0 && names != view.spec->classes)
        status =
            dn_fail(DN_ECORRUPT, "%s: found %d class names, expected %d as its head has classes",
                    options->init_from, names, view.spec->classes);
    if (status == DN_OK)
        settle_head(&view, options->init_from, &from, data, initial);
    free(from.learnt);
    free(initial);
    return status;
}

/* model = the one that the file names, or "". */
static dn_status find_model(const dn_options *options, char model[sizeof options->model])
{
    int is_hdf5;
    dn_options own;
    dn_trained from;
    dn_weights_metadata tensors;
    DN_TRY(start_kind(options->init_from, &is_hdf5));
    if (is_hdf5) {
        const dn_status status = open_start(&from, options, &own);
        strcpy(model, own.model);
        dn_trained_close(&from);
        return status;
    }
    DN_TRY(dn_safetensors_metadata(options->init_from, &tensors));
    free(tensors.data);
    strcpy(model, tensors.model);
    return DN_OK;
}

dn_status dn_init_model(dn_options *o)
{
    char model[sizeof o->model] = "";
    dn_spec spec;
    DN_TRY(find_model(o, model));
    DN_CHECK(model[0] == '\0' || dn_spec_parse(&spec, model) == DN_OK, DN_EINVAL,
             "--init-from %s: %s; expected --model NAME", o->init_from, dn_message());
    if (model[0])
        strcpy(o->model, model);
    else
        dn_warn("--init-from %s: does not tell its model, taken for that of %s (--model)",
                o->init_from, o->model);
    return DN_OK;
}
