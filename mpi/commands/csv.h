/* Text fields of comma-separated values. */
#ifndef DN_COMMANDS_CSV_H
#define DN_COMMANDS_CSV_H

#include <stdio.h>

/* Writes a text field, quoted if RFC 4180 requires it. */
void dn_csv_field(FILE *file, const char *text);

#endif
