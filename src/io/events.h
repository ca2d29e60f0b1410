/*
 * TensorBoard's event files: the numbers of metrics.jsonl as scalars, by step.
 *
 * A TFRecord file (dn/tfrecord.h) of event.proto messages. TensorBoard reads all such files of a
 * folder in the order of their names. Not collective.
 */
#ifndef DN_EVENTS_H
#define DN_EVENTS_H

#include <jansson.h>

#include "dn/status.h"

/* Prefix of their names. */
#define DN_EVENTS_PREFIX "events.out.tfevents."

typedef struct dn_events dn_events;

/* Creates a file for this start of the run, folder/events.out.tfevents.SECONDS.HOST, which first
 * invalidates what earlier files have of steps after `done`. The caller frees *events with
 * dn_events_destroy. Errors, also of dn_events_add: DN_EIO (names the file and the reason). */
dn_status dn_events_create(dn_events **events, const char *folder, int64_t done);

/* Writes the numeric members of an object of the kind, as in docs/report.md, to the file and
 * flushes it. An epoch's "test_top1" becomes the scalar "test/top1", "lr" becomes "lr", others
 * "KIND/MEMBER". */
dn_status dn_events_add(dn_events *events, int64_t step, const char *kind, json_t *object);

/* Closes the file, frees *events, which may be NULL, and sets it to NULL. */
void dn_events_destroy(dn_events **events);

#endif
