/*
 * Matlab files of version 5, read by matio. They are untrusted input: all calls except dn_mat_check
 * are made in a child process (dn/child.h).
 */
#ifndef DN_MAT_FILE_H
#define DN_MAT_FILE_H

#include <matio.h>

#include "dn/status.h"

/* Opens the file for reading; the caller closes it by Mat_Close. DN_ENOENT, DN_EIO; DN_ECORRUPT if
 * it has another version (matio would read 7.3 by HDF5). */
dn_status dn_mat_open(mat_t **mat, const char *path);

/* Checks that the file consists of whole elements, and the checksums of compressed ones, which
 * matio does not check. Needs no child process. DN_ECORRUPT, and errors of dn_file_open. */
dn_status dn_mat_check(const char *path);

/* *value = element `index` of an array of numbers of any type. Returns 0 if it is not such an array
 * or is too short. */
int dn_mat_number(const matvar_t *array, size_t index, double *value);

#endif
