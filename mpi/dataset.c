/* Decoding of a split into node-shared memory; see dataset.h. */
#include "dataset.h"

#include <string.h>

/* Checks this rank's part of the files and decodes its part of the chunks, with all its threads. */
static dn_status decode(const dn_split *split, const dn_comm *comm)
{
    DN_TRY(dn_shards_check(split->shards, comm->node_rank, comm->node_size));
    const dn_shards *shards = split->shards;
    const int64_t chunks = dn_shards_chunks(shards);
    const int64_t begin = chunks * comm->node_rank / comm->node_size;
    const int64_t end = chunks * (comm->node_rank + 1) / comm->node_size;
    const size_t image = dn_image_values(dn_shards_info(shards));
    dn_status worst = DN_OK;
    char message[1024] = "";
#pragma omp parallel for schedule(dynamic)
    for (int64_t c = begin; c < end; c++) {
        int64_t first, count;
        dn_shards_chunk_range(shards, c, &first, &count);
        const dn_status status =
            dn_shards_read(shards, c, (uint8_t *)split->pixels.data + (size_t)first * image);
        if (status != DN_OK) {
#pragma omp critical
            if (worst == DN_OK) {
                worst = status;
                strncpy(message, dn_message(), sizeof message - 1);
            }
        }
    }
    return worst == DN_OK ? DN_OK : dn_fail(worst, "%s", message);
}

dn_status dn_split_open(dn_split *split, const dn_comm *comm, const char *folder, const char *name)
{
    *split = (dn_split){0};
    DN_TRY(dn_comm_agree(comm, dn_shards_open(&split->shards, folder, name)));
    const dn_shard_info *info = dn_shards_info(split->shards);
    DN_TRY(dn_comm_shared_alloc(comm, (size_t)info->count * dn_image_values(info), &split->pixels));
    DN_TRY(dn_comm_agree(comm, decode(split, comm)));
    DN_MPI(MPI_Barrier(comm->node));
    split->images = (dn_images){
        .info = *info, .pixels = split->pixels.data, .labels = dn_shards_labels(split->shards)};
    return DN_OK;
}

void dn_split_close(dn_split *split)
{
    dn_comm_shared_free(&split->pixels);
    dn_shards_close(&split->shards);
}
