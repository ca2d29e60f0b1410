/*
 * Predicts the time of a training step on a cluster by a discrete-event simulation of the gradient
 * buckets, which travel during the backward pass.
 *
 * The times of layers are measured (profile.h); messages follow the communication schedules of the
 * actual sum (allreduce/comm_schedule.h). A message of n bytes takes latency + n / bandwidth on a
 * link, and a link carries one message at a time. All nodes are alike and compute at the same
 * speed, so a round takes as long as for the node that sends or receives most. Not collective; does
 * not use MPI.
 */
#ifndef DN_SCALING_H
#define DN_SCALING_H

#include "planning/profile.h"

enum { DN_SCALING_MOST_RANKS = 4096 }; /* memory and time grow superlinearly */

typedef struct dn_link {
    double latency;   /* seconds before the first byte of a message arrives */
    double bandwidth; /* bytes a second, each way */
} dn_link;

typedef struct dn_network {
    dn_link inside, between; /* between ranks of a node (one link per rank); between nodes (one link
                                per node) */
} dn_network;

/* One round of a sum, in fractions of the vector: the most that a rank sends or receives inside its
 * node, and the most that the ranks of a node together send to or receive from other nodes. */
typedef struct dn_round {
    double inside, between;
} dn_round;

/* The rounds of a communication schedule that have messages. */
typedef struct dn_rounds {
    int segments, count;
    dn_round *round; /* (count), in order */
    int *messages;   /* (segments + 1): number of messages of i segments that all ranks send */
} dn_rounds;

/* The rounds for `ranks` ranks on nodes of `ranks_per_node` (the last may have fewer) and V =
 * virtual_ranks. DN_ENOMEM. The caller destroys them, even after a failure. */
dn_status dn_scaling_rounds(dn_rounds *rounds, int ranks, int ranks_per_node, int virtual_ranks,
                            int segments);
void dn_scaling_rounds_destroy(dn_rounds *rounds);

/* A simulated bucket of the leaf. */
typedef struct dn_sim_bucket {
    double bytes;
    const dn_rounds *rounds; /* not owned */
    double ready;            /* seconds: when it is final on all ranks */
    double done;             /* seconds: the end of its last round */
    int round;               /* the next one */
} dn_sim_bucket;

/* What all buckets have in common. */
typedef struct dn_transport {
    dn_network network;
    const double *polls; /* (poll_count) ascending seconds at which a rank polls its messages, */
    int poll_count;      /* and continuously after the last one */
} dn_transport;

/* Simulates all rounds of all buckets, which start in order, at most DN_BUCKETS_IN_FLIGHT at a
 * time. The next round is that of the bucket in flight that can start first, of equal ones the
 * first bucket. Sets their `done`; returns the last. */
double dn_scaling_run(dn_sim_bucket *buckets, int count, const dn_transport *transport);

typedef struct dn_scaling_job {
    const dn_profile *profile;
    dn_network network;
    int nodes, ranks_per_node;
    const dn_step_settings *step; /* not owned; virtual_ranks 0: the number of ranks; comm_thread:
                                     unless on, messages are polled between layers */
} dn_scaling_job;

typedef struct dn_prediction {
    int ranks;
    double step, compute; /* seconds; compute: forward, backward and update */
    double communication; /* if it started only after the backward pass */
    double exposed;       /* the part of it that the step waits for */
    double images_per_second;
    double messages;                      /* of buckets, sent per rank and step, on average */
    double median_message, least_message; /* bytes */
    int rounds;                           /* of the first bucket */
    char limit[64];                       /* what limits the step most */
} dn_prediction;

/* DN_EINVAL if ranks outnumber virtual ranks, DN_ENOMEM. */
dn_status dn_scaling_predict(const dn_scaling_job *job, dn_prediction *prediction);

#endif
