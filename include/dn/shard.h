/*
 * The HDF5 image shards of a folder of records (docs/shard-format.md): what their writer and their
 * reader share, and the reader.
 *
 * Nobody vouches for such a file. A shard of pixels is believed by the checksum that dataset.json
 * has of it, an encoded image by its own. HDF5 is asked once for labels and the chunks' addresses.
 * Afterwards chunks are read with pread and decompressed without the HDF5 library, by all threads.
 */
#ifndef DN_SHARD_H
#define DN_SHARD_H

#include "dn/manifest.h"
#include "dn/source.h"

/* ---- what the writer and the reader of a shard share ---- */

enum {
    DN_SHARD_FORMAT_VERSION = 1,               /* of the shards */
    DN_SHARD_ZSTD_FILTER = 32015,              /* registered number of the zstd filter */
    DN_SHARD_CHUNK_BYTES = DN_MAX_IMAGE_BYTES, /* the most that the images of a chunk may have */
    DN_SHARD_CHUNKS = 16384,     /* the most of a shard: HDF5 goes through all to find one */
    DN_SHARD_FILE_NAME = 4095,   /* bytes of a file's name, at most, as of a path */
    DN_SHARD_EXPANSION_BITS = 15 /* of zstd, at most: a block of 2^17 bytes in one of 4 */
};

/* Names in a shard that its writer and its reader use; the others are in dn_shard_attributes. */
#define DN_SHARD_IMAGES      "images"
#define DN_SHARD_ENCODED     "encoded" /* in place of images: files, ... */
#define DN_SHARD_OFFSETS     "offsets" /* ... where each begins, and the last ends, ... */
#define DN_SHARD_SIZES       "sizes"   /* ... width and height ... */
#define DN_SHARD_HASHES      "xxh3"    /* ... and the checksum of each */
#define DN_SHARD_LABELS      "labels"
#define DN_SHARD_CLASS_NAMES "class_names"
#define DN_SHARD_LABELS_HASH "labels_xxh3"
#define DN_SHARD_FILE_NAMES  "file_names" /* of encoded images, where they are known */
#define DN_SHARD_FILES_HASH  "file_names_xxh3"

/* An attribute that a shard's writer sets and its reader expects. */
typedef struct dn_shard_attribute {
    const char *name;
    const char *text;       /* the value; where it is NULL: */
    const double *channels; /* the value, one number a channel; where it is NULL, too: */
    int64_t integer;
} dn_shard_attribute;

enum { DN_SHARD_ATTRIBUTES = 9 };

/* list = the attributes of one of the manifest's shards, whose texts they share. Returns how many:
 * encoded shards, which are made before mean and std are known, lack these two. */
int dn_shard_attributes(const dn_manifest *manifest, const dn_manifest_shard *shard,
                        dn_shard_attribute list[DN_SHARD_ATTRIBUTES]);

/* ---- the reader ---- */

typedef struct dn_shards dn_shards;

/* Opens the shards of a split in `folder`; the caller owns the result. DN_EINVAL where the data set
 * has no such split. One failure message names the file, what was found and what was expected.
 * Every byte of pixels is compared with dataset.json's checksums; of encoded shards, which may be
 * large, what is read now: the rest when it is read. No file stays open, and HDF5 is used in a
 * child process. */
dn_status dn_shards_open(dn_shards **shards, const char *folder, dn_split_id split);

/* Opens what there is of shards that may be damaged: compares no checksum, and where a shard has no
 * sound index dn_shards_failure tells why, and nothing else may be asked about its images. As
 * dn_manifest_load; DN_EINVAL, DN_ENOMEM. */
dn_status dn_shards_open_damaged(dn_shards **shards, const char *folder, dn_split_id split);

/* Makes the failure of shard `index` of the split the thread's. */
dn_status dn_shards_failure(const dn_shards *shards, int index);

/* The same as dn_shards_open for processes that share memory. Each loads: reads dataset.json, whose
 * checksum they have in common, and compares every parts-th file, from file `part` on. Then all use
 * one index, dn_shards_index_bytes of zeroed pages that outlive the shards and that child processes
 * share; and one process makes it, once all files are known to be right. */
dn_status dn_shards_load(dn_shards **shards, const char *folder, dn_split_id split, int part,
                         int parts);
size_t dn_shards_index_bytes(const dn_shards *shards);
void dn_shards_use_index(dn_shards *shards, void *index);
dn_status dn_shards_make_index(dn_shards *shards);

/* dataset.json, as it was when they were opened. */
const dn_manifest *dn_shards_manifest(const dn_shards *shards);

/* Sets *shards to NULL; accepts NULL inside. */
void dn_shards_close(dn_shards **shards);

/* The split as a source by `read`; the labels are the shards'. */
dn_source dn_shards_source(const dn_shards *shards, dn_read_fn *read);

/* *size bytes of image `index` of encoded shards, in the buffer. Thread-safe. DN_ECORRUPT where
 * their checksum is not right. */
dn_status dn_shards_read_encoded(const dn_shards *shards, int64_t index, dn_buffer *buffer,
                                 size_t *size);

/* Where an image stands. */
typedef struct dn_shard_place {
    const dn_manifest_shard *shard;
    int64_t number;         /* in the shard */
    int64_t address, bytes; /* in the file: of the image or, of pixels, the chunk that it is in */
    int64_t first, count;   /* the images of that chunk, by their numbers; an encoded one alone */
    uint64_t hash;          /* of an encoded image: XXH3-64 of its bytes; as are: */
    int32_t width, height;
} dn_shard_place;

/* Image `index` of the split, of a shard that has its index. */
void dn_shards_find(const dn_shards *shards, int64_t index, dn_shard_place *place);

/* text(size) = where image `index` stands, for messages. */
void dn_shards_name_image(const dn_shards *shards, int64_t index, char *text, size_t size);

/* The names of one shard's files at a time. Zeroed at first; freed in the end. */
typedef struct dn_file_names {
    const dn_manifest_shard *shard; /* whose; NULL: no one's */
    char **name; /* (shard->count), in one block with the bytes; NULL: the shard tells none */
} dn_file_names;

/* *name = that of the file that image `index` was, below the folder that the records were made of,
 * of any bytes but zero, in `names`; NULL: the shard does not tell. Names of another shard are read
 * first, by HDF5 in a child process and pread. DN_ECORRUPT, DN_EIO, DN_ENOMEM. */
dn_status dn_shards_file_name(const dn_shards *shards, int64_t index, dn_file_names *names,
                              const char **name);
void dn_file_names_free(dn_file_names *names);

/* pixels(count, channels, height, width) = the images [first, first + count) of the split, by all
 * threads. Thread-safe. DN_ECORRUPT when a chunk's size or checksum is not right, naming the file
 * and the chunk. */
dn_status dn_shards_read(const dn_shards *shards, int64_t first, int64_t count, uint8_t *pixels);

#endif
