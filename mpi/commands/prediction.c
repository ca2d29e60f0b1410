/* Predictions as CSV, text and JSON; see prediction.h. */
#include "commands/prediction.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands/csv.h"
#include "dn/json.h"
#include "dn/status.h"

void dn_prediction_csv(const char *path, const dn_choice *choice, int top, const char *const *names)
{
    for (int k = 0; k < top; k++) {
        const int class = (int)choice[k].class;
        dn_csv_field(stdout, path);
        printf(",%d,%d,", k + 1, class);
        dn_csv_field(stdout, names[class]);
        printf(",%.9g\n", choice[k].probability);
    }
}

/* A file's name may contain newlines or control characters. */
static void print_plain(const char *text)
{
    char plain[PATH_MAX];
    fputs(dn_one_line_copy(plain, sizeof plain, text), stdout);
}

void dn_prediction_text(const char *path, const dn_choice *choice, int top,
                        const char *const *names)
{
    print_plain(path);
    for (int k = 0; k < top; k++) {
        printf("%s ", k ? "," : ":");
        print_plain(names[(int)choice[k].class]);
        printf(" %.2f %%", 100 * choice[k].probability);
    }
    printf("\n");
}

static json_t *list_choices(const dn_choice *choice, int top, const char *const *names)
{
    json_t *const list = json_array();
    for (int k = 0; k < top; k++) {
        const int class = (int)choice[k].class;
        json_array_append_new(list, json_pack("{s:i,s:s,s:f}", "class", class, "name", names[class],
                                              "probability", choice[k].probability));
    }
    return list;
}

void dn_prediction_json(const char *path, const dn_choice *choice, int top,
                        const char *const *names, const char *fault)
{
    json_t *const object = json_pack("{s:o}", "file", dn_json_path(path));
    json_object_set_new(object, fault ? "error" : "top",
                        fault ? dn_json_path(fault) : list_choices(choice, top, names));
    /* JSON_ENSURE_ASCII: otherwise jansson writes U+0080 to U+009F as they are. */
    const size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9);
    char *const text = json_dumps(object, flags);
    printf("%s", text ? text : "null");
    free(text);
    json_decref(object);
}
