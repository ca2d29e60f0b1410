/* A trained net: the checkpoint or safetensors file that eval, predict, export and --init-from
 * read. */
#ifndef DN_TRAINED_H
#define DN_TRAINED_H

#include "job/comm.h"
#include "options/options.h"
#include "dn/checkpoint.h"
#include "dn/transform.h"
#include "dn/weights.h"

typedef struct dn_trained {
    dn_checkpoint_file *file; /* NULL for a safetensors file */
    dn_weights_metadata told; /* metadata of a safetensors file */
    dn_checkpoint state;      /* its path is empty for a safetensors file */
    dn_manifest *data;        /* the training data set, or that of --data; see dn_trained_data */
} dn_trained;

/* *is = 1 if the path is a folder or a file with the signature of HDF5. DN_ENOENT, DN_EIO. */
dn_status dn_is_checkpoint(const char *path, int *is);

/* Opens options->checkpoint: a file, or a run's folder, for whose best or else newest checkpoint it
 * is replaced; a damaged one in a folder is skipped with a warning. Options that were not given,
 * --data included, are taken from the checkpoint, and options->weights is resolved. The caller
 * closes it, even after a failure. DN_ENOENT, DN_EIO, DN_ECORRUPT; DN_EINVAL if the file has
 * neither format, does not name its model, or lacks the requested weights. Not collective. */
dn_status dn_trained_open(dn_trained *trained, dn_options *options);

/* The same for all ranks, of which rank 0 opens the file: the others have `state` and the options
 * only. Collective. */
dn_status dn_trained_open_all(dn_trained *trained, const dn_comm *comm, dn_options *options);

/* DN_ENOENT if the folder of the checkpoint's training data is missing, as after a move or on
 * another machine. Do not call it if --data was given. Not collective. */
dn_status dn_learnt_folder(const dn_checkpoint *state);

/* Sets trained->data to the manifest of the training data set, or to NULL for safetensors of
 * another program. Call it once; dn_trained_close frees it. Returns errors of reading the
 * checkpoint. Not collective. */
dn_status dn_trained_learnt(dn_trained *trained);

/* The first class whose names differ in `a` and `b`; the smaller number of classes if there is
 * none. Not collective. */
int dn_first_other_class(const dn_manifest *a, const dn_manifest *b);

/* Checks that the labels of `records` mean what the net learnt: labels are numbers, so class names
 * and their order must be the same. DN_EINVAL if the classes differ from those of trained->data (if
 * that is NULL, in number from the file's head), or the images have another number of channels. Not
 * collective. */
dn_status dn_trained_check(const dn_trained *trained, const dn_manifest *records,
                           const dn_options *options);

/* Sets trained->data: the data set of --data if given, which must pass dn_trained_check, else that
 * of the checkpoint or the safetensors file. If the latter has none, the classes are named by their
 * numbers, and --normalize must be given. DN_EINVAL. Not collective. */
dn_status dn_trained_data(dn_trained *trained, const dn_options *options);

/* A suffix for messages that name the file, as ", averaged weights"; "" if it has one kind of
 * weights only. Not collective. */
const char *dn_trained_weights(const dn_trained *trained, const dn_options *options);

/* *net = the checkpoint's net with its weights, made by dn_options_net for images of `data`. The
 * caller destroys it, even after a failure. Returns errors of dn_options_net and of reading the
 * weights. Not collective. */
dn_status dn_trained_net(const dn_trained *trained, const dn_options *options,
                         const dn_data_info *data, dn_net **net);

/* The same on all ranks after dn_trained_open_all, for the transform `input`: rank 0 reads the
 * weights and sends them to the others. Collective. */
dn_status dn_trained_net_all(const dn_trained *trained, const dn_comm *comm,
                             const dn_options *options, const dn_data_info *data,
                             const dn_transform *input, dn_net **net);

/* Copies rank 0's parameters and running statistics to all ranks. Collective. */
void dn_share_weights(const dn_comm *comm, const dn_net *net);

/* Accepts a zeroed one. Not collective. */
void dn_trained_close(dn_trained *trained);

#endif
