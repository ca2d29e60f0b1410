/*
 * What the operating system lets this process have of a machine: the limits of its cgroups, of both
 * versions, and of those above them as far as they can be seen. Not collective.
 */
#ifndef DN_LIMITS_H
#define DN_LIMITS_H

#include <stdint.h>

/* The narrowest limit. */
typedef struct dn_limit {
    double amount;  /* infinite: none */
    uint64_t group; /* tells the cgroup that sets it from others of the machine; 0: none does */
} dn_limit;

/* Processors that may run at once on average (a CPU quota). `root` stands before all paths that are
 * read: "" but in tests; so below. */
dn_limit dn_limit_processors(const char *root);

/* Bytes that the cgroup's processes may take beyond what they hold and the system cannot take back.
 */
dn_limit dn_limit_memory(const char *root);

/* Out-of-memory kills in this process's cgroup and, where that can be read, its siblings', as Slurm
 * gives each rank one; 0 where there are none. */
double dn_limit_kills(const char *root);

/* Bytes that the machine has left, swap included; infinite where it does not tell. */
double dn_machine_memory(const char *root);

/* The least of both: bytes that this process may have now. */
double dn_memory_left(const char *root);

/* Threads for each of `ranks` processes under a limit of so many processors: at least 1, at most
 * `most`. A lone process rounds up: half a processor more is worth a thread that is held back at
 * times; of several, all would wait for the one that is. */
int dn_limit_threads(double processors, int ranks, int most);

#endif
