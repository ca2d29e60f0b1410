/*
 * TensorBoard's event files: the numbers of metrics.jsonl as scalars, by step.
 *
 * A TFRecord file (dn/tfrecord.h) of the messages of event.proto, of which TensorBoard reads a
 * folder's all, in the order of their names. Not collective.
 */
#ifndef DN_EVENTS_H
#define DN_EVENTS_H

#include <jansson.h>

#include "dn/status.h"

/* What the name of each begins with. */
#define DN_EVENTS_PREFIX "events.out.tfevents."

typedef struct dn_events dn_events;

/* Makes a file of this start of the run, folder/events.out.tfevents.SECONDS.HOST, which begins by
 * taking back what earlier ones have of steps after `done`. DN_EIO names the file and the reason,
 * as dn_events_add does. */
dn_status dn_events_create(dn_events **events, const char *folder, int64_t done);

/* Writes the numbers among the members of an object of the kind, as docs/report.md has them,
 * through to the system. The scalar of an epoch's "test_top1" is "test/top1", of "lr" "lr", and of
 * others "KIND/MEMBER". */
dn_status dn_events_add(dn_events *events, int64_t step, const char *kind, json_t *object);

/* Closes the file and sets *events to NULL; accepts NULL inside. */
void dn_events_destroy(dn_events **events);

#endif
