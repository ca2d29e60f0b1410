/*
 * Writes a folder of records; see writer.h.
 *
 * dataset.json is removed first and written last, and the folder is locked in between, so a folder
 * with dataset.json is whole. In between the journal, which is created before dataset.json is
 * removed, tells which shards are whole.
 */
#include "writer/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <jansson.h>
#include <xxhash.h>

#include "dn/file.h"
#include "dn/program.h"
#include "writer/leftovers.h"

#define LOCK_NAME "making.lock"

dn_status dn_each_shard(dn_manifest *manifest, dn_shard_job *job, void *context)
{
    dn_failure failure = {0};
    atomic_int failed = 0;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < manifest->shards; i++) {
        const dn_status status = failed ? DN_OK : job(context, &manifest->shard[i]);
#pragma omp critical(dn_records)
        dn_failure_keep(&failure, status);
        if (status != DN_OK)
            failed = 1;
    }
    return dn_failure_report(&failure);
}

dn_status dn_writer_out(const dn_records_options *options, const char *prefix, char out[PATH_MAX])
{
    const int length = options->out ? snprintf(out, PATH_MAX, "%s", options->out)
                                    : snprintf(out, PATH_MAX, "data/%s", prefix);
    DN_CHECK(length < PATH_MAX, DN_EINVAL, "--out: the path is too long");
    return DN_OK;
}

dn_status dn_writer_begin(dn_writer *w, const char *dataset)
{
    const char *const folder = w->options->out;
    const dn_status status = dn_manifest_load(&w->existing, folder);
    if (status == DN_ENOENT)
        return DN_OK;
    /* create_records never leaves a damaged one: it may be another program's file */
    DN_CHECK(status != DN_ECORRUPT, status,
             "%s; move it and the shards beside it away, or name another --out", dn_message());
    DN_TRY(status);
    DN_CHECK(strcmp(w->existing->info.dataset, dataset) == 0, DN_EINVAL,
             "%s/dataset.json: found %s, expected %s; name another --out", folder,
             w->existing->info.dataset, dataset);
    return DN_OK;
}

/* 1 if the files of the shard exist with their sizes. */
static int has_files(const char *folder, const dn_manifest_shard *shard)
{
    const dn_manifest_file *const files[] = {&shard->hdf5, &shard->tfrecord};
    for (int i = 0; i < 2 && files[i]->name[0]; i++) {
        char path[PATH_MAX];
        if (dn_join_path(path, folder, files[i]->name) != DN_OK ||
            dn_manifest_check_size(path, files[i]) != DN_OK)
            return 0;
    }
    return 1;
}

int dn_writer_has_classes(const dn_writer *w)
{
    return w->existing && dn_manifest_labels_are_same(w->existing, w->manifest);
}

int dn_writer_is_complete(const dn_writer *w, int shards)
{
    const dn_manifest *const existing = w->existing;
    int complete = existing &&
                   (dn_is_encoded(&existing->info) || /* these are not compressed */
                    existing->zstd_level == w->options->zstd_level) &&
                   strcmp(existing->conversion, w->conversion) == 0 &&
                   existing->split[existing->shard[0].split].shards == shards;
    for (int i = 0; complete && i < existing->shards; i++)
        complete =
            has_files(w->options->out, &existing->shard[i]) &&
            (w->options->tfrecords != DN_TFRECORDS_DROP || !existing->shard[i].tfrecord.name[0]);
    return complete;
}

int dn_writer_takes_name(const char *name)
{
    json_t *const text = json_string(name);
    const int is_utf8 = text != NULL;
    json_decref(text);
    return is_utf8 && dn_is_one_line(name);
}

dn_status dn_writer_hash_split(uint64_t *hash, const uint64_t *image, const uint16_t *label,
                               size_t stride, int64_t count)
{
    XXH3_state_t *const state = XXH3_createState();
    DN_CHECK(state, DN_ENOMEM, "out of memory for a checksum");
    XXH3_64bits_reset_withSeed(state, *hash);
    for (int64_t i = 0; i < count; i++)
        XXH3_64bits_update(state, (const char *)image + (size_t)i * stride, sizeof *image);
    *hash = XXH3_64bits_digest(state);
    XXH3_64bits_reset_withSeed(state, *hash);
    for (int64_t i = 0; i < count; i++)
        XXH3_64bits_update(state, (const char *)label + (size_t)i * stride, sizeof *label);
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return DN_OK;
}

/* Sets the names of the shard's files and its number of images. TFRecords of encoded images are
 * made afterwards, from the shards (to_tfrecord.c). */
