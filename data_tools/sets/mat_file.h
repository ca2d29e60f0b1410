/*
 * Matlab files of version 5, read by matio. Nobody vouches for them: all calls stand in a child
 * process (dn/child.h), but for dn_mat_check.
 */
#ifndef DN_MAT_FILE_H
#define DN_MAT_FILE_H

#include <matio.h>

#include "dn/status.h"

/* Opens it to read; the caller closes it with Mat_Close. DN_ENOENT, DN_EIO; DN_ECORRUPT where it is
 * of another version: matio would hand one of 7.3 to HDF5. */
dn_status dn_mat_open(mat_t **mat, const char *path);

/* The file's elements fill it, and those that are packed have their checksums, which matio does not
 * ask for. Needs no child process. DN_ECORRUPT; as dn_file_open. */
dn_status dn_mat_check(const char *path);

/* 1, and *value = element `index` of an array of numbers, of whatever type, that has so many. */
int dn_mat_number(const matvar_t *array, size_t index, double *value);

#endif
