/* Version, limits and standard streams; see include/dn/program.h. */
#include "dn/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

const char *dn_version(void)
{
    return DN_VERSION;
}

/* ---- before the libraries ---- */

enum { LEAST_MEMORY = 512 }; /* MiB */

/* OpenBLAS allocates memory when it is loaded, and retries forever if a user limit denies it. So
 * limits that are too low are refused before that. */
static void check_limits(int argc, char **argv)
{
    static const struct {
        const char *option;
        int resource;
    } limits[] = {{"-v", RLIMIT_AS}, {"-d", RLIMIT_DATA}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit;
        char text[256];
        if (getrlimit(limits[i].resource, &limit) != 0 || limit.rlim_cur >> 20 >= LEAST_MEMORY)
            continue;
        const char *const name = argc > 0 ? argv[0] : "", *const end = strrchr(name, '/');
        const int size = snprintf(
            text, sizeof text, "%.99s: ulimit %s: found %ju KiB of memory, expected %d or more\n",
            end ? end + 1 : name, limits[i].option, (uintmax_t)limit.rlim_cur >> 10,
            LEAST_MEMORY << 10);
        (void)!write(STDERR_FILENO, text, (size_t)size);
        _exit(1);
    }
}

static void (*const before_libraries)(int, char **)
    __attribute__((section(".preinit_array"), used)) = check_limits;

/* ---- standard streams ---- */

/* open returns the lowest free descriptor, that of the closed stream. Output to a read-only
 * descriptor fails. */
void dn_streams_open(void)
{
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) < 0)
            open("/dev/null", O_RDONLY);
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* lines of several processes may go to one file */
    signal(SIGXFSZ, SIG_IGN);              /* a file past `ulimit -f` is an error of its write */
}

dn_status dn_output_flush(void)
{
    errno = 0;
    const int failed = fflush(stdout) != 0 || ferror(stdout);
    DN_CHECK(!failed, DN_EIO, "standard output: cannot write all of it%s%s", errno ? ": " : "",
             errno ? strerror(errno) : "");
    return DN_OK;
}
