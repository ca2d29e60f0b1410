/* The checkpoints in a folder: names, temporary files, oldest and newest. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/file.h"

#define CHECKPOINT_PATH "%s/" DN_CHECKPOINT_NAME

void dn_checkpoint_path(char *path, size_t size, const char *folder, int64_t step)
{
    snprintf(path, size, CHECKPOINT_PATH, folder, step, "");
}

typedef struct search {
    const char *suffix;
    int64_t limit, greatest; /* steps */
} search;

/* A dn_entry_fn. */
static dn_status look_at(void *user, const char *name)
{
    search *const s = user;
    char own[64];
    int64_t step;
    if (sscanf(name, "checkpoint-%" SCNd64, &step) != 1)
        return DN_OK;
    snprintf(own, sizeof own, DN_CHECKPOINT_NAME, step, s->suffix);
    if (strcmp(name, own) == 0 && step < s->limit && step > s->greatest)
        s->greatest = step;
    return DN_OK;
}

dn_status dn_checkpoint_below(const char *folder, const char *suffix, int64_t limit, int64_t *step)
{
    search s = {suffix, limit, -1};
    const dn_status status = dn_folder_walk(folder, look_at, &s);
    *step = status == DN_OK ? s.greatest : -1;
    return status == DN_ENOENT ? DN_OK : status;
}

void dn_checkpoint_prune(const char *folder, const char *suffix, int64_t limit, int keep)
{
    char path[PATH_MAX];
    for (int64_t step = limit;; keep--) {
        if (dn_checkpoint_below(folder, suffix, step, &step) != DN_OK)
            dn_warn("%s", dn_message());
        if (step < 0)
            break;
        if (keep > 0)
            continue;
        snprintf(path, sizeof path, CHECKPOINT_PATH, folder, step, suffix);
        if (unlink(path) != 0 && errno != ENOENT) /* a rescue may prune concurrently */
            dn_warn("%s: cannot delete: %s", path, strerror(errno));
    }
}

dn_status dn_checkpoint_open_newest(dn_checkpoint_file **file, const char *folder, int64_t limit,
                                    dn_checkpoint *state)
{
    char path[PATH_MAX];
    int64_t step = limit;
    int passed = 0;
    dn_failure newest = {0};
    *file = NULL;
    *state = (dn_checkpoint){0};
    for (;; passed++) {
        DN_TRY(dn_checkpoint_below(folder, "", step, &step));
        if (step < 0)
            break;
        dn_checkpoint_path(path, sizeof path, folder, step);
        const dn_status status = dn_checkpoint_open(file, path, state);
        if (status == DN_OK)
            break;
        if (dn_is_system_failure(status))
            return status;
        dn_failure_keep(&newest, status);
    }
    DN_CHECK(*file || passed == 0, newest.status, "%s: found %d checkpoints, none readable: %s",
             folder, passed, newest.message);
    if (passed > 0)
        dn_warn("%d newer checkpoints skipped: %s; using %s", passed, newest.message, state->path);
    return DN_OK;
}
