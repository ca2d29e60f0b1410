/* Keeps a folder of checkpoints: names, leftovers, the oldest and the newest. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/file.h"

enum { NONE = -1, UNREADABLE = -2 };

#define CHECKPOINT_NAME "checkpoint-%08" PRId64 ".h5%s" /* step, suffix */
#define CHECKPOINT_PATH "%s/" CHECKPOINT_NAME

void dn_checkpoint_path(char *path, size_t size, const char *folder, int64_t step)
{
    snprintf(path, size, CHECKPOINT_PATH, folder, step, "");
}

/* The greatest step below `limit` of which the folder has a file checkpoint-STEP.h5 and `suffix`,
 * NONE, or UNREADABLE with its errno. */
static int64_t step_below(const char *folder, const char *suffix, int64_t limit)
{
    int64_t greatest = NONE, step;
    char name[64];
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return UNREADABLE;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (sscanf(entry->d_name, "checkpoint-%" SCNd64, &step) != 1)
            continue;
        snprintf(name, sizeof name, CHECKPOINT_NAME, step, suffix);
        if (strcmp(name, entry->d_name) == 0 && step < limit && step > greatest)
            greatest = step;
    }
    closedir(directory);
    return greatest;
}

void dn_checkpoint_prune(const char *folder, const char *suffix, int64_t limit, int keep)
{
    char path[PATH_MAX];
    for (int64_t step = limit; (step = step_below(folder, suffix, step)) >= 0; keep--) {
        if (keep > 0)
            continue;
        snprintf(path, sizeof path, CHECKPOINT_PATH, folder, step, suffix);
        if (unlink(path) != 0)
            dn_warn("%s: cannot delete: %s", path, strerror(errno));
    }
}

dn_status dn_checkpoint_set_aside(const char *folder)
{
    char path[PATH_MAX], old[PATH_MAX + 4];
    int64_t step = INT64_MAX;
    int count = 0;
    for (; (step = step_below(folder, "", step)) >= 0; count++) {
        dn_checkpoint_path(path, sizeof path, folder, step);
        snprintf(old, sizeof old, "%s.old", path);
        DN_CHECK(rename(path, old) == 0, DN_EIO, "%s: cannot rename: %s", path, strerror(errno));
    }
    if (count > 0)
        dn_warn("%s: %d checkpoints of an earlier run are now named *.h5.old", folder, count);
    return DN_OK;
}

dn_status dn_checkpoint_open_newest(dn_checkpoint_file **file, const char *folder,
                                    dn_checkpoint *state)
{
    char path[PATH_MAX];
    int64_t step = INT64_MAX;
    *file = NULL;
    while (*file == NULL && (step = step_below(folder, "", step)) >= 0) {
        dn_checkpoint_path(path, sizeof path, folder, step);
        if (dn_checkpoint_open(file, path, state) != DN_OK)
            dn_warn("a checkpoint is passed over: %s", dn_message());
    }
    DN_CHECK(step != UNREADABLE || errno == ENOENT, DN_EIO, "%s: cannot read the folder: %s",
             folder, strerror(errno));
    if (*file == NULL)
        *state = (dn_checkpoint){0};
    return DN_OK;
}
