/* Version and standard streams; see include/dn/program.h. */
#include "dn/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *dn_version(void)
{
    return DN_VERSION;
}

/* The lowest free number is the closed stream's. Output to what is open to read only fails. */
void dn_streams_open(void)
{
    for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
        if (fcntl(file, F_GETFD) < 0)
            open("/dev/null", O_RDONLY);
    signal(SIGXFSZ, SIG_IGN); /* a file past `ulimit -f` is an error of its write */
}

dn_status dn_output_flush(void)
{
    errno = 0;
    const int failed = fflush(stdout) != 0 || ferror(stdout);
    DN_CHECK(!failed, DN_EIO, "standard output: cannot write all of it%s%s", errno ? ": " : "",
             errno ? strerror(errno) : "");
    return DN_OK;
}
