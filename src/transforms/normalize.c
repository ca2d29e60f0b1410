/* Mean and std chosen by the user; see include/dn/transform.h. */
#include "dn/transform.h"

#include <stdio.h>
#include <string.h>

#include "dn/words.h"

/* ImageNet's values for red, green and blue; one channel uses their averages. */
static const double imagenet_mean[] = {0.485, 0.456, 0.406};
static const double imagenet_std[] = {0.229, 0.224, 0.225};

/* Reads one number, or one per channel separated by commas, up to `end`, and moves *at there.
 * Returns 0 if the text has anything else, or a number outside [least, most]. */
static int read_channels(const char **at, char end, int channels, double least, double most,
                         double *value)
{
    int count = 0;
    do {
        if (count == channels || !dn_take_real(*at, at, &value[count]) ||
            !(value[count] >= least && value[count] <= most))
            return 0;
        count++;
        *at += **at == ',';
    } while ((*at)[-1] == ',');
    for (int c = count; c < channels && count == 1; c++)
        value[c] = value[0];
    return **at == end && (count == 1 || count == channels);
}

dn_status dn_normalize_parse(dn_data_info *info, const char *text)
{
    const int channels = info->channels;
    const int is_none = strcmp(text, "none") == 0, is_imagenet = strcmp(text, "imagenet") == 0;
    if (is_none || (is_imagenet && (channels == 1 || channels == 3))) {
        for (int c = 0; c < channels; c++) {
            info->mean[c] = is_none ? 0 : channels == 3 ? imagenet_mean[c] : 0.449;
            info->std[c] = is_none ? 1 : channels == 3 ? imagenet_std[c] : 0.226;
        }
        return DN_OK;
    }
    const char *at = text;
    int is_good = read_channels(&at, '/', channels, -1000, 1000, info->mean);
    at += is_good;
    is_good = is_good && read_channels(&at, '\0', channels, 1e-6, 1000, info->std);
    DN_CHECK(is_good, DN_EINVAL,
             "found '%s', expected imagenet, none or MEAN/STD, each one number or %d with commas "
             "between, the std above 0",
             text, channels);
    return DN_OK;
}

static void describe(const double *value, int channels, char *text, size_t size)
{
    for (int c = 0; c < channels; c++) {
        const size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%.9g", c ? "," : "", (double)(float)value[c]);
    }
}

void dn_normalize_describe(const dn_data_info *info, char *text, size_t size)
{
    text[0] = '\0';
    describe(info->mean, info->channels, text, size);
    const size_t used = strlen(text);
    snprintf(text + used, size - used, "/");
    describe(info->std, info->channels, text, size);
}