static void plan_shard(const dn_writer *writer, dn_manifest_shard *shard)
{
    const dn_manifest *const m = writer->manifest;
    const dn_manifest_split *const split = &m->split[shard->split];
    const char *const name = dn_split_name(shard->split), *const prefix = writer->prefix;
    shard->first = split->count * shard->index / split->shards;
    shard->count = split->count * (shard->index + 1) / split->shards - shard->first;
    if (!dn_is_encoded(&m->info) && writer->options->tfrecords != DN_TFRECORDS_DROP)
        snprintf(shard->tfrecord.name, sizeof shard->tfrecord.name, "%s-%s.tfrecord-%05d-of-%05d",
                 prefix, name, shard->index, split->shards);
    snprintf(shard->hdf5.name, sizeof shard->hdf5.name, "%s-%s-%05d-of-%05d.h5", prefix, name,
             shard->index, split->shards);
}

int dn_writer_shards(const dn_writer *w, int is_encoded, int64_t bytes, int64_t images)
{
    enum { SHARD_BYTES = 64 << 20, MOST_SHARDS = 99999, PIXEL_SHARDS = 4 };
    if (w->options->shards)
        return w->options->shards;
    const int64_t least = is_encoded ? 1 : PIXEL_SHARDS;
    int64_t shards = (bytes + SHARD_BYTES / 2) / SHARD_BYTES;
    shards = shards > least ? shards : least;
    shards = shards < images ? shards : images;
    return shards < 1 ? 1 : shards < MOST_SHARDS ? (int)shards : MOST_SHARDS;
}

dn_status dn_writer_plan(dn_writer *writer, const dn_data_info *info,
                         const char *const *class_names, const int64_t count[DN_SPLITS], int asked)
{
    const dn_split_id first = count[DN_TRAIN] > 0 ? DN_TRAIN : DN_TEST;
    const int64_t images = count[first];
    DN_CHECK(info->classes > 1, DN_EINVAL, "%s: found one class, expected 2 or more",
             info->dataset);
    DN_CHECK(asked <= images, DN_EINVAL,
             "--shards: found %d, expected 1 to the %" PRId64 " images of the %s split", asked,
             images, dn_split_name(first));
    int shards[DN_SPLITS];
    for (int s = 0; s < DN_SPLITS; s++)
        shards[s] = (int)((asked * count[s] + images - 1) / images);
    DN_TRY(dn_manifest_create(&writer->manifest, info, shards, 0));
    dn_manifest *const m = writer->manifest;
    m->class_names = class_names;
    m->zstd_level = writer->options->zstd_level;
    strcpy(m->conversion, writer->conversion);
    for (int s = 0; s < DN_SPLITS; s++)
        m->split[s].count = count[s];
    for (int i = 0; i < m->shards; i++)
        plan_shard(writer, &m->shard[i]);
    return DN_OK;
}

/* Training divides by std, so it must not be 0. */
dn_status dn_writer_check_channels(const dn_writer *w, const char *source)
{
    const dn_data_info *const info = &w->manifest->info;
    for (int c = 0; c < info->channels; c++)
        DN_CHECK(info->std[c] > 0, DN_EINVAL,
                 "%s: channel %d: found a std of 0 (every pixel of the train split is %.0f), "
                 "expected one above 0",
                 source, c, 255 * info->mean[c]);
    return DN_OK;
}

/* Compares the checksums of images and labels; older records have only mean and std. */
dn_status dn_writer_check_source(const dn_writer *writer, const char *source)
{
    const dn_manifest *const old = writer->existing, *const m = writer->manifest;
    const size_t bytes = (size_t)m->info.channels * sizeof(double);
    if (!old)
        return DN_OK;
    DN_CHECK(old->source ? old->source == m->source
                         : memcmp(old->info.mean, m->info.mean, bytes) == 0 &&
                               memcmp(old->info.std, m->info.std, bytes) == 0,
             DN_EINVAL,
             "%s: found records of other images or labels than this command makes of %s; name "
             "another --out, or delete the folder",
             writer->options->out, source);
    return DN_OK;
}

/* Opens the lock's file for writing, as NFS demands. In a folder that cannot be written, where
 * nothing will be made either, opens an existing lock or the folder itself, and sets the path. */
static int open_lock(const char *folder, char path[PATH_MAX])
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file >= 0 || (errno != EACCES && errno != EROFS))
        return file;
    file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        snprintf(path, PATH_MAX, "%s", folder);
    return file < 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : file;
}

