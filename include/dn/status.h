/*
 * Errors and messages.
 *
 * Classes of failure (docs/errors.md): an assert is a bug in dn_dist. A dn_status is bad input, a
 * full disk or too little memory; it is returned up to the command, which prints one line and exits
 * with status 1 on every rank. An MPI failure ends the job where it happens (mpi/job/comm.h).
 *
 * The message is per thread, like errno. A parallel region or thread that can fail passes its first
 * failure to the calling thread in a dn_failure. Not collective.
 */
#ifndef DN_STATUS_H
#define DN_STATUS_H

#include <stddef.h>

typedef enum dn_status {
    DN_OK = 0,
    DN_EINVAL = 1,    /* an option or argument is out of range; nothing was changed */
    DN_ESHAPE = 2,    /* sizes do not match; nothing was changed */
    DN_ENOENT = 3,    /* a file, data set or name does not exist; nothing was changed */
    DN_STOPPED = 4,   /* no failure: the run was asked to stop, and has saved its state */
    DN_EDIVERGED = 5, /* a loss or gradient is not finite; nothing was updated */
    DN_ENOMEM = -1,   /* out of memory */
    DN_EIO = -2,      /* the operating system refused a read or a write */
    DN_ECORRUPT = -3  /* data does not match its checksum or format */
} dn_status;

/* Returns 1 if the text has no control characters, so that a terminal shows it on one line. */
int dn_is_one_line(const char *text);

/* Replaces each byte of a control character with '?'. Applied to all messages and log lines. */
void dn_one_line(char *text);

/* copy(size) = the text after dn_one_line, truncated; returns copy. For printing paths. */
char *dn_one_line_copy(char *copy, size_t size, const char *text);

/* Records the message of a failure ("what, where: found, expected") and returns `status`. A caller
 * that can add context wraps it around dn_message(). */
dn_status dn_fail(dn_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The calling thread's last recorded message; valid until its next dn_fail. */
const char *dn_message(void);

/* A failure passed between threads; zeroed: none. */
typedef struct dn_failure {
    dn_status status;
    char message[1024];
} dn_failure;

/* Stores `status` and the calling thread's message, unless it is DN_OK or a failure is already
 * stored. */
void dn_failure_keep(dn_failure *failure, dn_status status);

/* Returns the stored status and makes its message the calling thread's. */
dn_status dn_failure_report(const dn_failure *failure);

/* Returns from the calling function when `call` fails. */
#define DN_TRY(call)                                                                               \
    do {                                                                                           \
        const dn_status status_ = (call);                                                          \
        if (status_ != DN_OK)                                                                      \
            return status_;                                                                        \
    } while (0)

/* Jumps to the label `done` when `call` fails; the function has a variable `dn_status status`. */
#define DN_TRY_OR_DONE(call)                                                                       \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != DN_OK)                                                                       \
            goto done;                                                                             \
    } while (0)

/* Returns a failure with a message when `condition` does not hold. */
#define DN_CHECK(condition, status, ...)                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return dn_fail((status), __VA_ARGS__);                                                 \
    } while (0)

typedef enum dn_log_level {
    DN_QUIET,
    DN_WARN_HERE, /* a warning that may concern this process alone, such as one about its node's
                     disk */
    DN_WARN,
    DN_INFO
} dn_log_level;

/* Prints messages at or below the level, one line each: warnings to standard error, information to
 * standard output. The commands set ranks other than 0 to DN_WARN_HERE, so that a line about what
 * all ranks know appears once. */
void dn_log_set_level(dn_log_level level);
void dn_log_line(dn_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define dn_warn(...) dn_log_line(DN_WARN, __VA_ARGS__)
#define dn_info(...) dn_log_line(DN_INFO, __VA_ARGS__)

/* A DN_WARN_HERE line that begins with the host name. */
void dn_warn_here(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
