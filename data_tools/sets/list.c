/* create_records list: the known data sets, and their files and records on this machine; see
 * sets.h. */
#include "sets/sets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "writer/writer.h"

static void print_archives(const dn_raw_set *set)
{
    int64_t bytes[2] = {0}; /* without and with --extra */
    for (const dn_raw_archive *a = set->archive; a < set->archive + DN_RAW_ARCHIVES && a->name; a++)
        bytes[a->is_extra] += a->bytes;
    if (bytes[0])
        printf(", %.1f MB", (double)bytes[0] / 1e6);
    if (bytes[1])
        printf(" and %.1f MB with --extra", (double)bytes[1] / 1e6);
    printf("\n    ");
    if (!set->mirror[0])
        printf("%s", set->hint);
    for (const dn_raw_archive *a = set->archive; a < set->archive + DN_RAW_ARCHIVES && a->name; a++)
        printf("%s%s%s", a == set->archive ? "get      " : ", ",
               a == set->archive ? set->mirror[0] : "", a->name);
    printf("\n");
}

static void print_found(const dn_raw_set *set)
{
    const dn_records_options none = {0};
    char source[PATH_MAX], out[PATH_MAX];
    dn_manifest *m;
    printf("    found    %s\n", dn_raw_set_search(set, NULL, source) ? source : "nothing");
    dn_writer_out(&none, set->prefix, out);
    if (dn_manifest_load(&m, out) == DN_OK)
        printf("    records  %s: train %" PRId64 ", test %" PRId64 "\n", out,
               m->split[DN_TRAIN].count, m->split[DN_TEST].count);
    free(m);
}

void dn_records_list(void)
{
    for (const dn_raw_set *const *s = dn_raw_sets; *s; s++) {
        const dn_data_info *const info = &(*s)->info;
        if (!(*s)->form->name) {
            printf("%-14s %s\n", info->dataset, (*s)->hint);
            continue;
        }
        printf("%-14s %d classes, train %" PRId64 ", test %" PRId64, info->dataset, info->classes,
               (*s)->count[DN_TRAIN], (*s)->count[DN_TEST]);
        if (info->height > 0)
            printf(", %dx%dx%d", info->channels, info->height, info->width);
        print_archives(*s);
        print_found(*s);
    }
}
