/* The regression corpus: files that once caused failures, as edits of the originals; see fuzz.h.
 * Others are in tests/unit/test_*_damage.c. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hdf5.h>

#include "fuzz.h"

/* ---- in text ---- */

/* The first `find` becomes `put`. */
static const struct edit {
    const char *format, *name, *find, *put;
} edits[] = {
    {"manifest", "count-32-bits", "\"count\": 20", "\"count\": 4294967316"},
    {"manifest", "std-negative", "\"std\": [\n    0.", "\"std\": [\n    -0."},
    {"manifest", "std-other", "\"std\": [\n    0.", "\"std\": [\n    0.1"},
    {"manifest", "mean-huge", "\"mean\": [\n    0.", "\"mean\": [\n    100000."},
    {"manifest", "names-swapped", "\"a\",\n    \"b c\"", "\"b c\",\n    \"a\""},
    {"manifest", "sets-none", "version\": 4", "version\": 5, \"label_sets\": [[]]"},
    {"manifest", "sets-decreasing", "version\": 4", "version\": 5, \"label_sets\": [[1, 0]]"},
    {"manifest", "sets-64-bits", "version\": 4", "version\": 5, \"label_sets\": [[4294967296]]"},
    {"manifest", "sets-unknown", "version\": 4", "version\": 6, \"label_sets\": [[0, [1]]]"},
    {"manifest", "sets-twice", "version\": 4", "version\": 6, \"label_sets\": [[0, [0]]]"},
    {"manifest", "sets-nested", "version\": 4", "version\": 6, \"label_sets\": [[[[0]]]]"},
    {"manifest", "version-64-bits", "\"format_version\": ", "\"format_version\": 429496729600"},
    {"tfrecord", "label-missing", "image/class/label", "image/class/lable"},
    {"tfrecord", "image-missing", "image/encoded", "image/decoded"},
    {"tfrecord", "label-endless", "\x1a\x03\x0a\x01\x01", "\x1a\x03\x0a\x01\xff"},
    {"example", "image-missing", "image/encoded", "image/decoded"},
    {"example", "label-endless", "\x1a\x03\x0a\x01\x01", "\x1a\x03\x0a\x01\xff"},
    {"tfrecord", "no-png", "\211PNG", "\211PNX"},
    {"tfrecord", "text-control", "ant", "a\nt"},
    {"profile", "floats-overflow", "300000", "9223372036854775807"},
    {"profile", "floats-many", "4000000", "100000000000000"},
    {"profile", "ranks", "\"ranks\": 2", "\"ranks\": 2147483647"},
    {"profile", "ranks-64-bits", "\"ranks\": 2", "\"ranks\": 4294967298"},
    {"profile", "seconds", "0.0625,", "1e308,"},
    {"profile", "statistics", "100", "-1"},
};

static int apply(const struct edit *e, fuzz_file *file)
{
    const size_t old = strlen(e->find), put = strlen(e->put);
    uint8_t *const at = memmem(file->bytes, file->size, e->find, old);
    if (at == NULL)
        return 0;
    memmove(at + put, at + old, (size_t)(file->bytes + file->size - at) - old);
    memcpy(at, e->put, put);
    file->size += put - old;
    return 1;
}

/* ---- in bytes, of HDF5's metadata too, whose checksums are then renewed ---- */

/* Bytes behind a signature, "" the file's begin: of shards in the header of their heap of
 * attributes. */
static const struct poke {
    const char *format, *name, *signature;
    size_t offset, size;
    uint64_t value;
} pokes[] = {
    {"tfrecord", "png-wide", "IHDR", 4, 4, 0xffffffff},
    {"tfrecord", "png-type", "IHDR", 13, 1, 7},
    {"shard", "heap-width-0", "FRHP", 110, 2, 0},
    {"shard", "heap-block-0", "FRHP", 112, 8, 0},
    {"shard", "heap-block-odd", "FRHP", 112, 8, 3},
    {"shard", "heap-direct-0", "FRHP", 120, 8, 0},
    {"shard", "heap-bits-0", "FRHP", 128, 2, 0},
    {"shard", "heap-bits-65535", "FRHP", 128, 2, 65535},
    {"jpeg", "arithmetic", "\377\300", 1, 1, 0xC9},
    {"jpeg", "height-0", "\377\300", 5, 2, 0},
    {"jpeg", "width-0", "\377\300", 7, 2, 0},
    {"jpeg", "large", "\377\300", 5, 4, 0x00400040},
    {"jpeg", "components-2", "\377\300", 9, 1, 2},
    {"jpeg", "sampling-0", "\377\300", 11, 1, 0},
    {"png", "width-0", "IHDR", 4, 4, 0},
    {"png", "large", "IHDR", 4, 8, 0x0040000000400000},
    {"png", "depth-3", "IHDR", 12, 1, 3},
    {"png", "type-1", "IHDR", 13, 1, 1},
    {"png", "unknown", "IDAT", 0, 1, 'J'},
    {"cifar", "label-10", "", 0, 1, 10},
    {"idx", "images", "", 3, 1, 3},
    {"idx", "count", "", 4, 4, UINT32_MAX},
    {"idx", "label-10", "", 8, 1, 10},
    {"gzip", "plain", "", 0, 1, 0},
    {"gzip", "method", "", 2, 1, 0},
};

