/* Text fields of comma-separated values; see csv.h. */
#include "commands/csv.h"

#include <string.h>

void dn_csv_field(FILE *file, const char *text)
{
    const int is_quoted = strpbrk(text, ",\"\r\n") != NULL;
    fprintf(file, "%s", is_quoted ? "\"" : "");
    for (; *text; text++)
        fprintf(file, "%s%c", *text == '"' ? "\"" : "", *text);
    fprintf(file, "%s", is_quoted ? "\"" : "");
}
