/*
 * The fields of a checkpoint besides vectors and data set: one table, by which they are written,
 * read and checked. A new field is a row, a member of dn_checkpoint, and a line in
 * docs/checkpoint-format.md.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "checkpoint_file.h"

static const int64_t most_steps = 1000000000000000000; /* as of --max-steps */

typedef enum field_kind {
    TEXT,      /* an attribute */
    LONG_TEXT, /* a data set, which has room for more */
    INTEGER,   /* an attribute of an int64_t */
    DOUBLES    /* a data set */
} field_kind;

typedef struct field {
    const char *name;
    field_kind kind;
    size_t offset, bytes; /* in dn_checkpoint_file */
    size_t added;         /* of these bytes the last, which older files lack: they are 0 then */
} field;

#define LONGER_FIELD(name, kind, member, added)                                                    \
    {                                                                                              \
        name, kind, offsetof(dn_checkpoint_file, member),                                          \
            sizeof(((dn_checkpoint_file *)NULL)->member), added                                    \
    }
#define FIELD(name, kind, member) LONGER_FIELD(name, kind, member, 0)

static const field fields[] = {
    FIELD("model", TEXT, model),
    FIELD("step", INTEGER, state.step),
    FIELD("average_step", INTEGER, state.average_step),
    FIELD("weights_hash", TEXT, hash),
    FIELD("data", TEXT, state.data),
    FIELD("data_folder", TEXT, state.folder),
    FIELD("config", LONG_TEXT, state.config),
    FIELD("kernels", TEXT, state.kernels),
    FIELD("optimizer", TEXT, optimizer),
    FIELD("schedule", TEXT, state.schedule),
    FIELD("schedule_state", DOUBLES, state.schedule_state),
    LONGER_FIELD("monitor", DOUBLES, state.monitor, sizeof(double)), /* best_loss */
    FIELD("epoch_scores", DOUBLES, state.epoch_sums),
};

enum { FIELDS = sizeof fields / sizeof *fields };

/* ---- writing: 0 when HDF5 fails ---- */

static int write_long_text(hid_t file, const char *name, const char *text)
{
    const hid_t type = dn_hdf5_text_type(strlen(text) + 1);
    const int ok = dn_hdf5_write(file, name, type, H5Screate(H5S_SCALAR), text);
    H5Tclose(type);
    return ok;
}

static int write_field(hid_t file, const field *d, const void *value)
{
    const hsize_t doubles = d->bytes / sizeof(double);
    switch (d->kind) {
    case TEXT:
        return dn_hdf5_put_text(file, d->name, value);
    case LONG_TEXT:
        return write_long_text(file, d->name, value);
    case INTEGER:
        return dn_hdf5_put_integer(file, d->name, *(const int64_t *)value);
    case DOUBLES:
        break;
    }
    return dn_hdf5_write(file, d->name, H5T_IEEE_F64LE, H5Screate_simple(1, &doubles, NULL), value);
}

int dn_checkpoint_write_state(const dn_checkpoint_file *f, hid_t file)
{
    int ok = dn_hdf5_put_text(file, "format", DN_CHECKPOINT_FORMAT) &&
             dn_hdf5_put_integer(file, "format_version", DN_CHECKPOINT_VERSION);
    for (int i = 0; ok && i < FIELDS; i++)
        ok = write_field(file, &fields[i], (const char *)f + fields[i].offset);
    return ok;
}

/* ---- reading ---- */

static dn_status read_long_text(hid_t file, const char *path, const field *d, char *text)
{
    DN_TRY(dn_hdf5_read(file, path, d->name, dn_hdf5_text_type(d->bytes), 1, text));
    DN_CHECK(memchr(text, '\0', d->bytes), DN_ECORRUPT, "%s: %s: found no zero byte at its end",
             path, d->name);
    return DN_OK;
}

static dn_status read_doubles(hid_t file, const char *path, const field *d, double *value)
{
    const size_t all = d->bytes / sizeof *value, older = all - d->added / sizeof *value;
    const dn_status status =
        dn_hdf5_read(file, path, d->name, H5T_NATIVE_DOUBLE, (int64_t)all, value);
    if (status == DN_OK || older == all)
        return status;
    memset(value + older, 0, d->added);
    return dn_hdf5_read(file, path, d->name, H5T_NATIVE_DOUBLE, (int64_t)older, value);
}

static dn_status read_field(hid_t file, const char *path, const field *d, void *value)
{
    switch (d->kind) {
    case TEXT:
        return dn_hdf5_get_text(file, path, d->name, value, d->bytes);
    case LONG_TEXT:
        return read_long_text(file, path, d, value);
    case INTEGER:
        return dn_hdf5_get_integer(file, path, d->name, value);
    case DOUBLES:
        break;
    }
    return read_doubles(file, path, d, value);
}

dn_status dn_checkpoint_read_state(dn_checkpoint_file *f, hid_t file)
{
    char format[64];
    int64_t version;
    DN_TRY(dn_hdf5_get_text(file, f->path, "format", format, sizeof format));
    DN_CHECK(strcmp(format, DN_CHECKPOINT_FORMAT) == 0, DN_ECORRUPT,
             "%s: found format \"%s\", expected \"%s\"", f->path, format, DN_CHECKPOINT_FORMAT);
    DN_TRY(dn_hdf5_get_integer(file, f->path, "format_version", &version));
    DN_CHECK(version == DN_CHECKPOINT_VERSION, DN_ECORRUPT,
             "%s: found format version %" PRId64 ", expected %d: made by another dn_dist", f->path,
             version, DN_CHECKPOINT_VERSION);
    for (int i = 0; i < FIELDS; i++)
        DN_TRY(read_field(file, f->path, &fields[i], (char *)f + fields[i].offset));
    return DN_OK;
}

/* ---- checking ---- */

/* Checks that texts are terminated and numbers are finite. */
static dn_status check_field(const dn_checkpoint_file *f, const field *d, void *value)
{
    const double *const doubles = value;
    if (d->kind == TEXT || d->kind == LONG_TEXT)
        ((char *)value)[d->bytes - 1] = '\0';
    for (size_t i = 0; d->kind == DOUBLES && i < d->bytes / sizeof *doubles; i++)
        DN_CHECK(isfinite(doubles[i]), DN_ECORRUPT, "%s: %s: found %g, expected finite numbers",
                 f->path, d->name, doubles[i]);
    return DN_OK;
}

dn_status dn_checkpoint_check_state(dn_checkpoint_file *f)
{
    dn_checkpoint *const s = &f->state;
    s->is_best = 0;
    s->data_set = NULL;
    s->data_set_bytes = 0;
    for (int i = 0; i < FIELDS; i++)
        DN_TRY(check_field(f, &fields[i], (char *)f + fields[i].offset));
    DN_CHECK(s->step >= 0 && s->step <= most_steps, DN_ECORRUPT,
             "%s: found step %" PRId64 ", expected 0 to %" PRId64, f->path, s->step, most_steps);
    DN_CHECK(s->average_step >= -1 && s->average_step <= s->step, DN_ECORRUPT,
             "%s: found statistics of averages of step %" PRId64 ", expected -1 to %" PRId64,
             f->path, s->average_step, s->step);
    DN_CHECK(s->schedule_state.epochs >= 0, DN_ECORRUPT,
             "%s: schedule_state: found %g epochs, expected 0 or more", f->path,
             s->schedule_state.epochs);
    return DN_OK;
}
