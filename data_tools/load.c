/* Whole files in memory; see load.h. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Returns whether all went well; else errno says why not. */
static int load(FILE *file, uint8_t **bytes, size_t *size)
{
    struct stat info;
    if (!file || fstat(fileno(file), &info) != 0)
        return 0;
    *size = (size_t)info.st_size;
    *bytes = malloc(*size + 1); /* never of size 0 */
    if (!*bytes)
        return 0;
    errno = EIO; /* where the file becomes shorter meanwhile */
    return fread(*bytes, 1, *size, file) == *size;
}

dn_status dn_load_file(const char *path, uint8_t **bytes, size_t *size)
{
    *bytes = NULL;
    FILE *const file = fopen(path, "rbe");
    const int good = load(file, bytes, size), error = errno;
    if (file)
        fclose(file);
    if (good)
        return DN_OK;
    free(*bytes);
    *bytes = NULL;
    return dn_fail(error == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s", path,
                   strerror(error));
}
