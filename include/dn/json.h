/* Numbers, paths and files as JSON, by jansson. The caller owns the values that are created. Not
 * collective. */
#ifndef DN_JSON_H
#define DN_JSON_H

#include <jansson.h>

#include "dn/status.h"

/* The number x; null if x is not finite, which JSON cannot represent. */
json_t *dn_json_number(double x);

/* An array of x(count), which are finite. */
json_t *dn_json_numbers(const double *x, int count);

/* The path as a JSON string. Paths may hold any bytes, JSON strings only UTF-8: in a path that is
 * not UTF-8, \xHH stands for each byte above 0x7f. NULL for NULL. */
json_t *dn_json_path(const char *path);

/* Writes `json` to the file `path` as dn_file_write does or, if `path` is NULL, as a line to
 * standard output, and releases it. `json` may be NULL: memory was short. `flags` are jansson's.
 * Errors: DN_ENOMEM, DN_EIO. */
dn_status dn_json_save(json_t *json, const char *path, size_t flags);

enum { DN_JSON_BYTES = 64 << 20 };

/* *json = the content of a file of at most DN_JSON_BYTES, without duplicate keys; NULL on failure.
 * Errors: as dn_file_load_most; DN_ECORRUPT (names the line). */
dn_status dn_json_load(json_t **json, const char *path);

#endif
