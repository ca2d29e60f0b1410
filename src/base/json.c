/* Numbers and paths as JSON; see include/dn/json.h. */
#include "dn/json.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>

json_t *dn_json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *dn_json_numbers(const double *x, int count)
{
    json_t *const list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real(x[i]));
    return list;
}

json_t *dn_json_path(const char *path)
{
    char text[4 * PATH_MAX];
    size_t used = 0;
    json_t *const string = json_string(path);
    if (string || !path)
        return string;
    for (; *path && used + 5 < sizeof text; path++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 (unsigned char)*path < 0x80 ? "%c" : "\\x%02hhX", *path);
    return json_string(text);
}
