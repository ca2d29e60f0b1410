/*
 * Files in a folder that have the names of the files to be made. Only those that create_records
 * made are removed: those named in dataset.json or, without it, those beside a journal.
 */
#ifndef DN_LEFTOVERS_H
#define DN_LEFTOVERS_H

#include "writer/writer.h"

/* Call it in the locked folder, before the journal is opened. DN_EINVAL names a file with a name of
 * the set (for any number of shards) without evidence that create_records made it. DN_EIO. */
dn_status dn_leftovers_check(const dn_writer *w);

/* 1 if a file has such a name, or the folder cannot be read. */
int dn_leftovers_are_there(const dn_writer *w);

/* Removes dataset.json and all files with such names, except the journal's whole shards. DN_EIO. */
dn_status dn_leftovers_remove(const dn_writer *w);

#endif
