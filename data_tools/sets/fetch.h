/*
 * Files from the web, by libcurl. Nobody vouches for them.
 */
#ifndef DN_FETCH_H
#define DN_FETCH_H

#include <stdint.h>

#include "dn/status.h"

/* A file that is wanted. */
typedef struct dn_fetch {
    const char *path;   /* where it is to be */
    const char *name;   /* after a URL that ends in '/' */
    const char *digest; /* its MD5 or SHA-256, in hex; NULL: not known */
    int64_t bytes;      /* 0: not known */
    int timeout;        /* seconds after which a silent server is given up */
} dn_fetch;

/*
 * Gets the file by http or https from one of so many URLs, in turn, NULL after the last; one that
 * is there is only checked. Until it is whole and has its checksum it is PATH.partial, which the
 * next call goes on with where the server can. A transfer that breaks off or stalls is taken up
 * again as long as that brings more. DN_EIO names the URL and what is wrong; DN_ECORRUPT: it has
 * another checksum, and is not kept unless it was there; DN_EINVAL: another process is getting it.
 */
dn_status dn_fetch_file(const dn_fetch *file, const char *const *urls, int count);

/* The file has this MD5 or SHA-256. DN_ECORRUPT tells the one it has; DN_EIO, DN_EINVAL: not so
 * many hex digits. */
dn_status dn_digest_check(const char *path, const char *digest);

#endif
