/* The checkpoints in a folder: names, temporary files, oldest and newest. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"

#define CHECKPOINT_PATH "%s/" DN_CHECKPOINT_NAME

void dn_checkpoint_path(char *path, size_t size, const char *folder, int64_t step)
{
    snprintf(path, size, CHECKPOINT_PATH, folder, step, "");
}

int64_t dn_checkpoint_below(const char *folder, const char *suffix, int64_t limit)
{
    int64_t greatest = DN_NO_STEP, step;
    char name[64];
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return DN_NO_FOLDER;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (sscanf(entry->d_name, "checkpoint-%" SCNd64, &step) != 1)
            continue;
        snprintf(name, sizeof name, DN_CHECKPOINT_NAME, step, suffix);
        if (strcmp(name, entry->d_name) == 0 && step < limit && step > greatest)
            greatest = step;
    }
    closedir(directory);
    return greatest;
}

void dn_checkpoint_prune(const char *folder, const char *suffix, int64_t limit, int keep)
{
    char path[PATH_MAX];
    for (int64_t step = limit; (step = dn_checkpoint_below(folder, suffix, step)) >= 0; keep--) {
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
    for (; (step = dn_checkpoint_below(folder, "", step)) >= 0; passed++) {
        dn_checkpoint_path(path, sizeof path, folder, step);
        const dn_status status = dn_checkpoint_open(file, path, state);
        if (status == DN_OK)
            break;
        DN_CHECK(status != DN_ENOMEM, status, "%s", dn_message()); /* not the file's fault */
        dn_failure_keep(&newest, status);
    }
    DN_CHECK(step != DN_NO_FOLDER || errno == ENOENT, DN_EIO, "%s: cannot read the folder: %s",
             folder, strerror(errno));
    DN_CHECK(*file || passed == 0, newest.status, "%s: found %d checkpoints, none readable: %s",
             folder, passed, newest.message);
    if (passed > 0)
        dn_warn("%d newer checkpoints skipped: %s", passed, newest.message);
    return DN_OK;
}
