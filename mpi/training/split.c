/* A split, decoded into shared memory or streamed from its shards; see split.h. */
#include "training/split.h"

#include "job/placement.h"

static dn_status read_decoded(const dn_source *source, const dn_request *request,
                              const dn_transform *transform, dn_transform_memory *memory, float *to)
{
    dn_split *const split = (dn_split *)source;
    const uint8_t *const pixels = split->pixels.data;
    const size_t image = dn_image_values(&source->info);
    atomic_fetch_add_explicit(&split->stored, (long long)image, memory_order_relaxed);
    return dn_transform_pixels(transform, request, pixels + (size_t)request->index * image,
                               source->info.height, source->info.width, memory, to);
}

/* A dn_read_fn that reads the image from its shard. */
static dn_status read_encoded(const dn_source *source, const dn_request *request,
                              const dn_transform *transform, dn_transform_memory *memory,
                              float *image)
{
    dn_split *const split = (dn_split *)source;
    const dn_shards *const shards = split->shards;
    char name[PATH_MAX + 64];
    dn_encoded file = {.name = name};
    DN_TRY(dn_shards_read_encoded(shards, request->index, &memory->file, &file.size));
    atomic_fetch_add_explicit(&split->stored, (long long)file.size, memory_order_relaxed);
    file.bytes = memory->file.bytes;
    dn_shards_name_image(shards, request->index, name, sizeof name);
    return dn_transform_encoded(transform, request, &file, memory, image);
}

/* The ranks of comm->shm share the index, that is chunk addresses and labels. Each builds its part
 * after all files have been verified against dataset.json. */
static dn_status open_shards(dn_split *split, const dn_comm *comm, const char *folder,
                             dn_split_id id)
{
    DN_TRY(dn_comm_agree(
        comm, dn_shards_load(&split->shards, folder, id, comm->shm_rank, comm->shm_size)));
    dn_shards *const shards = split->shards;
    DN_TRY(dn_comm_same_hash(comm, dn_shards_manifest(shards)->hash, "dataset.json: its bytes"));
    DN_TRY(dn_comm_shared_alloc(comm, dn_shards_index_bytes(shards), &split->index));
    dn_shards_use_index(shards, split->index.data);
    DN_TRY(dn_comm_agree(comm, dn_shards_read_index(shards, comm->shm_rank, comm->shm_size)));
    return dn_comm_agree(comm, dn_shards_check_index(shards, comm->shm_rank, comm->shm_size));
}

/* Decodes this rank's part of the images. */
static dn_status decode(const dn_split *split, const dn_comm *comm)
{
    const int64_t count = split->images.count;
    const int64_t first = count * comm->shm_rank / comm->shm_size;
    const int64_t last = count * (comm->shm_rank + 1) / comm->shm_size;
    const size_t image = dn_image_values(&split->images.info);
    return dn_shards_read(split->shards, first, last - first,
                          (uint8_t *)split->pixels.data + (size_t)first * image);
}

/* Decodes the whole split into shared memory. */
static dn_status decode_all(dn_split *split, const dn_comm *comm)
{
    const size_t image = dn_image_values(&split->images.info);
    split->images.read = read_decoded;
    DN_TRY(dn_comm_shared_alloc(comm, (size_t)split->images.count * image, &split->pixels));
    DN_TRY(dn_comm_agree(comm, decode(split, comm)));
    DN_COLLECTIVE(comm, MPI_Barrier(comm->shm));
    return DN_OK;
}

/* Starts to copy encoded shards to the node's disk in the background. */
static dn_status stage_shards(dn_split *split, const dn_comm *comm, const char *stage)
{
    DN_TRY(dn_comm_shared_alloc(comm, dn_stage_bytes(split->shards), &split->copied));
    DN_TRY(dn_comm_agree(comm, dn_stage_use(split->shards, stage, split->copied.data)));
    if (comm->shm_rank == 0)
        dn_stage_start(&split->stage, split->shards);
    return DN_OK;
}

int dn_io_threads(const dn_comm *comm, const dn_reading *reading, int is_encoded)
{
    const int automatic = is_encoded ? (comm->place->threads + 3) / 4 : 1;
    return reading->io_threads > 0 ? reading->io_threads : automatic;
}

dn_status dn_split_open(dn_split *split, const dn_comm *comm, const char *folder, dn_split_id id,
                        const dn_reading *reading)
{
    *split = (dn_split){0};
    DN_TRY(open_shards(split, comm, folder, id));
    split->images = dn_shards_source(split->shards, read_encoded);
    const int is_encoded = dn_is_encoded(&split->images.info);
    split->io_threads = dn_io_threads(comm, reading, is_encoded);
    if (!is_encoded)
        return decode_all(split, comm);
    return reading->stage[0] != '\0' ? stage_shards(split, comm, reading->stage) : DN_OK;
}

void dn_split_close(dn_split *split)
{
    dn_stage_stop(&split->stage);
    dn_comm_shared_free(&split->pixels);
    dn_shards_close(&split->shards);
    dn_comm_shared_free(&split->index);
    dn_comm_shared_free(&split->copied);
}
