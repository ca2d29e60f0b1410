/*
 * The zstd filter of HDF5, registered as number 32015, as a plug-in. With its folder in
 * HDF5_PLUGIN_PATH, h5dump, h5repack, h5py and all other programs with the HDF5 library can read
 * and write pixel shards. dn_dist itself does not need it.
 *
 * It does not call HDF5, and so works with every build of it.
 */
#include <stdlib.h>

#include <H5PLextern.h>
#include <zstd.h>

#include "dn/shard.h"

enum { DEFAULT_LEVEL = 3 };

/* The initial buffer size: the content size in the frame, if it is there, plus one byte. */
static unsigned long long first_room(const void *frame, size_t size)
{
    const unsigned long long content = ZSTD_getFrameContentSize(frame, size);
    return content == ZSTD_CONTENTSIZE_ERROR     ? 1
           : content == ZSTD_CONTENTSIZE_UNKNOWN ? 4 * (unsigned long long)size
                                                 : content + 1;
}

/* Grows the output, up to the most that a frame of `size` bytes can contain. */
static int grow_output(ZSTD_outBuffer *out, unsigned long long room, size_t size)
{
    const unsigned long long most = ((unsigned long long)size << DN_SHARD_EXPANSION_BITS) + 1;
    void *const larger = room <= most ? realloc(out->dst, room) : NULL;
    if (!larger)
        return 0;
    out->dst = larger;
    out->size = room;
    return 1;
}

/* *to(result) = the content of one frame, which the caller frees; 0 if it is not valid. */
static size_t decompress(const void *frame, size_t size, void **to)
{
    ZSTD_DStream *const stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {frame, size, 0};
    ZSTD_outBuffer out = {NULL, 0, 0};
    size_t left = 1; /* 0 at the frame's end, or an error */
    for (unsigned long long room = first_room(frame, size);
         stream && left != 0 && !ZSTD_isError(left) && out.pos == out.size &&
         grow_output(&out, room, size);
         room *= 2)
        left = ZSTD_decompressStream(stream, &out, &in);
    ZSTD_freeDStream(stream);
    *to = out.dst;
    return left == 0 && in.pos == size ? out.pos : 0;
}

/* *to(result) = a frame with content size and checksum, which the caller frees; 0 on failure. */
static size_t compress(const void *bytes, size_t size, int level, void **to)
{
    const size_t room = ZSTD_compressBound(size);
    ZSTD_CCtx *const zstd = ZSTD_createCCtx();
    size_t frame = 0;
    *to = malloc(room);
    if (zstd && *to) {
        level = level < ZSTD_minCLevel() ? ZSTD_minCLevel() : level;
        level = level > ZSTD_maxCLevel() ? ZSTD_maxCLevel() : level;
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
        frame = ZSTD_compress2(zstd, *to, room, bytes, size);
    }
    ZSTD_freeCCtx(zstd);
    return ZSTD_isError(frame) ? 0 : frame;
}

/* An H5Z_func_t: replaces `size` bytes in *buffer(*room) by the result. The only value is the
 * level, as an int. */
static size_t run_filter(unsigned flags, size_t values, const unsigned value[], size_t size,
                         size_t *room, void **buffer)
{
    void *made = NULL;
    const size_t bytes =
        flags & H5Z_FLAG_REVERSE
            ? decompress(*buffer, size, &made)
            : compress(*buffer, size, values > 0 ? (int)value[0] : DEFAULT_LEVEL, &made);
    if (bytes == 0) {
        free(made);
        return 0;
    }
    free(*buffer);
    *buffer = made;
    *room = bytes;
    return bytes;
}

H5PL_type_t H5PLget_plugin_type(void)
{
    return H5PL_TYPE_FILTER;
}

const void *H5PLget_plugin_info(void)
{
    static const H5Z_class2_t filter = {
        H5Z_CLASS_T_VERS, DN_SHARD_ZSTD_FILTER, 1, 1, "zstd", NULL, NULL, run_filter};
    return &filter;
}
