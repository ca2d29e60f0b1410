/* What the writer, the reader and the keeper of checkpoints share; docs/checkpoint-format.md
 * specifies the file. */
#ifndef DN_CHECKPOINT_FILE_H
#define DN_CHECKPOINT_FILE_H

#include <inttypes.h>

#include "dn/checkpoint.h"
#include "dn/hdf5.h"

#define DN_CHECKPOINT_FORMAT "dn_dist checkpoint"
#define DN_AVERAGE_GROUP     "average"
enum { DN_CHECKPOINT_VERSION = 2, DN_TENSOR_PATH = 192 /* most bytes of a tensor's */ };

/* The last bytes of a file: this text, then XXH3-64 of all bytes before it as 16 hex digits. */
#define DN_SEAL "dn_dist XXH3-64 "
enum { DN_SEAL_BYTES = sizeof DN_SEAL - 1 + 16 };

/* A file's names and state: what is written, and what a reading child leaves in pages. */
struct dn_checkpoint_file {
    char path[PATH_MAX], model[sizeof(((dn_spec *)NULL)->name)], optimizer[32], hash[17];
    dn_checkpoint state;
};

/* checkpoint_state.c. Writes model, optimizer, hash and state; 0 when HDF5 fails. */
int dn_checkpoint_write_state(const dn_checkpoint_file *f, hid_t file);

/* Reads the same; in a child. DN_ECORRUPT. */
dn_status dn_checkpoint_read_state(dn_checkpoint_file *f, hid_t file);

/* The values are such as a writer may have written: to be checked where no child can change them
 * any more, as where a file got the better of HDF5, anything may stand there. DN_ECORRUPT. */
dn_status dn_checkpoint_check_state(dn_checkpoint_file *f);

/* The shape of a tensor; the caller closes it. */
static inline hid_t dn_tensor_space(const dn_tensor *tensor)
{
    hsize_t shape[4];
    for (int i = 0; i < tensor->rank; i++)
        shape[i] = (hsize_t)tensor->shape[i];
    return H5Screate_simple(tensor->rank, shape, NULL);
}

#define DN_CHECKPOINT_NAME "checkpoint-%08" PRId64 ".h5%s" /* step, suffix */

/* The greatest step below `limit` of which the folder has a file of that name and `suffix`; or one
 * of these, the second with its errno. */
enum { DN_NO_STEP = -1, DN_NO_FOLDER = -2 };
int64_t dn_checkpoint_below(const char *folder, const char *suffix, int64_t limit);

/* Deletes the folder's files of steps below `limit` under a checkpoint's name and `suffix`
 * (DN_PARTIAL: what killed processes left) but the `keep` newest of them. Those from `limit` on are
 * what a resumption passed over as damaged, and will be replaced. */
void dn_checkpoint_prune(const char *folder, const char *suffix, int64_t limit, int keep);

/* 1 where all of x(count) is finite. */
int dn_are_finite(const float *x, size_t count);

/* Those vectors of net and optimizer, which a file of that step is to hold, have finite numbers.
 * DN_EDIVERGED names the first tensor that has others. */
dn_status dn_checkpoint_check_finite(const dn_net *net, const dn_optimizer_state *state,
                                     int64_t step, const float *parameters, const float *running,
                                     const float *vectors);

#endif
