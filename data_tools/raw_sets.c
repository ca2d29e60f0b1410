/* The table of raw data sets, and the search for their files. */
#include "raw_sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dn/file.h"

const dn_raw_set *const dn_raw_sets[] = {
    &dn_raw_cifar10,
    &dn_raw_fashion_mnist,
    NULL,
};

static int has_probe(const dn_raw_set *set, const char *folder)
{
    char probe[PATH_MAX];
    return dn_join_path(probe, folder, set->probe) == DN_OK && access(probe, F_OK) == 0;
}

/* `folder` may hold the files itself or be the one above. */
static int search_folder(const dn_raw_set *set, const char *folder, char found[PATH_MAX])
{
    if (!folder || !*folder)
        return 0;
    if (dn_join_path(found, folder, set->subfolder) == DN_OK && has_probe(set, found))
        return 1;
    return snprintf(found, PATH_MAX, "%s", folder) < PATH_MAX && has_probe(set, folder);
}

dn_status dn_raw_set_find(const dn_raw_set *set, const char *folder, char found[PATH_MAX])
{
    if (folder)
        DN_CHECK(search_folder(set, folder, found), DN_ENOENT,
                 "%s: found no %s/%s nor %s there; %s", folder, set->subfolder, set->probe,
                 set->probe, set->hint);
    else
        DN_CHECK(search_folder(set, ".", found) ||
                     search_folder(set, getenv("DN_SOURCE_DIR"), found) ||
                     search_folder(set, set->package_folder, found),
                 DN_ENOENT,
                 "%s: no %s/%s in the current folder nor in $DN_SOURCE_DIR, and no --source; %s",
                 set->info.dataset, set->subfolder, set->probe, set->hint);
    dn_info("%s: reading %s", set->info.dataset, found);
    return DN_OK;
}