static dn_status lock_file(int file, const char *folder, int waits)
{
    int error = flock(file, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (error == EWOULDBLOCK) {
        DN_CHECK(waits, DN_EINVAL, "%s: another create_records is making records there", folder);
        dn_info("%s: waiting for another create_records, which is at work there", folder);
        do
            error = flock(file, LOCK_EX) == 0 ? 0 : errno;
        while (error == EINTR);
    }
    if (error)
        dn_warn("%s: cannot lock: %s; a second create_records there would not be noticed", folder,
                strerror(error));
    return DN_OK;
}

dn_status dn_writer_lock(const char *folder, int waits, int *lock)
{
    char path[PATH_MAX];
    int is_removed; /* by the process that had it, when this one had opened it */
    *lock = -1;
    do {
        DN_TRY(dn_join_path(path, folder, LOCK_NAME));
        const int file = open_lock(folder, path);
        DN_CHECK(file >= 0, DN_EIO, "%s: cannot write: %s", path, strerror(errno));
        const dn_status status = lock_file(file, folder, waits);
        is_removed = status == DN_OK && !dn_file_is_at(file, path) && (!errno || errno == ENOENT);
        if (status != DN_OK || is_removed)
            close(file);
        else
            *lock = file;
        DN_TRY(status);
    } while (is_removed);
    return DN_OK;
}

void dn_writer_unlock(const char *folder, int lock)
{
    char path[PATH_MAX];
    if (lock < 0)
        return;
    if (dn_join_path(path, folder, LOCK_NAME) == DN_OK && dn_file_is_at(lock, path))
        unlink(path);
    close(lock);
}

dn_status dn_writer_save(const dn_writer *w, dn_manifest_file *file, int64_t images,
                         const void *bytes, size_t size)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, w->options->out, file->name));
    DN_TRY(dn_file_write(path, bytes, size));
    file->bytes = (int64_t)size;
    file->hash = XXH3_64bits(bytes, size);
    if (!dn_live_is_terminal(&w->progress.live))
        dn_info("%s: %" PRId64 " images, %.1f MB", file->name, images, (double)size / 1e6);
    return DN_OK;
}

/* ---- signals ---- */

/* The signal that was caught, global for the handler. All threads read it. */
static atomic_int caught;

static void keep_signal(int signal)
{
    caught = signal;
}

/* A second signal of a kind has its default effect. Signals that were ignored at the start, as
 * shells do for background jobs, remain ignored. */
