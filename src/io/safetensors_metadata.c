/* Reads the metadata of a safetensors file; see include/dn/weights.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights_file.h"

/* The text of a key, "" if there is none. */
static const char *text_of(const json_t *metadata, const char *key)
{
    const char *const text = json_string_value(json_object_get(metadata, key));
    return text && dn_is_one_line(text) ? text : "";
}

/* The list in the text of a key, NULL if it is none. */
static json_t *list_of(const json_t *metadata, const char *key)
{
    json_t *const list = json_loads(text_of(metadata, key), 0, NULL);
    if (json_is_array(list))
        return list;
    json_decref(list);
    return NULL;
}

/* value(count) = the list's numbers, each greater than `least`. */
static int numbers_of(const json_t *metadata, const char *key, int count, double least,
                      double *value)
{
    json_t *const list = list_of(metadata, key);
    int is_good = json_array_size(list) == (size_t)count;
    for (int i = 0; i < count && is_good; i++) {
        const json_t *const number = json_array_get(list, (size_t)i);
        value[i] = json_number_value(number);
        is_good = json_is_number(number) && value[i] > least && fabs(value[i]) < 1e6;
    }
    json_decref(list);
    return is_good;
}

/* "3x32x32"; height and width 0 are allowed. */
static int image_of(const json_t *metadata, const char *key, int size[3])
{
    char rest;
    return sscanf(text_of(metadata, key), "%4dx%4dx%4d%c", &size[0], &size[1], &size[2], &rest) ==
               3 &&
           size[0] > 0 && size[0] <= DN_MAX_IMAGE_CHANNELS && size[1] >= 0 && size[2] >= 0 &&
           size[1] <= DN_MAX_SIDE && size[2] <= DN_MAX_SIDE && !size[1] == !size[2];
}

/* The data set, NULL if a part of it is missing or invalid. */
static dn_manifest *data_of(const json_t *metadata)
{
    dn_data_info info = {.dataset = ""};
    dn_manifest *data = NULL;
    int size[3];
    json_t *const names = list_of(metadata, "classes"), *const sets =
                                                            list_of(metadata, "label_sets");
    const size_t classes = json_array_size(names);
    if (classes > 0 && classes <= DN_MAX_CLASSES && image_of(metadata, "records", size) &&
        numbers_of(metadata, "mean", size[0], -1e6, info.mean) &&
        numbers_of(metadata, "std", size[0], 0, info.std)) {
        snprintf(info.dataset, sizeof info.dataset, "%s", text_of(metadata, "dataset"));
        info.classes = (int)classes;
        info.label_sets = (int)json_array_size(sets);
        info.channels = size[0];
        info.height = size[1];
        info.width = size[2];
        if (dn_manifest_describe(&data, &info, names, sets) != DN_OK)
            data = NULL;
        else
            snprintf(data->conversion, sizeof data->conversion, "%s",
                     text_of(metadata, "conversion"));
    }
    json_decref(names);
    json_decref(sets);
    return data;
}

/* Side `axis` of a tensor's shape; 0 if that is not in [1, most]. */
static int side_of(const json_t *header, const char *name, size_t axis, int most)
{
    const json_t *const shape = json_object_get(json_object_get(header, name), "shape");
    const json_int_t side = json_integer_value(json_array_get(shape, axis));
    return side > 0 && side <= most ? (int)side : 0;
}

dn_status dn_safetensors_metadata(const char *path, dn_weights_metadata *found)
{
    uint8_t *bytes;
    size_t size;
    json_t *header;
    int image[3];
    *found = (dn_weights_metadata){0};
    DN_TRY(dn_safetensors_open(path, &bytes, &size, &header));
    const json_t *const metadata = json_object_get(header, "__metadata__");
    found->channels = side_of(header, "features.conv0.weight", 1, DN_MAX_IMAGE_CHANNELS);
    found->classes = side_of(header, "classifier.weight", 0, DN_MAX_CLASSES);
    snprintf(found->model, sizeof found->model, "%s", text_of(metadata, "model"));
    snprintf(found->eval_transform, sizeof found->eval_transform, "%s",
             text_of(metadata, "eval_transform"));
    snprintf(found->weights, sizeof found->weights, "%s", text_of(metadata, "weights"));
    if (image_of(metadata, "image", image) && image[1] == image[2])
        found->size = image[1];
    const long long step = strtoll(text_of(metadata, "step"), NULL, 10);
    found->step = step > 0 ? step : 0;
    found->data = data_of(metadata);
    json_decref(header);
    free(bytes);
    return DN_OK;
}
