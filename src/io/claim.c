/* The lock of a run's folder; see include/dn/claim.h. */
#include "dn/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dn/file.h"

enum {
    HOST_BYTES = 65,
    ATTEMPTS = 100, /* retries, each after another process failed at its start */
    PATIENCE = 100  /* seconds: an NFS server keeps the locks of a dead host for 90 */
};

typedef struct holder {
    char host[HOST_BYTES];
    int process;    /* 0: unknown */
    uint64_t token; /* 0: none */
} holder;

static holder own_name(void)
{
    holder own = {.process = (int)getpid()};
    gethostname(own.host, sizeof own.host - 1);
    if (getrandom(&own.token, sizeof own.token, 0) != sizeof own.token)
        own.token = 0;
    return own;
}

static holder read_holder(int file)
{
    holder found = {.process = 0};
    char text[128] = "";
    if (pread(file, text, sizeof text - 1, 0) > 0)
        sscanf(text, "%64s %d %" SCNx64, found.host, &found.process, &found.token);
    return found;
}

static dn_claim_life life_of(const holder *found)
{
    if (found->process <= 0 || strcmp(found->host, own_name().host) != 0)
        return DN_CLAIM_NOT_KNOWN;
    return kill(found->process, 0) != 0 && errno == ESRCH ? DN_CLAIM_ENDED : DN_CLAIM_LIVES;
}

/* Reads the lock at `path`; unknown if it cannot be read. */
static holder look_at(const char *path)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const holder found = read_holder(file);
    if (file >= 0)
        close(file);
    return found;
}

dn_claim_life dn_claim_look(const char *folder)
{
    char path[PATH_MAX];
    if (dn_join_path(path, folder, DN_LOCK_NAME) != DN_OK)
        return DN_CLAIM_NOT_KNOWN;
    const holder found = look_at(path);
    return life_of(&found);
}

/* Whether the lock will be released soon: a rank was lost, according to the survivors' record
 * (mpi/job/heartbeat.h); or the process has ended, and its children will. */
static int is_ending(const holder *found, const char *folder)
{
    char record[PATH_MAX];
    if (dn_join_path(record, folder, DN_LOST_NAME) == DN_OK && access(record, F_OK) == 0)
        return 1;
    return life_of(found) == DN_CLAIM_ENDED;
}

/* Locks the open file. Returns 0, or an errno. */
static int lock_file(int file, const char *folder)
{
    for (int tenths = 0; flock(file, LOCK_EX | LOCK_NB) != 0; tenths++) {
        const int error = errno;
        const holder found = read_holder(file);
        if (error != EWOULDBLOCK || tenths == 10 * PATIENCE || !is_ending(&found, folder))
            return error;
        if (tenths == 0)
            dn_warn(
                "%s: waiting, for %d s at most, for the end of a lost run, process %d on host %s",
                folder, PATIENCE, found.process, found.host);
        usleep(100000);
    }
    return 0;
}

/* Opens the lock's file. That of another user, who may be running, is opened read-only; then
 * *denied is the errno of opening it for writing, otherwise 0. Returns -1 if neither is possible.
 */
static int open_lock(const char *path, int *denied)
{
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    *denied = file < 0 ? errno : 0;
    return *denied ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : file;
}

/* Whether another process's dn_claim_abandon removed the file, or its folder before the file was
 * created. */
static int is_removed(int file, int denied)
{
    struct stat info;
    return file < 0 ? denied == ENOENT : fstat(file, &info) == 0 && info.st_nlink == 0;
}

/* The lock's file as last opened. */
struct attempt {
    char path[PATH_MAX];
    int file;          /* -1: cannot be opened */
    int denied, error; /* errno of opening it for writing, and of locking it; or 0 */
    int made;          /* folders created */
};

/* Opens and locks the file; retries if it is removed meanwhile. */
static dn_status lock_folder(struct attempt *a, const char *folder)
{
    for (int i = 0; i == 0 || (i < ATTEMPTS && is_removed(a->file, a->denied)); i++) {
        if (a->file >= 0)
            close(a->file);
        DN_TRY(dn_make_folders_counted(folder, &a->made));
        a->file = open_lock(a->path, &a->denied);
        a->error = a->file < 0 ? 0 : lock_file(a->file, folder);
    }
    return DN_OK;
}