static void set_handlers(void (*handler)(int))
{
    static const int signals[] = {SIGINT, SIGTERM};
    const struct sigaction action = {.sa_handler = handler,
                                     .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    struct sigaction old;
    caught = 0;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
}

dn_status dn_writer_check_stop(const dn_writer *w)
{
    const int signal = caught;
    DN_CHECK(!signal, DN_STOPPED, "%s: stopped by SIG%s; the same command resumes", w->options->out,
             sigabbrev_np(signal));
    return DN_OK;
}

/* ---- from lock to dataset.json ---- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return XXH3_64bits_withSeed(text, strlen(text) + 1, hash);
}

/* A hash of everything that determines the shards' bytes, except file names. */
static uint64_t journal_key(const dn_writer *writer, uint64_t source)
{
    const dn_manifest *const m = writer->manifest;
    const dn_data_info *const info = &m->info;
    const int64_t numbers[] = {info->channels, info->height, info->width,
                               dn_is_encoded(info) ? 0 : m->zstd_level};
    uint64_t key = XXH3_64bits_withSeed(numbers, sizeof numbers, source);
    key = XXH3_64bits_withSeed(info->mean, sizeof info->mean, key);
    key = XXH3_64bits_withSeed(info->std, sizeof info->std, key);
    key = hash_text(hash_text(hash_text(key, dn_version()), info->dataset), m->conversion);
    for (int i = 0; i < info->classes; i++)
        key = hash_text(key, m->class_names[i]);
    if (info->label_sets > 0)
        key = XXH3_64bits_withSeed(m->label_sets, (size_t)info->label_sets * (size_t)info->classes,
                                   key);
    for (int i = 0; i < m->shards; i++) {
        key = XXH3_64bits_withSeed(&m->shard[i].count, sizeof m->shard[i].count, key);
        key = hash_text(hash_text(key, m->shard[i].hdf5.name), m->shard[i].tfrecord.name);
    }
    return key;
}

static int64_t images_left(const dn_writer *w)
{
    int64_t images = 0;
    for (int i = 0; i < w->manifest->shards; i++)
        if (!dn_journal_find(&w->journal, &w->manifest->shard[i], NULL))
            images += w->manifest->shard[i].count;
    return images;
}

/* In the locked folder: DN_EINVAL unless its records are still those of `seen` (NULL: none). */
static dn_status check_unchanged(const char *folder, const dn_manifest *seen)
{
    dn_manifest *now;
    const dn_status status = dn_manifest_load(&now, folder);
    const int same = now && seen ? now->hash == seen->hash : !now && !seen;
    free(now);
    DN_CHECK(status == DN_OK || status == DN_ENOENT, status, "%s", dn_message());
    DN_CHECK(same, DN_EINVAL,
             "%s: its records were made meanwhile by another create_records; run the command again",
             folder);
    return DN_OK;
}

const char *dn_writer_describe(const char *conversion)
{
    return conversion[0] ? conversion : "as they came";
}

/* Tells that images of another conversion, which may have taken hours, are replaced. */
static void tell_replaced(const dn_writer *w)
{
    const char *const old = w->existing ? w->existing->conversion : w->conversion;
    if (strcmp(old, w->conversion) != 0)
        dn_info("%s: replacing its images (%s) by others (%s)", w->options->out,
                dn_writer_describe(old), dn_writer_describe(w->conversion));
}

dn_status dn_writer_open(dn_writer *w, uint64_t source)
{
    const char *const folder = w->options->out;
    w->lock = -1;
    const int is_new = access(folder, F_OK) != 0;
    DN_TRY(dn_make_folders(folder));
    DN_TRY(dn_writer_lock(folder, 0, &w->lock));
    w->made_folder = is_new; /* else it belongs to the holder of the lock */
    set_handlers(keep_signal);
    signal(SIGPIPE, SIG_IGN); /* records outlive the reader of the output */
    DN_TRY(check_unchanged(folder, w->existing));
    DN_TRY(dn_leftovers_check(w));
    DN_TRY(dn_journal_open(&w->journal, folder, journal_key(w, source), w->manifest));
    tell_replaced(w);
    DN_TRY(dn_leftovers_remove(w));
    const int whole = dn_journal_count(&w->journal);
    if (whole > 0)
        dn_info("%s: %d of %d shards are whole; continuing with the others", folder, whole,
                w->manifest->shards);
    w->is_open = 1;
    dn_progress_begin(&w->progress, "making records:", "images", images_left(w));
    return DN_OK;
}

dn_status dn_writer_close(dn_writer *w, dn_status status)
{
    const char *const folder = w->options->out;
    dn_failure failure = {0};
    if (w->lock < 0)
        return status;
    dn_progress_end(&w->progress);
    if (status == DN_OK)
        status = dn_manifest_save(w->manifest, folder);
    dn_failure_keep(&failure, status);
    const int whole = w->is_open ? dn_journal_count(&w->journal) : 0;
    if (status != DN_OK && w->is_open)
        dn_leftovers_remove(w);
    if (status != DN_OK && whole > 0)
        dn_info("%s: %d of %d shards are whole, and stay for another attempt", folder, whole,
                w->manifest->shards);
    /* a journal without files would vouch for files that come later */
    dn_journal_close(&w->journal,
                     status != DN_OK && (w->is_open ? whole > 0 : dn_leftovers_are_there(w)));
    dn_writer_unlock(folder, w->lock);
    if (status != DN_OK && w->made_folder)
        rmdir(folder); /* if it is empty */
    set_handlers(SIG_DFL);
    return dn_failure_report(&failure);
}

dn_status dn_writer_remove_journal(const dn_writer *w)
{
    const char *const folder = w->options->out;
    char journal[PATH_MAX];
    int lock;
    DN_TRY(dn_join_path(journal, folder, DN_JOURNAL_NAME));
    if (access(journal, F_OK) != 0)
        return DN_OK;
    DN_TRY(dn_writer_lock(folder, 1, &lock)); /* who has it is about to end */
    const dn_status status = check_unchanged(folder, w->existing);
    if (status == DN_OK)
        dn_journal_remove(journal);
    dn_writer_unlock(folder, lock);
    return status;
}

/* A shard job and its writer. */
struct job {
    dn_writer *writer;
    dn_shard_job *run;
    void *context;
};

static dn_status make_shard_if_missing(void *context, dn_manifest_shard *shard)
{
    const struct job *const job = context;
    if (dn_journal_find(&job->writer->journal, shard, NULL))
        return DN_OK;
    DN_TRY(dn_writer_check_stop(job->writer));
    DN_TRY(job->run(job->context, shard));
    dn_progress_add(&job->writer->progress, shard->count);
    return dn_journal_add(&job->writer->journal, shard, NULL, 0);
}

dn_status dn_writer_write(dn_writer *w, dn_shard_job *run, void *context)
{
    struct job job = {w, run, context};
    dn_status status;
    DN_TRY_OR_DONE(dn_writer_open(w, w->manifest->source));
    DN_TRY_OR_DONE(dn_each_shard(w->manifest, make_shard_if_missing, &job));
done:
    return dn_writer_close(w, status);
}

void dn_writer_end(dn_writer *w)
{
    free(w->existing);
    free(w->manifest);
}
