/*
 * What a folder holds under the names of a set's files before they are made. Only what
 * create_records made is removed: what dataset.json names, or without it what stands beside a
 * journal.
 */
#ifndef DN_LEFTOVERS_H
#define DN_LEFTOVERS_H

#include "making/making.h"

/* Before the journal is opened, in the locked folder: DN_EINVAL names a file that bears a name of
 * the set's, of any number of shards, and that nothing says create_records made. DN_EIO. */
dn_status dn_leftovers_check(const dn_making *m);

/* 1 where a file bears such a name, or the folder cannot be read. */
int dn_leftovers_are_there(const dn_making *m);

/* Removes dataset.json, and all that has such a name but the journal's whole shards. DN_EIO. */
dn_status dn_leftovers_remove(const dn_making *m);

#endif
