/* Numbers, paths and files as JSON, by jansson; the caller owns what is made. */
#ifndef DN_JSON_H
#define DN_JSON_H

#include <jansson.h>

#include "dn/status.h"

/* null where x is not finite: JSON has no such numbers. */
json_t *dn_json_number(double x);

json_t *dn_json_numbers(const double *x, int count);

/* A path may be of any bytes, a JSON text of UTF-8 alone: where it is not, \xHH stands for each
 * byte above 0x7f. NULL for NULL. */
json_t *dn_json_path(const char *path);

/* Writes the JSON, or NULL where memory was short, to the file `path`, as dn_file_write does, or as
 * a line to standard output where `path` is NULL; takes it. `flags` are jansson's. DN_ENOMEM,
 * DN_EIO. */
dn_status dn_json_save(json_t *json, const char *path, size_t flags);

enum { DN_JSON_BYTES = 64 << 20 };

/* *json = that of a file of at most DN_JSON_BYTES, without duplicate keys; NULL after a failure. As
 * dn_file_load_most; DN_ECORRUPT names the line. */
dn_status dn_json_load(json_t **json, const char *path);

#endif
