/* Moves aside the files of an earlier run, and finds runs; see include/dn/run_folder.h. */
#include "dn/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/file.h"
#include "dn/metrics.h"
#include "io/events.h"

typedef struct moving {
    const char *folder;
    char old[PATH_MAX]; /* where to, a subfolder of `folder`; empty: not yet created */
} moving;

/* Creates the first of old-1, old-2, ... that does not exist. */
static dn_status make_old(moving *m)
{
    char name[16];
    for (int i = 1;; i++) {
        snprintf(name, sizeof name, "old-%d", i);
        DN_TRY(dn_join_path(m->old, m->folder, name));
        if (mkdir(m->old, 0777) == 0)
            return DN_OK;
        DN_CHECK(errno == EEXIST, DN_EIO, "%s: cannot make the folder: %s", m->old,
                 strerror(errno));
    }
}

static dn_status move_aside(moving *m, const char *name)
{
    char path[PATH_MAX], to[PATH_MAX];
    DN_TRY(dn_join_path(path, m->folder, name));
    if (m->old[0] == '\0')
        DN_TRY(make_old(m));
    DN_TRY(dn_join_path(to, m->old, name));
    DN_CHECK(rename(path, to) == 0, DN_EIO, "%s: cannot move to %s: %s", path, m->old,
             strerror(errno));
    return DN_OK;
}

/* A dn_entry_fn. */
static dn_status move_events(void *user, const char *name)
{
    return strncmp(name, DN_EVENTS_PREFIX, strlen(DN_EVENTS_PREFIX)) == 0 ? move_aside(user, name)
                                                                          : DN_OK;
}

static dn_status move_checkpoints(moving *m, int64_t step, int *count)
{
    char name[64];
    int64_t later = INT64_MAX;
    for (*count = 0;; ++*count) {
        DN_TRY(dn_checkpoint_below(m->folder, "", later, &later));
        if (later <= step)
            return DN_OK;
        snprintf(name, sizeof name, DN_CHECKPOINT_NAME, later, "");
        DN_TRY(move_aside(m, name));
    }
}

/* path = that of the folder's file of that name; *is = 1 if it exists. */
static dn_status find(const moving *m, const char *name, char path[PATH_MAX], struct stat *info,
                      int *is)
{
    DN_TRY(dn_join_path(path, m->folder, name));
    *is = lstat(path, info) == 0;
    DN_CHECK(*is || errno == ENOENT || errno == ENOTDIR, DN_EIO, "%s: cannot read: %s", path,
             strerror(errno));
    return DN_OK;
}

/* Moves best.h5 if it is of a later step, or damaged. */
static dn_status move_best(moving *m, int64_t step)
{
    char path[PATH_MAX];
    struct stat info;
    dn_checkpoint_file *file;
    dn_checkpoint state;
    int is_later;
    DN_TRY(find(m, DN_CHECKPOINT_BEST, path, &info, &is_later));
    if (is_later && step >= 0) {
        const dn_status status = dn_checkpoint_open(&file, path, &state);
        if (dn_is_system_failure(status))
            return status;
        is_later = status != DN_OK || state.step > step;
        dn_checkpoint_close(&file);
    }
    return is_later ? move_aside(m, DN_CHECKPOINT_BEST) : DN_OK;
}

/* Moves the files to which a new run would append. */
static dn_status move_records(moving *m)
{
    char path[PATH_MAX];
    struct stat info;
    int is_there;
    DN_TRY(find(m, DN_METRICS_NAME, path, &info, &is_there));
    if (is_there && (info.st_size > 0 || !S_ISREG(info.st_mode))) /* also one that is unreadable */
        DN_TRY(move_aside(m, DN_METRICS_NAME));
    const dn_status status = dn_folder_walk(m->folder, move_events, m);
    return status == DN_ENOENT ? DN_OK : status;
}

dn_status dn_run_set_aside(const char *folder, int64_t step)
{
    char path[PATH_MAX];
    struct stat info;
    moving m = {.folder = folder};
    int count, is_there;
    DN_TRY(move_checkpoints(&m, step, &count));
    DN_TRY(move_best(&m, step));
    if (step < 0)
        DN_TRY(move_records(&m));
    DN_TRY(find(&m, DN_EVALUATION_NAME, path, &info, &is_there));
    if (m.old[0] != '\0' && is_there) /* probably of what was moved */
        DN_TRY(move_aside(&m, DN_EVALUATION_NAME));
    if (m.old[0] != '\0')
        dn_warn("%s: what %s there%s, %d checkpoints among it, is now in %s", folder,
                step < 0 ? "an earlier run left" : "was", step < 0 ? "" : " of later steps", count,
                m.old);
    return DN_OK;
}

const char *dn_runs_there(const char *folder, char text[DN_RUNS_TEXT])
{
    enum { SHOWN = 3 };
    char path[PATH_MAX];
    struct dirent **entries;
    int count = 0, used = 0, length = (int)strlen(folder);
    const int found = scandir(folder, &entries, NULL, alphasort);
    text[0] = '\0';
    while (length > 1 && folder[length - 1] == '/')
        length--;
    for (int i = 0; i < found; i++) {
        const char *const name = entries[i]->d_name;
        const int size = snprintf(path, sizeof path, "%s/%s/" DN_METRICS_NAME, folder, name);
        const int is_run = name[0] != '.' && size < PATH_MAX && access(path, F_OK) == 0;
        if (is_run && count++ < SHOWN && used < DN_RUNS_TEXT)
            used += snprintf(text + used, (size_t)(DN_RUNS_TEXT - used), "%s%.*s/%s",
                             count > 1 ? ", " : "; runs there: ", length, folder, name);
        free(entries[i]);
    }
    if (count > SHOWN && used < DN_RUNS_TEXT)
        snprintf(text + used, (size_t)(DN_RUNS_TEXT - used), " and %d more", count - SHOWN);
    if (found >= 0)
        free(entries);
    return text;
}
