/*
 * Reads TFRecord files once; see from_tfrecord.h.
 *
 * Gzipped files are unpacked into an anonymous file, as records are read again later at their
 * offsets. Each record is checked as soon as it is unpacked, so that a file cannot fill the disk
 * with anything but valid records.
 */
#include "tfrecord/from_tfrecord.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archives/packed.h"
#include "archives/unpack.h"
#include "dn/progress.h"

enum { LABELS = UINT16_MAX + 1, BLOCK = 1 << 18 };

/* ---- one record ---- */

void dn_record_describe(const dn_record_set *set, const dn_record *record, char *text, size_t size)
{
    snprintf(text, size, "%s: record %" PRIu32 " at byte %" PRId64, set->file[record->file].path,
             record->number, record->offset);
}

static dn_status add_record(dn_record_file *f, dn_record record)
{
    DN_CHECK(f->records < UINT32_MAX, DN_EINVAL, "%s: found more than %u records", f->path,
             UINT32_MAX);
    if (f->records == f->room) {
        const int64_t room = 2 * f->room + 256;
        dn_record *const more = realloc(f->record, (size_t)room * sizeof *more);
        DN_CHECK(more, DN_ENOMEM, "%s: out of memory for %" PRId64 " records", f->path, room);
        f->record = more;
        f->room = room;
    }
    f->record[f->records++] = record;
    return DN_OK;
}

/* Keeps the first text of each label, in the order of the files. */
static void note_text(dn_record_set *set, int file, const dn_example *e)
{
    dn_class_text *const t = &set->text[e->label];
    if (!e->text)
        return;
#pragma omp critical(dn_class_text)
    if (!t->text || file < t->file) {
        free(t->text);
        *t = (dn_class_text){.text = strndup(e->text, e->text_size), .file = file};
    }
}

static dn_status scan_record(dn_record_set *set, int file, const dn_record *place,
                             const uint8_t *data, size_t size)
{
    dn_record_file *const f = &set->file[file];
    const int skips = set->options->on_bad_image == DN_BAD_SKIP;
    dn_record record = *place;
    dn_example e;
    dn_status status = dn_example_unpack(&e, data, size);
    if (status == DN_OK) {
        record.label = (uint16_t)e.label;
        note_text(set, file, &e);
    } else {
        char name[PATH_MAX + 64];
        dn_record_describe(set, place, name, sizeof name);
        dn_fail(status, "%s: %s%s", name, dn_message(), skips ? "" : DN_SKIP_HINT);
    }
    dn_example_free(&e);
    if (status == DN_ECORRUPT && skips) {
        record.status = (int8_t)status;
        record.fault = strdup(dn_message());
        status = DN_OK;
    }
    if (status == DN_OK)
        status = add_record(f, record);
    if (status != DN_OK)
        free(record.fault);
    return status;
}

/* Scans all complete records; `ends` tells that no more bytes will come. */
static dn_status scan_records(dn_record_set *set, int file, dn_tfrecord *t, int ends)
{
    for (;;) {
        const dn_record place = {.file = file,
                                 .split = (uint8_t)set->file[file].split,
                                 .offset = t->offset,
                                 .number = (uint32_t)t->record};
        const uint8_t *data;
        size_t size;
        int64_t length;
        if (!ends) {
            dn_tfrecord longer = *t;
            longer.size = INT64_MAX;
            if (t->size - t->offset < DN_TFRECORD_HEAD)
                return DN_OK;
            DN_TRY(dn_tfrecord_peek(&longer, &length));
            if (length > t->size - t->offset - DN_TFRECORD_HEAD - DN_TFRECORD_TAIL)
                return DN_OK;
        }
        DN_TRY(dn_tfrecord_next(t, &data, &size));
        if (!data)
            return DN_OK;
        DN_TRY(scan_record(set, file, &place, data, size));
    }
}

/* ---- one file ---- */

static dn_status open_unpacked(dn_record_set *set)
{
    char path[PATH_MAX];
    if (set->unpacked >= 0)
        return DN_OK;
    DN_TRY(dn_temporary_path(path));
    set->unpacked = mkstemp(path);
    DN_CHECK(set->unpacked >= 0, DN_EIO, "%s: cannot write: %s", path, strerror(errno));
    unlink(path);
    return DN_OK;
}

static dn_status append_unpacked(dn_record_set *set, const dn_record_file *f, const uint8_t *bytes,
                                 size_t size)
{
    const dn_status status = dn_file_append(set->unpacked, f->path, bytes, size);
    DN_CHECK(status == DN_OK, status,
             "%s: cannot unpack it: %s; $TMPDIR names a folder with room (/var/tmp else)", f->path,
             strerror(errno));
    set->unpacked_bytes += (int64_t)size;
    return DN_OK;
}

