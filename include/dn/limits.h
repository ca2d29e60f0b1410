/*
 * The processors and memory that the operating system grants this process: limits of its cgroup (v1
 * and v2) and of the cgroups above it, as far as they are visible. Not collective.
 */
#ifndef DN_LIMITS_H
#define DN_LIMITS_H

#include <stdint.h>

/* The tightest limit that applies. */
typedef struct dn_limit {
    double amount;  /* infinity if there is none */
    uint64_t group; /* identifies the cgroup that sets it within the machine; 0: none does */
} dn_limit;

/* The CPU quota: processors that may run at once on average. `root` is prepended to all paths that
 * are read ("" except in tests), here and below. */
dn_limit dn_limit_processors(const char *root);

/* Bytes that the cgroup's processes may still allocate, reclaimable memory included. */
dn_limit dn_limit_memory(const char *root);

/* Out-of-memory kills in this process's cgroup and, where readable, its siblings', since Slurm
 * gives each rank its own cgroup. 0 if there are none. */
double dn_limit_kills(const char *root);

/* Bytes of memory available on the machine, swap included; infinity if unknown. */
double dn_machine_memory(const char *root);

/* Bytes that this process may still allocate: the smaller of the two above. */
double dn_memory_left(const char *root);

/* Threads for each of `ranks` processes under a quota of `processors`: at least 1, at most `most`.
 * A single process rounds up, because half a processor more outweighs a thread that is throttled at
 * times. Several processes round down, because all would wait for the throttled one. */
int dn_limit_threads(double processors, int ranks, int most);

#endif
