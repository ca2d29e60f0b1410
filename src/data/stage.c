/* Staging: copies shards in the background; see include/dn/stage.h. */
#include "dn/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "data/shard_reader.h"
#include "dn/file.h"
#include "dn/words.h"

#define FOLDER_PREFIX "dn_dist-"
#define LOCK_NAME     "lock"
#define SHARD_SUFFIX  ".h5"

enum { PIECE = 1 << 20, PAUSE_US = 200 * 1000 };

struct dn_stage {
    dn_shards *shards;
    int lock;       /* the open lock file */
    uint8_t *piece; /* (PIECE) buffer of the file being copied */
    XXH3_state_t *hash;
    pthread_t thread;
    atomic_int closing;
};

size_t dn_stage_bytes(const dn_shards *shards)
{
    return (size_t)shards->split->shards * sizeof *shards->copied;
}

dn_status dn_stage_use(dn_shards *shards, const char *stage, void *copied)
{
    const int length = snprintf(shards->stage, sizeof shards->stage,
                                "%s/" FOLDER_PREFIX "%016" PRIx64, stage, shards->manifest->hash);
    DN_CHECK((size_t)length < sizeof shards->stage, DN_EINVAL, "%s: the path is too long", stage);
    shards->copied = copied;
    return DN_OK;
}

/* ---- files that are locked ---- */

/* Whether it is a link, or another user's folder, whose links may lead to this user's files. */
static int is_foreign(const char *folder)
{
    struct stat info;
    return lstat(folder, &info) == 0 && (!S_ISDIR(info.st_mode) || info.st_uid != geteuid());
}

/* Opens or creates the file and locks it; `kind` is LOCK_SH or LOCK_EX. Retries if another process
 * removes the file in between. Returns -1 on failure, with EAGAIN if others have it locked. */
static int open_locked(const char *path, int kind)
{
    for (;;) {
        const int file = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (file < 0)
            return -1;
        const int is_locked = flock(file, kind | LOCK_NB) == 0;
        const int error = errno;
        if (is_locked && dn_file_is_at(file, path))
            return file;
        close(file);
        errno = error;
        if (!is_locked)
            return -1;
    }
}

/* Warns, because leftovers do not stop a run. */
static void warn_of_failure(dn_status status)
{
    if (status != DN_OK && status != DN_ENOENT)
        dn_warn_here("--stage: %s", dn_message());
}

typedef struct copies {
    const char *folder;
    int error; /* errno of one that cannot be removed, or 0 */
} copies;

/* A dn_entry_fn. */
static dn_status remove_copy(void *user, const char *name)
{
    copies *const c = user;
    char path[PATH_MAX];
    if ((dn_ends_in(name, SHARD_SUFFIX) || dn_ends_in(name, SHARD_SUFFIX DN_PARTIAL)) &&
        dn_join_path(path, c->folder, name) == DN_OK && unlink(path) != 0)
        c->error = errno;
    return DN_OK;
}

/* Removes the contents of a stage's folder, and last the lock, which the caller holds exclusively.
 */
static void remove_copies(const char *folder)
{
    char path[PATH_MAX];
    copies c = {.folder = folder};
    warn_of_failure(dn_folder_walk(folder, remove_copy, &c));
    if (c.error)
        dn_warn_here("--stage: %s: cannot remove the copies: %s", folder, strerror(c.error));
    if (dn_join_path(path, folder, LOCK_NAME) == DN_OK)
        unlink(path);
    rmdir(folder);
}

/* A dn_entry_fn for the folder of all stages: removes one that nobody uses; `user` is the path of
 * this process's own. */
static dn_status remove_unused(void *user, const char *name)
{
    const char *const own = user;
    char folder[PATH_MAX], path[PATH_MAX];
    const int length = (int)(strrchr(own, '/') - own);
    if (strncmp(name, FOLDER_PREFIX, strlen(FOLDER_PREFIX)) != 0 ||
        snprintf(folder, sizeof folder, "%.*s/%s", length, own, name) >= PATH_MAX ||
        strcmp(folder, own) == 0 || is_foreign(folder) ||
        dn_join_path(path, folder, LOCK_NAME) != DN_OK)
        return DN_OK;
    const int lock = open_locked(path, LOCK_EX);
    if (lock < 0)
        return DN_OK;
    remove_copies(folder);
    close(lock);
    return DN_OK;
}

