/* Cases of golden/optimizer.json. */
#ifndef DN_TESTS_GOLDEN_CASES_H
#define DN_TESTS_GOLDEN_CASES_H

#include <jansson.h>
#include <string.h>

#include "dn/option.h"
#include "unit.h"

/* Every row of a table has a case, which names it under `key`. */
static inline void expect_case_of_each(const json_t *cases, const char *key, dn_name_fn *name)
{
    for (int row = 0; name(row); row++) {
        size_t i = 0;
        while (i < json_array_size(cases) &&
               strcmp(json_string_value(json_object_get(json_array_get(cases, i), key)),
                      name(row)) != 0)
            i++;
        if (i == json_array_size(cases))
            fail_msg("found no case of the %s %s in optimizer.json", key, name(row));
    }
}

#endif
