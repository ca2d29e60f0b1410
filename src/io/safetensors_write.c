/* Writes safetensors; see include/dn/weights.h, and weights_file.h for the format. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"
#include "weights_file.h"

enum { ALIGNMENT = 8 };

/* Order of the tensors in the file: like the safetensors library, by decreasing element size, then
 * by name. */
static int compare_tensors(const void *a, const void *b)
{
    const dn_tensor *x = *(const dn_tensor *const *)a, *y = *(const dn_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static void add_entry(json_t *header, const char *name, const char *dtype, json_t *shape,
                      size_t bytes, size_t *end)
{
    json_object_set_new(header, name,
                        json_pack("{s:s,s:o,s:[I,I]}", "dtype", dtype, "shape", shape,
                                  "data_offsets", (json_int_t)*end, (json_int_t)(*end + bytes)));
    *end += bytes;
}

/* *end = size of the tensors in bytes. */
static json_t *make_header(const dn_net *net, const dn_weights_about *about,
                           const dn_tensor *const *list, size_t *end)
{
    const int count = dn_net_view(net).tensor_count;
    json_t *const header = json_object();
    char name[128];
    *end = 0;
    json_object_set_new(header, "__metadata__", dn_weights_describe(net, about));
    for (int i = 0; i < count; i++)
        if (list[i]->kind == DN_RUNNING_VAR) {
            snprintf(name, sizeof name, "%s", list[i]->name);
            dn_batches_tracked_name(name);
            add_entry(header, name, "I64", json_array(), sizeof(int64_t), end);
        }
    for (int i = 0; i < count; i++) {
        json_t *const shape = json_array();
        for (int d = 0; d < list[i]->dims; d++)
            json_array_append_new(shape, json_integer(list[i]->shape[d]));
        add_entry(header, list[i]->name, "F32", shape, list[i]->count * sizeof(float), end);
    }
    return header;
}

/* Writes the tensors that make_header lists to `to`; numbers are little-endian, like the machine's.
 */
static void put_tensors(uint8_t *to, const dn_view *net, int64_t step, const dn_tensor *const *list)
{
    for (int i = 0; i < net->tensor_count; i++)
        if (list[i]->kind == DN_RUNNING_VAR) {
            memcpy(to, &step, sizeof step);
            to += sizeof step;
        }
    for (int i = 0; i < net->tensor_count; i++) {
        const float *const from = dn_is_parameter(list[i]) ? net->parameters : net->running;
        memcpy(to, from + list[i]->offset, list[i]->count * sizeof *from);
        to += list[i]->count * sizeof *from;
    }
}

static dn_status save_sorted(const char *path, const dn_net *net, const dn_weights_about *about,
                             const dn_tensor *const *list)
{
    const dn_view view = dn_net_view(net);
    size_t data;
    json_t *const header = make_header(net, about, list, &data);
    char *const text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    const size_t length = text ? strlen(text) : 0;
    const uint64_t padded = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint8_t *const bytes = text ? malloc(DN_SAFETENSORS_LENGTH + padded + data) : NULL;
    dn_status status = dn_fail(DN_ENOMEM, "%s: out of memory", path);
    if (bytes) {
        memcpy(bytes, &padded, DN_SAFETENSORS_LENGTH);
        memset(bytes + DN_SAFETENSORS_LENGTH, ' ', padded);
        memcpy(bytes + DN_SAFETENSORS_LENGTH, text, length);
        put_tensors(bytes + DN_SAFETENSORS_LENGTH + padded, &view, about->step, list);
        status = dn_file_write(path, bytes, DN_SAFETENSORS_LENGTH + padded + data);
    }
    free(bytes);
    free(text);
    return status;
}

dn_status dn_safetensors_save(const char *path, const dn_net *net, const dn_weights_about *about)
{
    const dn_view view = dn_net_view(net);
    const dn_tensor **const list = malloc((size_t)view.tensor_count * sizeof *list);
    DN_CHECK(list, DN_ENOMEM, "%s: out of memory", path);
    for (int i = 0; i < view.tensor_count; i++)
        list[i] = &view.tensors[i];
    qsort(list, (size_t)view.tensor_count, sizeof *list, compare_tensors);
    const dn_status status = save_sorted(path, net, about, list);
    free(list);
    return status;
}