/* Checks that this process holds the lock, as far as the file system supports locks. */
static dn_status check_lock(const struct attempt *a, const char *folder)
{
    if (a->error == EWOULDBLOCK) {
        const holder found = read_holder(a->file);
        return dn_fail(DN_EINVAL,
                       "%s: found process %d on host %s at work in it, expected no other run "
                       "(another --out?)",
                       folder, found.process, found.host[0] ? found.host : "(not known)");
    }
    DN_CHECK(!a->denied, DN_EIO, "%s: cannot write: %s", a->path, strerror(a->denied));
    DN_CHECK(!is_removed(a->file, a->denied), DN_EINVAL,
             "%s: found it removed by other starts %d times, expected none", a->path, ATTEMPTS);
    if (a->error)
        dn_warn("%s: cannot lock: %s; a second run into the folder would not be noticed", a->path,
                strerror(a->error));
    return DN_OK;
}

/* Writes the owner to the lock; returns its token. */
static uint64_t write_holder(int file)
{
    const holder own = own_name();
    if (ftruncate(file, 0) == 0)
        dprintf(file, "%s %d %016" PRIx64 "\n", own.host, own.process, own.token);
    return own.token;
}

dn_status dn_claim_take(dn_claim *claim, const char *folder)
{
    struct attempt a = {.file = -1};
    if (strcmp(claim->folder, folder) == 0)
        return DN_OK;
    dn_claim_release(claim);
    DN_TRY(dn_join_path(a.path, folder, DN_LOCK_NAME));
    DN_TRY(lock_folder(&a, folder));
    const dn_status status = check_lock(&a, folder);
    if (status != DN_OK) {
        if (a.file >= 0)
            close(a.file);
        dn_remove_folders(folder, a.made);
        return status;
    }
    *claim = (dn_claim){.file = a.file, .token = write_holder(a.file), .made = a.made};
    snprintf(claim->folder, sizeof claim->folder, "%s", folder);
    return DN_OK;
}

/* Whether the lock at `path` is a copy of this claim's, as in a folder restored from a backup.
 * Another process would have written its own token; host and process ID alone may be equal in two
 * containers. */
static int is_copy(const dn_claim *claim, const char *path)
{
    return claim->token != 0 && look_at(path).token == claim->token;
}

dn_status dn_claim_keep(dn_claim *claim)
{
    char path[PATH_MAX];
    dn_claim renewed = {.folder = ""};
    DN_TRY(dn_join_path(path, claim->folder, DN_LOCK_NAME));
    if (dn_file_is_at(claim->file, path) || (errno && errno != ENOENT))
        return DN_OK; /* if it cannot be seen, writing there will report why */
    const int is_gone = errno == ENOENT;
    DN_CHECK(is_gone || is_copy(claim, path), DN_EINVAL,
             "%s: found another run's lock, expected this run's: the folder was deleted or moved "
             "away, and that run began in its place; nothing more is saved there",
             claim->folder);
    DN_TRY(dn_claim_take(&renewed, claim->folder));
    close(claim->file);
    claim->file = renewed.file;
    claim->token = renewed.token;
    dn_warn(is_gone
                ? "%s: the folder or its lock was deleted or moved away; the run recreates it and "
                  "saves there from now on"
                : "%s: found a copy of the folder in its place; the run saves there from now on",
            claim->folder);
    return DN_OK;
}

void dn_claim_release(dn_claim *claim)
{
    if (claim->folder[0] == '\0')
        return;
    close(claim->file);
    *claim = (dn_claim){.folder = ""};
}

void dn_claim_abandon(dn_claim *claim)
{
    char path[PATH_MAX];
    if (claim->made > 0 && dn_join_path(path, claim->folder, DN_LOCK_NAME) == DN_OK) {
        unlink(path);
        dn_remove_folders(claim->folder, claim->made);
    }
    dn_claim_release(claim);
}
