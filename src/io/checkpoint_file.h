/* Shared by the writer, the reader and the folder of checkpoints; docs/checkpoint-format.md
 * specifies the file. */
#ifndef DN_CHECKPOINT_FILE_H
#define DN_CHECKPOINT_FILE_H

#include <inttypes.h>

#include "dn/checkpoint.h"
#include "dn/hdf5.h"

#define DN_CHECKPOINT_FORMAT "dn_dist checkpoint"
#define DN_AVERAGE_GROUP     "average"
enum { DN_CHECKPOINT_VERSION = 2, DN_TENSOR_PATH = 192 /* most bytes of a tensor's path */ };

/* The end of a file: this text, then XXH3-64 of all bytes before it as 16 hexadecimal digits. */
#define DN_SEAL "dn_dist XXH3-64 "
enum { DN_SEAL_BYTES = sizeof DN_SEAL - 1 + 16 };

/* A file's names and state: what is written, and what a reading child leaves in shared pages. */
struct dn_checkpoint_file {
    char path[PATH_MAX], model[sizeof(((dn_spec *)NULL)->name)], optimizer[32], hash[17];
    dn_checkpoint state;
    uint8_t *bytes; /* all of a file that is read; owned by the parent, NULL after it was loaded */
    size_t size;    /* of them, without the seal */
};

/* checkpoint_state.c. Writes model, optimizer, hash and state. Returns 0 if HDF5 fails. */
int dn_checkpoint_write_state(const dn_checkpoint_file *f, hid_t file);

/* Reads the same; in a child. Errors: DN_ECORRUPT. */
dn_status dn_checkpoint_read_state(dn_checkpoint_file *f, hid_t file);

/* Checks that the values are such as a writer may have written. Call it in the parent, where no
 * child can change them any more: a file that compromised HDF5 may have left anything. Errors:
 * DN_ECORRUPT. */
dn_status dn_checkpoint_check_state(dn_checkpoint_file *f);

/* The HDF5 data space of a tensor; the caller closes it. */
static inline hid_t dn_tensor_space(const dn_tensor *tensor)
{
    hsize_t shape[4];
    for (int i = 0; i < tensor->dims; i++)
        shape[i] = (hsize_t)tensor->shape[i];
    return H5Screate_simple(tensor->dims, shape, NULL);
}

#define DN_CHECKPOINT_NAME "checkpoint-%08" PRId64 ".h5%s" /* step, suffix */

/* *step = the greatest step below `limit` for which the folder has a checkpoint file with `suffix`;
 * -1 if it has none, there is no folder, or on failure. Errors: DN_EIO. */
dn_status dn_checkpoint_below(const char *folder, const char *suffix, int64_t limit, int64_t *step);

/* 1 if dn_checkpoint_open failed for a reason that says nothing about the file, such as EMFILE. */
static inline int dn_is_system_failure(dn_status status)
{
    return status == DN_ENOMEM || status == DN_EIO;
}

/* Deletes the folder's checkpoint files with `suffix` (DN_PARTIAL: left by killed processes) of
 * steps below `limit`, except the `keep` newest of them. Files from `limit` on were skipped as
 * damaged by a resumption, and will be replaced. */
void dn_checkpoint_prune(const char *folder, const char *suffix, int64_t limit, int keep);

/* Returns 1 if all of x(count) is finite. */
int dn_are_finite(const float *x, size_t count);

#endif
