/* Copies tensors into a net by name, and describes weights in metadata, which
 * safetensors_metadata.c reads; see include/dn/weights.h. */
#include "dn/weights.h"

#include <ctype.h>
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/json.h"
#include "dn/program.h"
#include "weights_file.h"

/* ---- in ---- */

/* "denselayer1.norm.1.weight", as in torchvision's first files, becomes "denselayer1.norm1.weight".
 */
static void rename_key(char *name)
{
    static const char *const parts[] = {".norm.", ".conv."};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *const at = strstr(name, parts[i]);
        if (at && isdigit((unsigned char)at[6]) && at[7] == '.')
            memmove(at + 5, at + 6, strlen(at + 6) + 1);
    }
}

const char *dn_shape_text(char text[DN_SHAPE_TEXT], int dims, const int64_t *shape)
{
    int used = snprintf(text, DN_SHAPE_TEXT, "(");
    for (int i = 0; i < dims && used < DN_SHAPE_TEXT; i++)
        used += snprintf(text + used, (size_t)(DN_SHAPE_TEXT - used), "%s%" PRId64, i ? ", " : "",
                         shape[i]);
    if (used < DN_SHAPE_TEXT)
        snprintf(text + used, (size_t)(DN_SHAPE_TEXT - used), ")");
    return text;
}

static dn_named_tensor named(const dn_tensor *t, const float *values)
{
    dn_named_tensor n = {.dims = t->dims, .values = values};
    snprintf(n.name, sizeof n.name, "%s", t->name);
    for (int i = 0; i < t->dims; i++)
        n.shape[i] = t->shape[i];
    return n;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const dn_named_tensor *)a)->name, ((const dn_named_tensor *)b)->name);
}

/* Checks that `found` has the shape of the net's tensor; *classes as in dn_weights_take. */
static dn_status check_shape(const char *path, const char *model, const dn_named_tensor *found,
                             const dn_tensor *t, int64_t *classes)
{
    char ours[DN_SHAPE_TEXT], theirs[DN_SHAPE_TEXT];
    dn_named_tensor expected = named(t, NULL);
    const int is_head = t->is_head;
    if (is_head && *classes != 0) /* must equal the head's other tensor */
        expected.shape[0] = *classes;
    const size_t body = sizeof *found->shape * (size_t)(t->dims - is_head);
    DN_CHECK(
        found->dims == t->dims &&
            memcmp(found->shape + is_head, expected.shape + is_head, body) == 0 &&
            (!is_head || (found->shape[0] >= 1 && (*classes == 0 || *classes == found->shape[0]))),
        DN_ESHAPE, "%s: %s: found shape %s, expected %s (model %s)", path, t->name,
        dn_shape_text(theirs, found->dims, found->shape),
        dn_shape_text(ours, t->dims, expected.shape), model);
    if (is_head)
        *classes = found->shape[0];
    return DN_OK;
}

dn_status dn_check_values(const char *path, const char *name, const dn_tensor *t, int is_squares,
                          const float *values)
{
    const float least = is_squares || t->kind == DN_RUNNING_VAR ? 0 : -FLT_MAX;
    for (size_t i = 0; i < t->count; i++)
        DN_CHECK(values[i] >= least && values[i] <= FLT_MAX, DN_ECORRUPT,
                 "%s: %s: found %g at %zu, expected a finite number%s", path, name, values[i], i,
                 least == 0 ? " of 0 or more" : "");
    return DN_OK;
}

/* 1 if `found` is the first convolution of a net of one channel, and t that of three. */
static int is_grey_stem(const dn_named_tensor *found, const dn_tensor *t)
{
    const size_t shape = sizeof *found->shape;
    const dn_named_tensor own = named(t, NULL);
    return strcmp(t->name, "features.conv0.weight") == 0 && found->dims == 4 &&
           found->shape[1] == 1 && own.shape[1] == 3 && found->shape[0] == own.shape[0] &&
           memcmp(found->shape + 2, own.shape + 2, 2 * shape) == 0;
}

/* Three equal channels of a third each: for a grey image the same net. */
static void spread_stem(const dn_view *net, const char *path, const dn_named_tensor *found,
                        const dn_tensor *t)
{
    const size_t plane = (size_t)(found->shape[2] * found->shape[3]);
    for (size_t i = 0; i < t->count; i++)
        net->parameters[t->offset + i] = found->values[i / (3 * plane) * plane + i % plane] / 3;
    dn_info("%s: %s is of one channel: each of three gets a third", path, t->name);
}

static const dn_named_tensor *find(const dn_named_tensor *tensors, int count, const dn_tensor *t)
{
    const dn_named_tensor key = named(t, NULL);
    return bsearch(&key, tensors, (size_t)count, sizeof *tensors, compare_names);
}

/* A head of another number of classes is not copied. */
static int is_other_head(const dn_view *net, const dn_tensor *t, int64_t classes)
{
    return t->is_head && classes != net->spec->classes;
}

