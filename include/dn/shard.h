/*
 * The HDF5 image shards of a folder of records (docs/shard-format.md): what their writer and reader
 * share, and the reader.
 *
 * Shards are not trusted. A shard of pixels is verified against its checksum in dataset.json, an
 * encoded image against its own. HDF5 is used once, to read labels and the addresses of chunks;
 * from then on all threads read chunks with pread and decompress them without the HDF5 library. Not
 * collective.
 */
#ifndef DN_SHARD_H
#define DN_SHARD_H

#include "dn/manifest.h"
#include "dn/source.h"

/* ---- what the writer and the reader of a shard share ---- */

enum {
    DN_SHARD_FORMAT_VERSION = 1,               /* 1 more if classes in label sets are unknown */
    DN_SHARD_ZSTD_FILTER = 32015,              /* registered number of the zstd filter */
    DN_SHARD_CHUNK_BYTES = DN_MAX_IMAGE_BYTES, /* most bytes of a chunk's images */
    DN_SHARD_CHUNKS = 16384,     /* most chunks of a shard: HDF5 scans all of them to find one */
    DN_SHARD_FILE_NAME = 4095,   /* most bytes of a file's name, as of a path */
    DN_SHARD_EXPANSION_BITS = 15 /* most expansion of zstd: a block of 2^17 bytes from one of 4 */
};

/* Names in a shard that its writer and reader use; the others are in dn_shard_attributes. */
#define DN_SHARD_IMAGES      "images"
#define DN_SHARD_ENCODED     "encoded" /* instead of images: the encoded files, ... */
#define DN_SHARD_OFFSETS     "offsets" /* ... the offset of each, then of the end, ... */
#define DN_SHARD_SIZES       "sizes"   /* ... width and height ... */
#define DN_SHARD_HASHES      "xxh3"    /* ... and the checksum of each */
#define DN_SHARD_LABELS      "labels"
#define DN_SHARD_CLASS_NAMES "class_names"
#define DN_SHARD_LABEL_SETS  "label_sets" /* if labels number sets of classes */
#define DN_SHARD_LABELS_HASH "labels_xxh3"
#define DN_SHARD_FILE_NAMES  "file_names" /* of encoded images, if known */
#define DN_SHARD_FILES_HASH  "file_names_xxh3"

/* An attribute that a shard's writer sets and its reader expects. */
typedef struct dn_shard_attribute {
    const char *name;
    const char *text;       /* the value, or NULL: */
    const double *channels; /* the value, one number per channel, or NULL: */
    int64_t integer;
} dn_shard_attribute;

enum { DN_SHARD_ATTRIBUTES = 9 };

/* list = the attributes of one of the manifest's shards, whose texts they point into. Returns their
 * number: encoded shards have no mean and std, which are not known yet when they are written. */
int dn_shard_attributes(const dn_manifest *manifest, const dn_manifest_shard *shard,
                        dn_shard_attribute list[DN_SHARD_ATTRIBUTES]);

/* ---- the reader ---- */

typedef struct dn_shards dn_shards;

/* Opens the shards of a split in `folder`; the caller frees *shards with dn_shards_close. Verifies
 * all bytes of pixel shards against dataset.json; of encoded shards, which may be large, only what
 * is read here, and each image when it is read. Keeps no file open, and uses HDF5 in a child
 * process. Errors: as dn_manifest_load; DN_EINVAL (no such split), and others whose message names
 * the file, what was found and what was expected. */
dn_status dn_shards_open(dn_shards **shards, const char *folder, dn_split_id split);

/* Opens shards that may be damaged, without verifying checksums. If dn_shards_failure reports that
 * a shard has no valid index, nothing else may be asked about its images. Errors: as
 * dn_manifest_load; DN_EINVAL, DN_ENOMEM. */
dn_status dn_shards_open_damaged(dn_shards **shards, const char *folder, dn_split_id split);

/* Returns the failure of shard `index` of the split, with its message. */
dn_status dn_shards_failure(const dn_shards *shards, int index);

/* dn_shards_open for processes that share memory, in steps. Every process calls dn_shards_load,
 * which reads dataset.json and verifies every parts-th file, starting with file `part`;
 * dataset.json's checksum shows that all have the same. Then all call dn_shards_use_index with
 * dn_shards_index_bytes of shared, zeroed pages, which outlive the shards and which child processes
 * share. Once all files are verified, each calls dn_shards_read_index, whose children add a part of
 * the shards to the index, and once all have returned, since a child may write anywhere in it,
 * dn_shards_check_index, which validates a part and keeps the index from later children. */
dn_status dn_shards_load(dn_shards **shards, const char *folder, dn_split_id split, int part,
                         int parts);
size_t dn_shards_index_bytes(const dn_shards *shards);
void dn_shards_use_index(dn_shards *shards, void *index);
dn_status dn_shards_read_index(const dn_shards *shards, int part, int parts);
dn_status dn_shards_check_index(const dn_shards *shards, int part, int parts);

/* The content of dataset.json when the shards were opened; owned by the shards. */
const dn_manifest *dn_shards_manifest(const dn_shards *shards);

/* Closes *shards, which may be NULL, and sets it to NULL. */
void dn_shards_close(dn_shards **shards);

/* The split as a source that reads with `read`; the labels are owned by the shards. */
dn_source dn_shards_source(const dn_shards *shards, dn_read_fn *read);

/* Reads image `index` of encoded shards into the buffer; *size = its bytes. Thread-safe. Errors:
 * DN_ECORRUPT (wrong checksum), DN_EIO, DN_ENOMEM. */
dn_status dn_shards_read_encoded(const dn_shards *shards, int64_t index, dn_buffer *buffer,
                                 size_t *size);

/* The location of an image. */
typedef struct dn_shard_place {
    const dn_manifest_shard *shard;
    int64_t number;         /* index of the image in the shard */
    int64_t address, bytes; /* in the file: of the encoded image or pixel chunk */
    int64_t first, count;   /* images of the chunk; an encoded image alone */
    uint64_t hash;          /* of an encoded image: XXH3-64 of its bytes */
    int32_t width, height;  /* of an encoded image */
} dn_shard_place;

/* *place = the location of image `index` of the split, whose shard must have an index. */
void dn_shards_find(const dn_shards *shards, int64_t index, dn_shard_place *place);

/* text(size) = the location of image `index`, for messages. */
void dn_shards_name_image(const dn_shards *shards, int64_t index, char *text, size_t size);

/* The original file names of one shard at a time. Zeroed before the first use; freed at the end. */
typedef struct dn_file_names {
    const dn_manifest_shard *shard; /* the shard; NULL: none yet */
    char **name; /* (shard->count), in one block with the bytes; NULL: the shard has none */
} dn_file_names;

/* *name = the name of the file that image `index` was made from, relative to the source folder; any
 * bytes but zero; owned by `names`. NULL: not recorded. If `names` has another shard's, reads that
 * image's first, by HDF5 in a child process and pread. Errors: DN_ECORRUPT, DN_EIO, DN_ENOMEM. */
dn_status dn_shards_file_name(const dn_shards *shards, int64_t index, dn_file_names *names,
                              const char **name);
void dn_file_names_free(dn_file_names *names);

/* pixels(count, channels, height, width) = images [first, first + count) of the split, read by all
 * threads. Thread-safe. Errors: DN_ECORRUPT (wrong size or checksum; names the file and the chunk),
 * DN_EIO, DN_ENOMEM. */
dn_status dn_shards_read(const dn_shards *shards, int64_t first, int64_t count, uint8_t *pixels);

#endif
