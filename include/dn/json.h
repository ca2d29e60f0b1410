/* Numbers as JSON, by jansson. */
#ifndef DN_JSON_H
#define DN_JSON_H

#include <math.h>

#include <jansson.h>

/* null where x is not finite: JSON has no such numbers. */
static inline json_t *dn_json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static inline json_t *dn_json_numbers(const double *x, int count)
{
    json_t *const list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real(x[i]));
    return list;
}

#endif