/* Removes copies of other data sets that killed runs left. */
static void remove_leftovers(dn_shards *shards)
{
    char stage[PATH_MAX];
    strcpy(stage, shards->stage);
    *strrchr(stage, '/') = '\0';
    warn_of_failure(dn_folder_walk(stage, remove_unused, shards->stage));
}

/* ---- copying ---- */

/* Verifies the bytes of `from` against the shard's checksum, and writes them to the open file `to`
 * unless it is -1. DN_STOPPED if the stage is closing. */
static dn_status pass_bytes(dn_stage *s, const dn_manifest_file *shard, int from,
                            const char *from_path, int to, const char *to_path)
{
    XXH3_64bits_reset(s->hash);
    for (int64_t at = 0; at < shard->bytes; at += PIECE) {
        const int64_t left = shard->bytes - at;
        const size_t size = left < PIECE ? (size_t)left : PIECE;
        if (atomic_load(&s->closing))
            return DN_STOPPED;
        DN_TRY(dn_file_read(from, from_path, s->piece, size, at));
        XXH3_64bits_update(s->hash, s->piece, size);
        if (to >= 0)
            DN_TRY(dn_file_append(to, to_path, s->piece, size));
    }
    const uint64_t found = XXH3_64bits_digest(s->hash);
    DN_CHECK(found == shard->hash, DN_ECORRUPT,
             "%s: found bytes of checksum %016" PRIx64 ", expected %016" PRIx64 " (damaged)",
             from_path, found, shard->hash);
    return DN_OK;
}

/* Checks the file's size, and passes its bytes. */
static dn_status pass_file(dn_stage *s, const dn_manifest_file *shard, const char *from_path,
                           int to, const char *to_path)
{
    int from;
    int64_t bytes;
    DN_TRY(dn_manifest_check_size(from_path, shard));
    DN_TRY(dn_file_open(from_path, &from, &bytes));
    const dn_status status = pass_bytes(s, shard, from, from_path, to, to_path);
    close(from);
    return status;
}

/* Fills the locked file `partial` and renames it. All its space is allocated first, so that a disk
 * that is too small is not filled. */
static dn_status fill_copy(dn_stage *s, const dn_manifest_file *shard, int file,
                           const char *partial, const char *copy)
{
    char source[PATH_MAX];
    DN_TRY(dn_join_path(source, s->shards->folder, shard->name));
    DN_CHECK(ftruncate(file, 0) == 0 &&
                 (fallocate(file, 0, 0, shard->bytes) == 0 || errno == EOPNOTSUPP),
             DN_EIO, "%s: cannot write %" PRId64 " bytes: %s", partial, shard->bytes,
             strerror(errno));
    DN_TRY(pass_file(s, shard, source, file, partial));
    DN_CHECK(rename(partial, copy) == 0, DN_EIO, "%s: cannot rename: %s", partial, strerror(errno));
    return DN_OK;
}

/* *is_busy = 1 if another run is copying it. */
static dn_status copy_shard(dn_stage *s, const dn_manifest_shard *shard, int *is_busy)
{
    char copy[PATH_MAX], partial[PATH_MAX];
    const dn_manifest_file *const f = &shard->hdf5;
    DN_TRY(dn_join_path(copy, s->shards->stage, f->name));
    const int length = snprintf(partial, sizeof partial, "%s" DN_PARTIAL, copy);
    DN_CHECK((size_t)length < sizeof partial, DN_EINVAL, "%s: the path is too long", copy);
    const int file = open_locked(partial, LOCK_EX);
    *is_busy = file < 0 && errno == EAGAIN;
    if (*is_busy)
        return DN_OK;
    DN_CHECK(file >= 0, DN_EIO, "%s: cannot write: %s", partial, strerror(errno));
    dn_status status = pass_file(s, f, copy, -1, NULL);
    const int is_there = status == DN_OK;
    if (!is_there && status != DN_STOPPED)
        status = fill_copy(s, f, file, partial, copy);
    if (is_there || status != DN_OK)
        unlink(partial); /* only once: a new file of that name may be another run's */
    if (status == DN_OK)
        atomic_store(&s->shards->copied[shard->index], 1);
    close(file);
    return status;
}

