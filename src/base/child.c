/* Forked children and their reports; see include/dn/child.h. */
#include "dn/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct report {
    int is_complete;
    dn_failure failure;
} report;

void *dn_child_pages(size_t bytes)
{
    void *const pages = mmap(NULL, bytes > 0 ? bytes : 1, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void dn_child_pages_free(void *pages, size_t bytes)
{
    if (pages != NULL)
        munmap(pages, bytes > 0 ? bytes : 1);
}

/* Closes inherited files. The caller's connections must end with the caller, so a child keeps none
 * of them: besides the standard streams it keeps at most regular files. */
static void leave_files(int keeps_regular)
{
    DIR *const files = opendir("/proc/self/fd");
    struct stat info;
    for (const struct dirent *entry; files && (entry = readdir(files));) {
        const int file = atoi(entry->d_name);
        const int is_kept = file <= STDERR_FILENO || file == dirfd(files) ||
                            (keeps_regular && fstat(file, &info) == 0 && S_ISREG(info.st_mode));
        if (!is_kept)
            close(file);
    }
    if (files)
        closedir(files);
}

static void point_to_nowhere(int file)
{
    const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(nowhere, file);
    close(nowhere);
}

/* Restores default handlers: those of libraries such as MPI would report a crash as the caller's.
 */
static void end_quietly(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU};
    /* The hard limit would send SIGKILL, which has another meaning. */
    const struct rlimit seconds = {DN_CHILD_SECONDS, DN_CHILD_SECONDS + 1}, no_core = {0, 0};
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        signal(crashes[i], SIG_DFL);
    setrlimit(RLIMIT_CPU, &seconds);
    setrlimit(RLIMIT_CORE, &no_core);
}

/* Crafted sizes may ask for any amount of memory. What the caller already has is not counted. */
static void limit_memory(void)
{
    struct rlimit limit;
    unsigned long pages;
    FILE *const file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%lu", &pages) == 1 && getrlimit(RLIMIT_AS, &limit) == 0) {
        const rlim_t most = (pages * (rlim_t)sysconf(_SC_PAGESIZE)) + ((rlim_t)DN_CHILD_GIB << 30);
        limit.rlim_cur = limit.rlim_cur < most ? limit.rlim_cur : most;
        setrlimit(RLIMIT_AS, &limit);
    }
    if (file)
        fclose(file);
}

static _Noreturn void run_child(pid_t parent, dn_child_fn *work, void *user, report *r)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    leave_files(0);
    point_to_nowhere(STDERR_FILENO);
    end_quietly();
    limit_memory();
    dn_failure_keep(&r->failure, work(user));
    r->is_complete = 1;
    _exit(0);
}

/* LLVM's OpenMP registers each process in a file, forked ones too, and does not remove it if they
 * end without its exit handler. */
static void forget(pid_t child)
{
    char name[64];
    snprintf(name, sizeof name, "/__KMP_REGISTERED_LIB_%d_%d", (int)child, (int)getuid());
    shm_unlink(name);
}

/* The status in the report, or the reason why there is none. */
static dn_status read_report(const char *what, report *r, int ending)
{
    r->failure.message[sizeof r->failure.message - 1] =
        '\0'; /* a crashed child may have written anything there */
    if (r->is_complete)
        return dn_failure_report(&r->failure);
    DN_CHECK(!WIFSIGNALED(ending) || WTERMSIG(ending) != SIGKILL, DN_ENOMEM,
             "%.*s: the process that reads it was killed; out of memory?", PATH_MAX - 1, what);
    return dn_fail(
        DN_ECORRUPT, "%.*s: the library that reads it fails on it (%s), expected a sound file",
        PATH_MAX - 1, what, WIFSIGNALED(ending) ? strsignal(WTERMSIG(ending)) : "it ended early");
}

dn_status dn_child_run(const char *what, dn_child_fn *work, void *user)
{
    const pid_t parent = getpid();
    int ending = 0;
    report *const r = dn_child_pages(sizeof *r);
    DN_CHECK(r, DN_ENOMEM, "%s: out of memory", what);
    const pid_t child = fork();
    if (child == 0)
        run_child(parent, work, user, r);
    const int error = errno;
    while (child > 0 && waitpid(child, &ending, 0) < 0 && errno == EINTR)
        ;
    forget(child);
    const dn_status status =
        child > 0 ? read_report(what, r, ending)
                  : dn_fail(DN_ENOMEM, "%s: cannot start a process: %s", what, strerror(error));
    dn_child_pages_free(r, sizeof *r);
    return status;
}

/* ---- a child that stays ---- */

pid_t dn_child_detach(void)
{
    static const int requests[] = {SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU, SIGPIPE};
    const pid_t child = fork();
    if (child != 0)
        return child;
    setsid();
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        signal(requests[i], SIG_IGN);
    leave_files(1);
    point_to_nowhere(STDIN_FILENO);
    point_to_nowhere(STDOUT_FILENO);
    return 0;
}
