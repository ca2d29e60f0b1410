/* Whether the kernel killed for want of memory: what it counts for a control group (cgroup). */
#ifndef DN_OOM_H
#define DN_OOM_H

#include <stdint.h>

/* The out-of-memory kills in this process's cgroup and, where that can be read, its siblings', as
 * Slurm gives each rank one; 0 where there are none or they cannot be read. `root` stands before
 * /proc and /sys: empty, but in tests. Allocates nothing. Not collective. */
int64_t dn_oom_kills(const char *root);

#endif
