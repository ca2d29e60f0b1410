/* Texts in comma-separated values. */
#ifndef DN_COMMANDS_CSV_H
#define DN_COMMANDS_CSV_H

#include <stdio.h>

/* Writes a text field (RFC 4180): its bytes as they are, quoted where they must be. */
void dn_csv_field(FILE *file, const char *text);

#endif
