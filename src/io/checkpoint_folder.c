/* Keeps a folder of checkpoints: names, leftovers, the oldest and the newest. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "dn/checkpoint.h"
#include "dn/file.h"

void dn_checkpoint_name(char *name, size_t size, int64_t step)
{
    snprintf(name, size, "checkpoint-%08" PRId64 ".h5", step);
}

/* The step in a checkpoint's name, -1 for any other name. */
static int64_t step_of(const char *name)
{
    int64_t step;
    char whole[64];
    if (sscanf(name, "checkpoint-%" SCNd64, &step) != 1)
        return -1;
    dn_checkpoint_name(whole, sizeof whole, step);
    return strcmp(whole, name) == 0 ? step : -1;
}

static int is_checkpoint(const struct dirent *entry)
{
    return step_of(entry->d_name) >= 0;
}

static int is_partial(const struct dirent *entry)
{
    const char *end = strstr(entry->d_name, ".h5" DN_PARTIAL);
    return strncmp(entry->d_name, "checkpoint-", 11) == 0 && end && !end[strlen(".h5" DN_PARTIAL)];
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    const int64_t left = step_of((*a)->d_name), right = step_of((*b)->d_name);
    return (left < right) - (left > right);
}

static void free_list(struct dirent **list, int count)
{
    for (int i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

static void remove_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (unlink(path) != 0)
        dn_warn("%s: cannot delete: %s", path, strerror(errno));
}

void dn_checkpoint_remove_partials(const char *folder)
{
    struct dirent **list = NULL;
    const int count = scandir(folder, &list, is_partial, NULL);
    for (int i = 0; i < count; i++)
        remove_file(folder, list[i]->d_name);
    free_list(list, count);
}

void dn_checkpoint_prune(const char *folder, int64_t step, int keep)
{
    struct dirent **list = NULL;
    const int count = scandir(folder, &list, is_checkpoint, newest_first);
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (step_of(list[i]->d_name) <= step && kept++ >= keep)
            remove_file(folder, list[i]->d_name);
    free_list(list, count);
}

static dn_status set_aside(const char *folder, const char *name)
{
    char path[PATH_MAX], old[PATH_MAX + 4];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(old, sizeof old, "%s.old", path);
    DN_CHECK(rename(path, old) == 0, DN_EIO, "%s: cannot rename: %s", path, strerror(errno));
    return DN_OK;
}

dn_status dn_checkpoint_set_aside(const char *folder)
{
    struct dirent **list = NULL;
    dn_status status = DN_OK;
    const int count = scandir(folder, &list, is_checkpoint, NULL);
    for (int i = 0; i < count && status == DN_OK; i++)
        status = set_aside(folder, list[i]->d_name);
    if (count > 0 && status == DN_OK)
        dn_warn("%s: %d checkpoints of an earlier run are now named *.h5.old", folder, count);
    free_list(list, count);
    return status;
}

dn_status dn_checkpoint_newest(const char *folder, char *path, int path_size)
{
    struct dirent **list = NULL;
    dn_checkpoint state;
    int found = 0;
    path[0] = '\0';
    const int count = scandir(folder, &list, is_checkpoint, newest_first);
    DN_CHECK(count >= 0 || errno == ENOENT, DN_EIO, "%s: cannot read the folder: %s", folder,
             strerror(errno));
    for (int i = 0; i < count && !found; i++) {
        snprintf(path, (size_t)path_size, "%s/%s", folder, list[i]->d_name);
        found = dn_checkpoint_peek(path, &state) == DN_OK;
        if (!found)
            dn_warn("a checkpoint is passed over: %s", dn_message());
    }
    if (!found)
        path[0] = '\0';
    free_list(list, count);
    return DN_OK;
}
