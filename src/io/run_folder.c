/* Moves aside what an earlier run left, and finds runs; see include/dn/run_folder.h. */
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

/* Moves a file of the folder into its subfolder `old`, which is created for the first file: the
 * first of old-1, old-2, ... that does not exist. */
static dn_status move_aside(const char *folder, const char *name, char old[PATH_MAX])
{
    char path[PATH_MAX], to[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, name));
    for (int i = 1; old[0] == '\0'; i++) {
        snprintf(to, sizeof to, "old-%d", i);
        DN_TRY(dn_join_path(old, folder, to));
        if (mkdir(old, 0777) == 0)
            break;
        DN_CHECK(errno == EEXIST, DN_EIO, "%s: cannot make the folder: %s", old, strerror(errno));
        old[0] = '\0';
    }
    DN_TRY(dn_join_path(to, old, name));
    DN_CHECK(rename(path, to) == 0, DN_EIO, "%s: cannot move to %s: %s", path, old,
             strerror(errno));
    return DN_OK;
}

/* Moves all TensorBoard event files. */
static dn_status move_events(const char *folder, char old[PATH_MAX])
{
    DIR *const directory = opendir(folder);
    dn_status status = DN_OK;
    for (const struct dirent *entry; directory && status == DN_OK && (entry = readdir(directory));)
        if (strncmp(entry->d_name, DN_EVENTS_PREFIX, strlen(DN_EVENTS_PREFIX)) == 0)
            status = move_aside(folder, entry->d_name, old);
    if (directory)
        closedir(directory);
    return status;
}

/* *is_later = 1 if the folder's best.h5 is of a later step, or damaged. */
static dn_status check_best(const char *path, int64_t step, int *is_later)
{
    struct stat best;
    dn_checkpoint_file *file;
    dn_checkpoint state;
    *is_later = stat(path, &best) == 0;
    if (!*is_later || step < 0)
        return DN_OK;
    const dn_status status = dn_checkpoint_open(&file, path, &state);
    DN_CHECK(status != DN_ENOMEM, status, "%s", dn_message()); /* not the file's fault */
    *is_later = status != DN_OK || state.step > step;
    dn_checkpoint_close(&file);
    return DN_OK;
}

dn_status dn_run_set_aside(const char *folder, int64_t step)
{
    char old[PATH_MAX] = "", name[PATH_MAX];
    struct stat metrics;
    int64_t later = INT64_MAX;
    int count = 0, is_later;
    for (; (later = dn_checkpoint_below(folder, "", later)) >= 0 && later > step; count++) {
        snprintf(name, sizeof name, DN_CHECKPOINT_NAME, later, "");
        DN_TRY(move_aside(folder, name, old));
    }
    DN_TRY(dn_join_path(name, folder, DN_CHECKPOINT_BEST));
    DN_TRY(check_best(name, step, &is_later));
    if (is_later)
        DN_TRY(move_aside(folder, DN_CHECKPOINT_BEST, old));
    DN_TRY(dn_join_path(name, folder, DN_METRICS_NAME));
    if (step < 0 && lstat(name, &metrics) == 0 &&
        (metrics.st_size > 0 || !S_ISREG(metrics.st_mode))) /* also one that cannot be read */
        DN_TRY(move_aside(folder, DN_METRICS_NAME, old));
    if (step < 0)
        DN_TRY(move_events(folder, old));
    DN_TRY(dn_join_path(name, folder, DN_EVALUATION_NAME));
    if (old[0] != '\0' && access(name, F_OK) == 0) /* probably of what was moved */
        DN_TRY(move_aside(folder, DN_EVALUATION_NAME, old));
    if (old[0] != '\0')
        dn_warn("%s: what %s there%s, %d checkpoints among it, is now in %s", folder,
                step < 0 ? "an earlier run left" : "was", step < 0 ? "" : " of later steps", count,
                old);
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