static dn_status unpack_records(dn_record_set *set, int file, dn_packed *packed, dn_tfrecord *t,
                                uint8_t *block)
{
    dn_record_file *const f = &set->file[file];
    DN_TRY(open_unpacked(set));
    t->file = set->unpacked;
    t->base = f->base = set->unpacked_bytes;
    for (size_t size = 1; size > 0;) {
        const dn_status status = dn_packed_read(packed, block, BLOCK, &size);
        DN_CHECK(status == DN_OK, status, "%s, after %" PRId64 " unpacked bytes", dn_message(),
                 t->size);
        DN_TRY(append_unpacked(set, f, block, size));
        t->size += (int64_t)size;
        DN_TRY(scan_records(set, file, t, size == 0));
    }
    return DN_OK;
}

static dn_status scan_packed(dn_record_set *set, int file, dn_tfrecord *t)
{
    const char *const path = set->file[file].path;
    uint8_t *const block = malloc(BLOCK);
    dn_packed *packed;
    dn_status status = dn_packed_open(&packed, path);
    if (status == DN_OK)
        status = block ? unpack_records(set, file, packed, t, block)
                       : dn_fail(DN_ENOMEM, "%s: out of memory", path);
    dn_packed_close(&packed);
    free(block);
    return status;
}

/* 1 if the first bytes are gzip's, unless they are a record's length with the right checksum. */
static int is_packed(const dn_tfrecord *t)
{
    uint8_t head[2];
    return t->size >= 2 && dn_file_read(t->file, t->path, head, 2, 0) == DN_OK && head[0] == 0x1f &&
           head[1] == 0x8b && dn_tfrecord_is_none(t);
}

static dn_status scan_file(dn_record_set *set, int file)
{
    dn_record_file *const f = &set->file[file];
    dn_tfrecord t = {.path = f->path};
    int opened;
    dn_status status;
    DN_TRY(dn_file_open(f->path, &opened, &t.size));
    t.file = opened;
    f->is_packed = is_packed(&t);
    if (f->is_packed) {
        t.size = 0;
#pragma omp critical(dn_unpack)
        status = scan_packed(set, file, &t);
    } else
        status = scan_records(set, file, &t, 1);
    if (status == DN_ECORRUPT && t.record == 0 && dn_tfrecord_is_none(&t))
        dn_fail(status, "%s; no TFRecord file, or packed other than by gzip", dn_message());
    close(opened);
    dn_buffer_free(&t.buffer);
    f->size = t.size;
    return status;
}

/* ---- all of them ---- */

/* Joins the records of all files into one list, by split. */
static dn_status join_records(dn_record_set *set)
{
    for (int i = 0; i < set->files; i++) {
        set->records += set->file[i].records;
        if (set->file[i].records == 0)
            dn_warn("%s: found no record in it", set->file[i].path);
    }
    DN_CHECK(set->records > 0, DN_EINVAL,
             "%s: found no records in the files, expected at least one", set->file[0].path);
    dn_record *next = set->record = malloc((size_t)set->records * sizeof *next);
    DN_CHECK(next, DN_ENOMEM, "out of memory for %" PRId64 " records", set->records);
    for (int s = 0; s < DN_SPLITS; s++)
        for (int i = 0; i < set->files; i++) {
            dn_record_file *const f = &set->file[i];
            if (f->split != (dn_split_id)s || f->records == 0)
                continue;
            memcpy(next, f->record, (size_t)f->records * sizeof *next);
            next += f->records;
            free(f->record);
            f->record = NULL;
            f->records = 0;
        }
    return DN_OK;
}

dn_status dn_record_scan(dn_record_set *set)
{
    atomic_int last = INT_MAX; /* files after it are not read */
    dn_progress progress;
    set->text = calloc(LABELS, sizeof *set->text);
    DN_CHECK(set->text, DN_ENOMEM, "out of memory for class names");
    dn_progress_begin(&progress, "reading:", "files", set->files);
#pragma omp parallel for schedule(monotonic : dynamic)
    for (int i = 0; i < set->files; i++) {
        const dn_status status = i > last ? DN_OK : scan_file(set, i);
        dn_failure_keep(&set->file[i].failure, status);
        for (int old = last; status != DN_OK && i < old;)
            if (atomic_compare_exchange_weak(&last, &old, i))
                break;
        dn_progress_add(&progress, 1);
    }
    dn_progress_end(&progress);
    if (last < INT_MAX)
        return dn_failure_report(&set->file[last].failure);
    return join_records(set);
}

void dn_record_free(dn_record_set *set)
{
    for (int i = 0; i < set->files; i++) {
        for (int64_t r = 0; r < set->file[i].records; r++)
            free(set->file[i].record[r].fault);
        free(set->file[i].record);
    }
    for (int64_t r = 0; r < set->records && set->record; r++)
        free(set->record[r].fault);
    for (int i = 0; i < LABELS && set->text; i++)
        free(set->text[i].text);
    for (int i = 0; i < set->classes && set->class_names; i++)
        free(set->class_names[i]);
    if (set->unpacked >= 0)
        close(set->unpacked);
    free(set->file);
    free(set->record);
    free(set->text);
    free(set->class_names);
}
