/*
 * Reads records again, each at its place; see from_tfrecord.h.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/image.h"
#include "dn/progress.h"
#include "tfrecord/from_tfrecord.h"

static void close_file(dn_record_reader *d)
{
    if (d->file >= 0)
        close(d->file);
    d->file = d->opened = -1;
}

void dn_record_reader_free(dn_record_reader *d)
{
    close_file(d);
    dn_example_free(&d->example);
    dn_buffer_free(&d->buffer);
    dn_buffer_free(&d->pixels.rgb);
}

dn_status dn_record_read(const dn_record_set *set, const dn_record *r, dn_record_reader *d)
{
    const dn_record_file *const f = &set->file[r->file];
    const uint8_t *data;
    size_t size;
    if (!f->is_packed && d->opened != r->file) {
        close_file(d);
        DN_TRY(dn_file_open(f->path, &d->file, &d->size));
        d->opened = r->file;
    }
    dn_tfrecord t = {.path = f->path,
                     .file = f->is_packed ? set->unpacked : d->file,
                     .base = f->base,
                     .size = f->is_packed ? f->size : d->size,
                     .offset = r->offset,
                     .record = r->number,
                     .buffer = d->buffer};
    dn_record_describe(set, r, d->name, sizeof d->name);
    const dn_status status = dn_tfrecord_next(&t, &data, &size);
    d->buffer = t.buffer;
    DN_TRY(status);
    dn_example_free(&d->example);
    const dn_status unpacked = dn_example_unpack(&d->example, data ? data : d->buffer.bytes, size);
    DN_CHECK(unpacked == DN_OK, unpacked, "%s: %s", d->name, dn_message());
    return DN_OK;
}

/* Converts raw pixels to RGB. */
static dn_status widen_pixels(const dn_example *e, dn_pixels *pixels)
{
    const size_t count = (size_t)(e->height * e->width);
    DN_TRY(dn_buffer_grow(&pixels->rgb, 3 * count));
    pixels->width = (int)e->width;
    pixels->height = (int)e->height;
    for (size_t i = 0; i < 3 * count; i++)
        pixels->rgb.bytes[i] = e->image[e->channels == 3 ? i : i / 3];
    return DN_OK;
}

dn_status dn_record_pixels(dn_record_reader *d)
{
    const dn_example *const e = &d->example;
    const dn_encoded file = {.bytes = e->image, .size = e->size, .name = d->name};
    return e->is_raw ? widen_pixels(e, &d->pixels) : dn_image_decode(&file, NULL, 1, &d->pixels);
}

dn_status dn_record_encode(const dn_record_reader *d, const uint8_t **bytes, size_t *size,
                           uint8_t **png)
{
    const dn_example *const e = &d->example;
    *png = NULL;
    *bytes = e->image;
    *size = e->size;
    if (!e->is_raw)
        return DN_OK;
    DN_TRY(dn_png_encode(e->image, (int)e->height, (int)e->width, (int)e->channels, png, size));
    *bytes = *png;
    return DN_OK;
}

/* ---- all records ---- */

dn_status dn_each_record(dn_record_set *set, const char *what, dn_record_job *job,
                         dn_pixel_sums *sums)
{
    dn_progress progress;
    const int skips = set->options->on_bad_image == DN_BAD_SKIP;
    _Atomic int64_t last = INT64_MAX;
    dn_progress_begin(&progress, what, "records", set->records);
#pragma omp parallel
    {
        dn_record_reader d = DN_RECORD_READER;
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t i = 0; i < set->records; i++) {
            dn_record *const r = &set->record[i];
            const dn_status status = i > last ? DN_OK : job(set, r, &d);
            dn_progress_add(&progress, 1);
            if (status == DN_OK)
                continue;
            r->status = (int8_t)status;
            r->fault = strdup(dn_message());
            if (skips && (status == DN_EINVAL || status == DN_ECORRUPT))
                continue;
            for (int64_t old = last; i < old && !atomic_compare_exchange_weak(&last, &old, i);)
                ;
        }
        dn_pixel_sums_merge(sums, &d.sums);
        dn_record_reader_free(&d);
    }
    dn_progress_end(&progress);
    if (last == INT64_MAX)
        return DN_OK;
    const dn_record *const r = &set->record[last];
    return dn_fail((dn_status)r->status, "%s%s", r->fault ? r->fault : "out of memory",
                   r->status == DN_EIO || r->status == DN_ENOMEM ? "" : DN_SKIP_HINT);
}
