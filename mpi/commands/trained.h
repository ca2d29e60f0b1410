/* A trained net: the checkpoint that eval, predict and export begin with, and --init-from may. */
#ifndef DN_TRAINED_H
#define DN_TRAINED_H

#include "commands/commands.h"
#include "dn/checkpoint.h"
#include "dn/transform.h"
#include "dn/weights.h"

typedef struct dn_trained {
    dn_checkpoint_file *file; /* NULL: a safetensors file, */
    dn_weights_told told;     /* which tells this */
    dn_checkpoint state;
    dn_manifest *data; /* what the run learnt from, or what --data says; for dn_trained_data */
} dn_trained;

/* *is: the path is a folder, as of checkpoints, or a file that begins as HDF5 does. */
dn_status dn_is_checkpoint(const char *path, int *is);

/* Opens options->checkpoint, a file or the folder of a run, whose best or newest it then becomes;
 * the options take what the checkpoint recorded, the folder of its data among it unless --data was
 * given, and tell which of its weights are meant. The caller closes it, also after a failure.
 * DN_ENOENT, DN_EIO, DN_ECORRUPT; DN_EINVAL: the file is none of these, or lacks its model, or the
 * weights that are asked for. Not collective. */
dn_status dn_trained_open(dn_trained *trained, dn_options *options);

/* The same on all ranks, of one file. Collective. */
dn_status dn_trained_open_all(dn_trained *trained, const dn_comm *comm, dn_options *options);

/* The folder that the checkpoint learnt from may have moved since, or be another machine's:
 * DN_ENOENT. Not to be asked where --data says another. Not collective. */
dn_status dn_learnt_folder(const dn_checkpoint *state);

/* Sets trained->data: the data set that the net learnt from, without its files, or NULL where
 * it is another program's safetensors. To be called once; dn_trained_close frees it. What reading
 * the checkpoint returns. Not collective. */
dn_status dn_trained_learnt(dn_trained *trained);

/* The first class, below the lesser number of them, whose names are not the same; that number where
 * all are. */
int dn_first_other_class(const dn_manifest *a, const dn_manifest *b);

/* The net can be that of records whose labels these are: labels are numbers, which mean what the
 * net learnt only where the classes have its names, in its order. DN_EINVAL where the records have
 * other classes than trained->data, or where that is NULL, another number than the file's head, or
 * images of other channels. */
dn_status dn_trained_check(const dn_trained *trained, const dn_manifest *records,
                           const dn_options *options);

/* Sets trained->data: the data set of --data where that was given, which the net has to fit
 * (dn_trained_check), else what the checkpoint or the safetensors file has. Where the latter has
 * none the classes are numbers, and --normalize has to be given: DN_EINVAL. */
dn_status dn_trained_data(dn_trained *trained, const dn_options *options);

/* *input = transform, that of the data set's test images, where the options tell no size as these
 * are no squares; else NULL. For dn_trained_net. DN_EINVAL. Not collective. */
dn_status dn_trained_input(const dn_options *options, const dn_data_info *data,
                           dn_transform *transform, const dn_transform **input);

/* ", averaged weights", as a line goes on that names the file; "" where it has no such. */
const char *dn_trained_weights(const dn_trained *trained, const dn_options *options);

/* *net = the checkpoint's net with its weights, as dn_options_net makes it, which the caller owns,
 * also after a failure. What that and reading the weights return. Not collective. */
dn_status dn_trained_net(const dn_trained *trained, const dn_options *options,
                         const dn_data_info *data, const dn_transform *input, dn_net **net);

/* Accepts a zeroed one. Not collective. */
void dn_trained_close(dn_trained *trained);

#endif
