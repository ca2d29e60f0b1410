/*
 * How long a training step takes on a cluster, predicted: an event-by-event simulation of the
 * buckets of gradients that travel while the backward pass still computes.
 *
 * The step's shape is measured (profile.h); messages follow the communication schedules that the
 * sum really uses (allreduce/comm_schedule.h); a message of n bytes over a link takes latency + n /
 * bandwidth, and a link carries one at a time. All nodes are alike and compute at one pace, so a
 * round is as long as it is for the node that has most to send or to receive in it. Not collective;
 * nothing here calls MPI.
 */
#ifndef DN_SCALING_H
#define DN_SCALING_H

#include "planning/profile.h"

enum { DN_SCALING_MOST_RANKS = 4096 }; /* memory and time grow faster than their number */

typedef struct dn_link {
    double latency;   /* seconds before the first byte of a message arrives */
    double bandwidth; /* bytes a second, each way */
} dn_link;

typedef struct dn_network {
    dn_link inside, between; /* of ranks of one node (each its own); of nodes (one for all ranks) */
} dn_network;

/* One round of a sum, as parts of the vector's length: the most that a rank sends or receives
 * inside its node, and the most that all ranks of a node send or receive between nodes. */
typedef struct dn_round {
    double inside, between;
} dn_round;

/* A communication schedule's rounds that have messages. */
typedef struct dn_rounds {
    int segments, count;
    dn_round *round; /* (count), in order */
    int *messages;   /* (segments + 1): how many messages of so many segments all ranks send */
} dn_rounds;

/* For `ranks` ranks in nodes of `ranks_per_node` (the last may have fewer) and V = virtual_ranks.
 * DN_ENOMEM. The caller destroys them, also after a failure. */
dn_status dn_scaling_rounds(dn_rounds *rounds, int ranks, int ranks_per_node, int virtual_ranks,
                            int segments);
void dn_scaling_rounds_destroy(dn_rounds *rounds);

/* A bucket of the leaf on its way through its rounds. */
typedef struct dn_sim_bucket {
    double bytes;
    const dn_rounds *rounds; /* not owned */
    double ready;            /* seconds: final on all ranks */
    double done;             /* seconds: its last round's end; when all are, its sum's */
    int round;               /* the next */
} dn_sim_bucket;

/* What all buckets have in common. */
typedef struct dn_transport {
    dn_network network;
    const double *polls; /* (poll_count) ascending seconds: a rank looks after its messages then, */
    int poll_count;      /* and all the time once these are over */
} dn_transport;

/* Sends all buckets, started in their order, through all their rounds, at most DN_BUCKETS_IN_FLIGHT
 * at a time; of those in flight, always the one that can start first, and of these the foremost.
 * Sets their `done`; returns the last. */
double dn_scaling_run(dn_sim_bucket *buckets, int count, const dn_transport *transport);

typedef struct dn_scaling_job {
    const dn_profile *profile;
    dn_network network;
    int nodes, ranks_per_node;
    int virtual_ranks;    /* 0: the number of ranks */
    size_t bucket_floats; /* at least 1; see dn_allreduce_settings */
    int polls;            /* 1: no communication thread: messages are looked after between layers */
} dn_scaling_job;

typedef struct dn_prediction {
    int ranks;
    double step, compute; /* seconds; compute: forward, backward and update */
    double communication; /* were it to start only after the backward pass */
    double exposed;       /* that of it that the step waits for */
    double images_per_second;
    double messages;                      /* of buckets, that a rank sends a step, in the mean */
    double median_message, least_message; /* bytes */
    int rounds;                           /* of the first bucket */
    char limit[64];                       /* what the step would gain most from */
} dn_prediction;

/* DN_EINVAL where ranks outnumber virtual ranks, DN_ENOMEM. */
dn_status dn_scaling_predict(const dn_scaling_job *job, dn_prediction *prediction);

#endif
