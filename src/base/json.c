/* Numbers, paths and files as JSON; see include/dn/json.h. */
#include "dn/json.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"

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

static dn_status print_line(const char *text)
{
    errno = 0;
    DN_CHECK(puts(text) >= 0 && fflush(stdout) == 0, DN_EIO, "standard output: %s",
             errno ? strerror(errno) : "not written");
    return DN_OK;
}

dn_status dn_json_save(json_t *json, const char *path, size_t flags)
{
    char *const text = json ? json_dumps(json, flags) : NULL;
    json_decref(json);
    DN_CHECK(text, DN_ENOMEM, "%s: out of memory for the results", path ? path : "standard output");
    const dn_status status = path ? dn_file_write(path, text, strlen(text)) : print_line(text);
    free(text);
    return status;
}

dn_status dn_json_load(json_t **json, const char *path)
{
    json_error_t error;
    uint8_t *bytes;
    size_t size;
    *json = NULL;
    DN_TRY(dn_file_load_most(path, DN_JSON_BYTES, &bytes, &size));
    *json = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &error);
    free(bytes);
    DN_CHECK(*json, DN_ECORRUPT, "%s:%d: not valid JSON: %s", path, error.line, error.text);
    return DN_OK;
}
