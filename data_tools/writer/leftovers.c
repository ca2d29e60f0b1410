/* Finds and removes files of earlier records; see leftovers.h. */
#include "writer/leftovers.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/words.h"

typedef dn_status file_job(const dn_writer *w, const char *name);

typedef struct walk {
    const dn_writer *w;
    file_job *job;
    char pattern[256];
} walk;

/* A dn_entry_fn. */
static dn_status try_name(void *user, const char *name)
{
    const walk *const k = user;
    return fnmatch(k->pattern, name, FNM_EXTMATCH) == 0 ? k->job(k->w, name) : DN_OK;
}

/* Runs the job for each file with a name of the set, for any number of shards. */
static dn_status each_file(const dn_writer *w, file_job *job)
{
    walk k = {.w = w, .job = job};
    snprintf(k.pattern, sizeof k.pattern,
             "%s-@(train|test|val)?(.tfrecord)-+([0-9])-of-+([0-9])?(.h5)?(" DN_PARTIAL ")",
             w->prefix);
    return dn_folder_walk(w->options->out, try_name, &k);
}

/* ---- who made a file ---- */

/* The shard that has a file of this name, or NULL. */
static const dn_manifest_shard *find_shard(const dn_manifest *m, const char *name)
{
    for (int i = 0; i < m->shards; i++)
        if (strcmp(name, m->shard[i].hdf5.name) == 0 ||
            strcmp(name, m->shard[i].tfrecord.name) == 0)
            return &m->shard[i];
    return NULL;
}

static dn_status check_noted(const dn_writer *w, const char *name)
{
    /* a file with a temporary name beside a manifest was left by an export */
    DN_CHECK(w->existing && (dn_ends_in(name, DN_PARTIAL) || find_shard(w->existing, name)),
             DN_EINVAL,
             "%s: found %s, which create_records did not note; move all of such names away, "
             "or name another --out",
             w->options->out, name);
    return DN_OK;
}

/* dataset.json names all files; a journal beside it is left by a process that was killed after
 * writing it. */
dn_status dn_leftovers_check(const dn_writer *w)
{
    char journal[PATH_MAX];
    DN_TRY(dn_join_path(journal, w->options->out, DN_JOURNAL_NAME));
    return !w->existing && access(journal, F_OK) == 0 ? DN_OK : each_file(w, check_noted);
}

static dn_status name_file(const dn_writer *w, const char *name)
{
    return dn_fail(DN_EINVAL, "%s: found %s", w->options->out, name);
}

int dn_leftovers_are_there(const dn_writer *w)
{
    return each_file(w, name_file) != DN_OK;
}

/* ---- removing ---- */

static dn_status remove_file(const dn_writer *w, const char *name)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, w->options->out, name));
    DN_CHECK(unlink(path) == 0 || errno == ENOENT, DN_EIO, "%s: cannot remove: %s", path,
             strerror(errno));
    return DN_OK;
}

static dn_status remove_if_not_whole(const dn_writer *w, const char *name)
{
    const dn_manifest_shard *const shard = find_shard(w->manifest, name);
    return shard && dn_journal_find(&w->journal, shard, NULL) ? DN_OK : remove_file(w, name);
}

dn_status dn_leftovers_remove(const dn_writer *w)
{
    DN_TRY(remove_file(w, "dataset.json"));
    return each_file(w, remove_if_not_whole);
}
