/* A split, or a part of one; see eval_images.h. */
#include "commands/eval_images.h"

#include <stdlib.h>
#include <string.h>

/* *id = the split to open: for val the train split if the records have no val split, as the run
 * held its validation images out of that. */
static dn_status choose_split(const dn_trained *trained, const dn_options *o, dn_split_id *id)
{
    dn_manifest *manifest;
    *id = (dn_split_id)o->split;
    if (*id != DN_VAL)
        return DN_OK;
    DN_TRY(dn_manifest_load(&manifest, o->data));
    if (manifest->split[DN_VAL].shards == 0)
        *id = DN_TRAIN;
    free(manifest);
    DN_CHECK(
        *id == DN_VAL || trained->state.path[0], DN_EINVAL,
        "--split val: found none in %s, and %s does not tell what its run held out, expected a "
        "val split or a checkpoint that tells its data",
        o->data, o->checkpoint);
    DN_CHECK(*id == DN_VAL || o->run.val_fraction > 0, DN_EINVAL,
             "--split val: found none in %s, and %s learnt without --val-fraction, expected one",
             o->data, o->checkpoint);
    return DN_OK;
}

/* Cuts the train split as the run did. Records that the run did not learn from are not cut: they
 * have no val images. */
static dn_status hold_out(dn_eval_images *e, const dn_trained *trained, const dn_options *o)
{
    char data[sizeof trained->state.data];
    const dn_subset *const part = o->split == DN_VAL ? &e->held_out : &e->remaining;
    dn_source_describe(&e->split.images, data, sizeof data);
    const int is_own = strcmp(trained->state.data, data) == 0;
    DN_CHECK(is_own || o->split == DN_TRAIN, DN_EINVAL,
             "--split val: found %s in %s, expected %s, of which the run held images out", data,
             o->data, trained->state.data);
    if (!is_own)
        return DN_OK;
    DN_TRY(dn_subset_split(&e->remaining, &e->held_out, &e->split.images, o->run.val_fraction));
    e->images = &part->images;
    e->index = part->index;
    return DN_OK;
}

dn_status dn_eval_images_open(dn_eval_images *e, const dn_comm *comm, const dn_trained *trained,
                              const dn_options *o)
{
    dn_split_id id;
    DN_TRY(dn_comm_agree(comm, choose_split(trained, o, &id)));
    DN_TRY(dn_split_open(&e->split, comm, o->data, id, &o->reading));
    e->images = &e->split.images;
    const int is_cut = id == DN_TRAIN && o->run.val_fraction > 0;
    return dn_comm_agree(comm, is_cut ? hold_out(e, trained, o) : DN_OK);
}

void dn_eval_images_close(dn_eval_images *e)
{
    dn_subset_destroy(&e->remaining);
    dn_subset_destroy(&e->held_out);
    dn_split_close(&e->split);
}
