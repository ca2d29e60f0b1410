/*
 * Out-of-memory kills; see oom.h.
 *
 * /proc/self/cgroup has a line HIERARCHY:CONTROLLERS:PATH for each hierarchy: of version 1 the one
 * with the controller "memory", whose memory.oom_control counts a group's own kills, of version 2
 * the one without a name, whose memory.events counts those of the groups below, too.
 */
#include "job/oom.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Fills text(size), ends it with 0, and returns whether the file could be read. */
static int read_text(const char *path, char *text, size_t size)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = file >= 0 ? read(file, text, size - 1) : -1;
    if (file >= 0)
        close(file);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* The file's line "oom_kill COUNT", or -1. */
static int64_t read_kills(const char *root, const char *mount, const char *group, const char *name)
{
    char path[PATH_MAX], text[1024] = "\n";
    int64_t kills = -1;
    const int size =
        snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s%s/%s", root, mount, group, name);
    if (size < (int)sizeof path && read_text(path, text + 1, sizeof text - 1)) {
        const char *const line = strstr(text, "\noom_kill ");
        if (line)
            sscanf(line, " oom_kill %" SCNd64, &kills);
    }
    return kills;
}

static int64_t at_least_0(int64_t x)
{
    return x > 0 ? x : 0;
}

/* Of the group, and of the one above it. In a container the group may be known by its name outside;
 * what is mounted is the group itself. */
static int64_t add_kills(const char *root, const char *mount, char *group)
{
    const char *const name = *mount == '\0' ? "memory.events" : "memory.oom_control";
    const int64_t own = read_kills(root, mount, group, name);
    if (own < 0)
        return at_least_0(read_kills(root, mount, "", name));
    char *const last = strrchr(group, '/');
    if (last)
        *last = '\0';
    return own + (last && last > group ? at_least_0(read_kills(root, mount, group, name)) : 0);
}

int64_t dn_oom_kills(const char *root)
{
    char path[PATH_MAX], text[4096], *rest = text;
    int64_t kills = 0;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (!read_text(path, text, sizeof text))
        return 0;
    for (char *line; (line = strsep(&rest, "\n"));) {
        strsep(&line, ":");
        char *const controllers = strsep(&line, ":");
        if (line && (*controllers == '\0' || strstr(controllers, "memory")))
            kills += add_kills(root, controllers, line);
    }
    return kills;
}