/* Copies all shards in turn; revisits those that another run was copying. */
static dn_status copy_all(dn_stage *s)
{
    const dn_manifest_split *const split = s->shards->split;
    for (int busy = 1; busy > 0;) {
        busy = 0;
        for (int i = 0; i < split->shards; i++) {
            int is_busy = 0;
            if (!atomic_load(&s->shards->copied[i]))
                DN_TRY(copy_shard(s, &split->shard[i], &is_busy));
            busy += is_busy;
        }
        if (atomic_load(&s->closing))
            return DN_STOPPED;
        if (busy > 0)
            usleep(PAUSE_US);
    }
    return DN_OK;
}

static void *run_stage(void *user)
{
    const dn_status status = copy_all(user);
    if (status != DN_OK && status != DN_STOPPED)
        dn_warn_here("--stage: %s; what is not copied yet is read from its source", dn_message());
    return NULL;
}

/* ---- its life ---- */

/* DN_ENOENT: another run is removing the folder or the lock. The owner of a folder created just now
 * is not checked: a file system may assign it to another user. */
static dn_status try_lock(dn_stage *s, const char *path)
{
    const char *const folder = s->shards->stage;
    int made;
    DN_TRY(dn_make_folders_counted(folder, &made));
    DN_CHECK(made > 0 || !is_foreign(folder), DN_EIO,
             "%s: found a link or another user's folder, expected one of this user", folder);
    s->lock = open_locked(path, LOCK_SH);
    DN_CHECK(s->lock >= 0, errno == ENOENT || errno == EAGAIN ? DN_ENOENT : DN_EIO,
             "%s: cannot lock: %s", path, strerror(errno));
    return DN_OK;
}

static dn_status lock_folder(dn_stage *s)
{
    char path[PATH_MAX];
    dn_status status = dn_join_path(path, s->shards->stage, LOCK_NAME);
    if (status == DN_OK)
        status = try_lock(s, path);
    for (int tries = 1; tries < 10 && status == DN_ENOENT; tries++) {
        usleep(PAUSE_US);
        status = try_lock(s, path);
    }
    return status;
}

static void destroy_stage(dn_stage **stage)
{
    dn_stage *const s = *stage;
    if (s->lock >= 0)
        close(s->lock);
    XXH3_freeState(s->hash);
    free(s->piece);
    free(s);
    *stage = NULL;
}

static dn_status start_stage(dn_stage *s)
{
    s->piece = malloc(PIECE);
    s->hash = XXH3_createState();
    DN_CHECK(s->piece && s->hash, DN_ENOMEM, "out of memory");
    DN_TRY(lock_folder(s));
    remove_leftovers(s->shards);
    const int error = pthread_create(&s->thread, NULL, run_stage, s);
    DN_CHECK(!error, DN_ENOMEM, "cannot start a thread: %s", strerror(error));
    return DN_OK;
}

void dn_stage_start(dn_stage **stage, dn_shards *shards)
{
    dn_stage *const s = *stage = calloc(1, sizeof *s);
    if (!s)
        return;
    s->shards = shards;
    s->lock = -1;
    if (start_stage(s) == DN_OK)
        return;
    dn_warn_here("--stage: %s; the shards are read from their source", dn_message());
    destroy_stage(stage);
}

void dn_stage_stop(dn_stage **stage)
{
    dn_stage *const s = *stage;
    if (!s)
        return;
    atomic_store(&s->closing, 1);
    pthread_join(s->thread, NULL);
    for (int i = 0; i < s->shards->split->shards; i++)
        atomic_store(&s->shards->copied[i], 0);
    dn_failure run = {0}; /* whose message a leftover's must not replace */
    dn_failure_keep(&run, DN_EIO);
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
        remove_copies(s->shards->stage);
    dn_failure_report(&run);
    destroy_stage(stage);
}