static int poke_into(const struct poke *p, fuzz_file *file)
{
    uint8_t *const at = memmem(file->bytes, file->size, p->signature, strlen(p->signature));
    if (at == NULL || at + p->offset + p->size > file->bytes + file->size)
        return 0;
    memcpy(at + p->offset, &p->value, p->size);
    return 1;
}

/* ---- in the length ---- */

/* The last bytes are cut off; of a progressive JPEG the last scan is repeated before its end. */
static const struct stretch {
    const char *format, *name;
    size_t cut, scans;
} stretches[] = {
    {"cifar", "short", 1, 0}, {"idx", "short", 1, 0},   {"gzip", "no-checksum", 8, 0},
    {"png", "no-end", 12, 0}, {"jpeg", "short", 20, 0}, {"progressive", "scans", 2, 2000},
};

static void stretch_file(const struct stretch *s, fuzz_file *file)
{
    size_t begin = file->size -= s->cut;
    if (s->scans > 0)
        while (file->bytes[begin] != 0xFF || file->bytes[begin + 1] != 0xDA)
            begin--;
    const size_t scan = file->size - begin;
    for (size_t i = 0; i < s->scans && file->size + scan < FUZZ_MOST; i++, file->size += scan)
        memcpy(file->bytes + file->size, file->bytes + begin, scan);
}

/* ---- in what HDF5 stores ---- */

/* An element of a list becomes `value`. */
static const struct tamper {
    const char *format, *name, *list;
    int index;
    long value;
} tampers[] = {
    {"encoded", "offset-falls", "offsets", 2, 1}, {"encoded", "offset-far", "offsets", 1, LONG_MAX},
    {"encoded", "width-0", "sizes", 0, 0},        {"encoded", "height-negative", "sizes", 3, -5},
    {"encoded", "label-changed", "labels", 0, 1},
};

/* The library may leave the seal inside the file: the last bytes make room for another. */
static void tamper_with(const fuzz *f, const struct tamper *t, fuzz_file *file)
{
    long list[64];
    fuzz_write(&f->original, f->path);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const hid_t h5 = H5Fopen(f->path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t set = H5Dopen2(h5, t->list, H5P_DEFAULT);
    fuzz_require(H5Dread(set, H5T_NATIVE_LONG, H5S_ALL, H5S_ALL, H5P_DEFAULT, list) >= 0, t->list);
    list[t->index] = t->value;
    fuzz_require(H5Dwrite(set, H5T_NATIVE_LONG, H5S_ALL, H5S_ALL, H5P_DEFAULT, list) >= 0, t->list);
    H5Dclose(set);
    fuzz_require(H5Fclose(h5) >= 0, "an edited file");
    fuzz_read(file, f->path);
    memset(file->bytes + file->size, 0, 32);
    file->size += 32;
}

/* Calls `each` for the rows of a table that are of the format, after `change`, which uses `row`. */
#define EACH(table, change)                                                                        \
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {                                    \
        const __typeof__(*table) *const row = &table[i];                                           \
        if (strcmp(row->format, f->format->name) != 0)                                             \
            continue;                                                                              \
        memcpy(file, &f->original, sizeof *file);                                                  \
        change;                                                                                    \
        each(f, row->name, file, user);                                                            \
    }

void fuzz_each_fault(fuzz *f, fuzz_fault_fn *each, void *user)
{
    fuzz_file *const file = malloc(sizeof *file);
    fuzz_require(file != NULL, "memory");
    EACH(edits, fuzz_require(apply(row, file), row->name));
    EACH(pokes, fuzz_require(poke_into(row, file), row->name));
    EACH(stretches, stretch_file(row, file));
    EACH(tampers, tamper_with(f, row, file));
    free(file);
}