/* Checks what is to be copied to t; *classes as in dn_weights_take. */
static dn_status check_tensor(const dn_view *net, const char *path, const dn_named_tensor *found,
                              const dn_tensor *t, int64_t *classes)
{
    dn_tensor grey = *t;
    grey.count /= 3;
    DN_CHECK(found, DN_ESHAPE, "%s: found no tensor %s, which model %s has", path, t->name,
             net->spec->name);
    if (is_grey_stem(found, t))
        return dn_check_values(path, t->name, &grey, 0, found->values);
    DN_TRY(check_shape(path, net->spec->name, found, t, classes));
    return is_other_head(net, t, *classes) ? DN_OK
                                           : dn_check_values(path, t->name, t, 0, found->values);
}

static void copy_tensor(const dn_view *net, const char *path, const dn_named_tensor *found,
                        const dn_tensor *t)
{
    if (is_grey_stem(found, t))
        spread_stem(net, path, found, t);
    else
        memcpy((dn_is_parameter(t) ? net->parameters : net->running) + t->offset, found->values,
               t->count * sizeof(float));
}

/* Checks that every name in the file is one of the net's. */
static dn_status check_known(const dn_view *net, const char *path, const dn_named_tensor *tensors,
                             int count)
{
    for (int i = 0; i < count; i++) {
        int t = 0;
        while (t < net->tensor_count && strcmp(net->tensors[t].name, tensors[i].name) != 0)
            t++;
        DN_CHECK(t < net->tensor_count, DN_ESHAPE,
                 "%s: found the tensor %s, which model %s does not have", path, tensors[i].name,
                 net->spec->name);
    }
    return DN_OK;
}

dn_status dn_weights_take(dn_net *net, const char *path, dn_named_tensor *tensors, int count,
                          int *classes)
{
    const dn_view view = dn_net_view(net);
    int64_t head = 0;
    for (int i = 0; i < count; i++)
        rename_key(tensors[i].name);
    qsort(tensors, (size_t)count, sizeof *tensors, compare_names);
    for (int i = 1; i < count; i++)
        DN_CHECK(strcmp(tensors[i].name, tensors[i - 1].name) != 0, DN_ECORRUPT,
                 "%s: found the tensor %s twice", path, tensors[i].name);
    const dn_tensor *const end = view.tensors + view.tensor_count;
    for (const dn_tensor *t = view.tensors; t < end; t++)
        DN_TRY(check_tensor(&view, path, find(tensors, count, t), t, &head));
    if (count != view.tensor_count)
        DN_TRY(check_known(&view, path, tensors, count));
    for (const dn_tensor *t = view.tensors; t < end; t++)
        if (!is_other_head(&view, t, head))
            copy_tensor(&view, path, find(tensors, count, t), t);
    *classes = head != view.spec->classes ? (int)head : 0;
    return DN_OK;
}

dn_status dn_weights_copy(dn_net *net, const char *path, const dn_net *from, int *classes)
{
    const dn_view view = dn_net_view(from);
    dn_named_tensor *const tensors = calloc((size_t)view.tensor_count, sizeof *tensors);
    DN_CHECK(tensors, DN_ENOMEM, "%s: out of memory", path);
    for (int i = 0; i < view.tensor_count; i++) {
        const dn_tensor *const t = &view.tensors[i];
        tensors[i] = named(t, (dn_is_parameter(t) ? view.parameters : view.running) + t->offset);
    }
    const dn_status status = dn_weights_take(net, path, tensors, view.tensor_count, classes);
    free(tensors);
    return status;
}

/* ---- out ---- */

/* object[key] = the list as JSON text; takes `list`. */
static void put_list(json_t *object, const char *key, json_t *list)
{
    char *const text = json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_object_set_new(object, key, json_string(text ? text : ""));
    free(text);
    json_decref(list);
}

json_t *dn_weights_describe(const dn_net *net, const dn_weights_about *about)
{
    const dn_spec *spec = dn_net_view(net).spec;
    const dn_data_info *info = &about->data->info;
    const char *const conversion = about->data->conversion;
    json_t *const object =
        json_pack("{s:s,s:o,s:s,s:s,s:s*,s:s*,s:s*,s:o,s:o,s:o,s:o}", "format", "pt", "producer",
                  json_sprintf("dn_dist %s", dn_version()), "model", spec->name, "dataset",
                  info->dataset, "conversion", conversion[0] ? conversion : NULL, "eval_transform",
                  about->eval_transform, "weights", about->weights, "records",
                  json_sprintf("%dx%dx%d", info->channels, info->height, info->width), "image",
                  json_sprintf("%dx%dx%d", spec->channels, spec->height, spec->width), "step",
                  json_sprintf("%" PRId64, about->step), "weights_hash",
                  json_sprintf("%016" PRIx64, dn_net_hash(net)));
    json_t *const names = json_array();
    for (int i = 0; i < info->classes; i++)
        json_array_append_new(names, json_string(about->data->class_names[i]));
    put_list(object, "classes", names);
    if (info->label_sets > 0)
        put_list(object, "label_sets", dn_manifest_label_sets(about->data));
    put_list(object, "mean", dn_json_numbers(info->mean, info->channels));
    put_list(object, "std", dn_json_numbers(info->std, info->channels));
    return object;
}
