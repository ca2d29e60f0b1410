/* Pictures of the worst samples; see worst.h. */
#include "report/worst.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/image.h"
#include "dn/json.h"

/* ---- the picture of an image ---- */

static json_t *base64(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *const text = malloc((size + 2) / 3 * 4 + 1), *to = text;
    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i += 3, to += 4) {
        const uint32_t three = (uint32_t)bytes[i] << 16 |
                               (i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0) |
                               (i + 2 < size ? bytes[i + 2] : 0);
        for (int d = 0; d < 4; d++)
            to[d] = i + (size_t)d <= size ? digits[three >> (18 - 6 * d) & 63] : '=';
    }
    json_t *const string = json_stringn(text, (size_t)(to - text));
    free(text);
    return string;
}

/* The transformed input(channels, height, width) as a PNG; NULL if out of memory. If it has more
 * channels than a PNG the first one is shown. */
static json_t *draw_input(const dn_transform *t, const float *input)
{
    const size_t plane = (size_t)t->height * (size_t)t->width;
    const int channels = t->channels == 3 ? 3 : 1;
    uint8_t *const pixels = malloc(plane * (size_t)channels), *png = NULL;
    size_t size;
    json_t *picture = NULL;
    for (int c = 0; pixels && c < channels; c++)
        for (size_t i = 0; i < plane; i++)
            pixels[i * (size_t)channels + (size_t)c] =
                dn_transform_byte(t, c, input[(size_t)c * plane + i]);
    if (pixels && dn_png_encode(pixels, t->height, t->width, channels, &png, &size) == DN_OK)
        picture = base64(png, size);
    free(png);
    free(pixels);
    return picture;
}

/* ---- which ---- */

/* worst(DN_WORST) = the indices by descending loss, equal ones in order; NaN is the greatest loss.
 * Returns their number. */
static int find_worst(const dn_sample *samples, int64_t count, int64_t worst[DN_WORST])
{
    int found = 0;
    for (int64_t i = 0; i < count; i++) {
        int at = found < DN_WORST ? found : DN_WORST;
        while (at > 0 && !(samples[i].loss <= samples[worst[at - 1]].loss) &&
               !isnan(samples[worst[at - 1]].loss))
            at--;
        if (at == DN_WORST)
            continue;
        found += found < DN_WORST;
        memmove(worst + at + 1, worst + at, (size_t)(found - 1 - at) * sizeof *worst);
        worst[at] = i;
    }
    return found;
}

/* The image's label and prediction, as dn_worst_samples says. */
static json_t *name_classes(const dn_source *images, const dn_results *r, int64_t image)
{
    const dn_sample *const s = &r->samples[image];
    if (!images->label_sets)
        return json_pack("{s:i,s:i,s:o}", "label", images->labels[image], "predicted", s->predicted,
                         "probability", dn_json_number(s->probability));
    json_t *const label = json_array(), *const unknown = json_array(),
                  *const predicted = json_array();
    for (int c = 0; c < images->info.classes; c++) {
        const dn_presence has = dn_image_presence(images, image, c);
        if (has != DN_ABSENT)
            json_array_append_new(has == DN_UNKNOWN ? unknown : label, json_integer(c));
        if (dn_is_predicted(r, images, image, c))
            json_array_append_new(predicted, json_integer(c));
    }
    return json_pack("{s:o,s:o,s:o}", "label", label, "unknown", unknown, "predicted", predicted);
}

dn_status dn_worst_samples(json_t **worst, const dn_source *images, const dn_transform *transform,
                           const dn_results *r)
{
    int64_t index[DN_WORST];
    const int count = find_worst(r->samples, images->count, index);
    float *const input = malloc(dn_transform_values(transform) * sizeof *input);
    dn_transform_memory memory = {0};
    dn_status status = DN_OK;
    int undrawn = 0;
    *worst = json_array();
    for (int i = 0; i < count && input; i++) {
        const dn_sample *const s = &r->samples[index[i]];
        const dn_request request = {.index = index[i], .position = index[i]};
        status = images->read(images, &request, transform, &memory, input);
        if (status != DN_OK)
            break;
        json_t *const png = draw_input(transform, input);
        undrawn += png == NULL;
        json_t *const sample = name_classes(images, r, index[i]);
        json_object_update_new(sample, json_pack("{s:I,s:o,s:o?}", "index", (json_int_t)index[i],
                                                 "loss", dn_json_number(s->loss), "png", png));
        json_array_append_new(*worst, sample);
    }
    if (undrawn > 0)
        dn_warn("out of memory for %d of %d pictures of the worst samples", undrawn, count);
    dn_transform_memory_free(&memory);
    if (!input || (status == DN_OK && (int)json_array_size(*worst) < count))
        status = dn_fail(DN_ENOMEM, "out of memory for pictures of the worst samples");
    free(input);
    return status;
}
