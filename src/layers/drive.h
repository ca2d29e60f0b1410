/*
 * How the work of a layer is cut and driven by the threads: forward in pieces, backward in tasks.
 *
 * A slice is a number of consecutive pieces with a weight gradient of its own (split-K: the wgrad
 * gemm runs over pixels); a task is a slice and a range of channel blocks. Slices follow from the
 * shape alone; ranges, which change no sum's order, from the threads as well.
 */
#ifndef DN_DRIVE_H
#define DN_DRIVE_H

#include "layers/layer.h"

typedef struct dn_slices {
    int pieces, slices, blocks, ranges;
} dn_slices;

typedef struct dn_task {
    int slice, block, block_end; /* channel blocks [block, block_end) */
} dn_task;

/* One piece forward, into the output map; one piece of a task backward, added to the task's partial
 * sums. Inside a parallel region. */
typedef void dn_piece_forward(const dn_visit *v, const dn_pass *pass, const dn_piece *piece);
typedef void dn_piece_backward(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                               const dn_piece *piece);

/* Norm, packed weights, all pieces, and the moments of what they wrote. */
void dn_drive_forward(const dn_visit *v, const dn_pass *pass, dn_piece_forward *run);

/* Packed weights, all tasks, and the sums that they left, into leaf and input map. */
void dn_drive_backward(const dn_visit *v, const dn_pass *pass, dn_piece_backward *run);

/* The layer's slices; none for a layer without weights or output map. */
dn_slices dn_slices_create(const dn_visit *v);

/* Sets the visit's packed, partial and wgrad to what the threads share while it runs. */
void dn_workspace_carve(dn_visit *v, dn_carver *c);

/* Input channels of a block of the visit's direction, and of the one that begins at `first`. */
int dn_visit_block(const dn_visit *v);
int dn_block_rows(const dn_visit *v, int first);

#endif
