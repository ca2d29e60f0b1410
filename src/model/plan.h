/*
 * The memory plan: every buffer of a net in one arena, those whose lifetimes do not meet at the
 * same addresses.
 *
 * Time is counted in node visits: forward visits node i at i, backward at 2N - 1 - i.
 */
#ifndef DN_PLAN_H
#define DN_PLAN_H

#include "dn/net.h"

/* Places each region (bytes, first, last given; offset filled) and returns the arena's bytes. The
 * first `fixed` ones, in ascending order, have their offsets already; then largest first, each at
 * the lowest address that is free during its whole life. Offsets are multiples of 64. DN_ENOMEM. */
dn_status dn_memory_place(dn_region_info *regions, int fixed, int count, size_t *arena_bytes);

/* An arena of zeroed pages, huge ones where the system grants them, not yet touched. DN_ENOMEM
 * names the size. */
dn_status dn_arena_create(void **arena, size_t bytes);
void dn_arena_destroy(void **arena, size_t bytes);

/* memory.c: plans the memory of a net that dn_build has filled and, unless for the plan alone,
 * allocates it. DN_ENOMEM; dn_memory_destroy then frees what there is. */
dn_status dn_memory_create(dn_net *net);
void dn_memory_destroy(dn_net *net);

/* Points at the regions that live from the visit `time` on. Of a team the first net comes first. */
void dn_memory_visit(dn_net *net, int time);

#endif
