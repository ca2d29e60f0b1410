/* Numbers and paths as JSON, by jansson; the caller owns what is made. */
#ifndef DN_JSON_H
#define DN_JSON_H

#include <jansson.h>

/* null where x is not finite: JSON has no such numbers. */
json_t *dn_json_number(double x);

json_t *dn_json_numbers(const double *x, int count);

/* A path may be of any bytes, a JSON text of UTF-8 alone: where it is not, \xHH stands for each
 * byte above 0x7f. NULL for NULL. */
json_t *dn_json_path(const char *path);

#endif
