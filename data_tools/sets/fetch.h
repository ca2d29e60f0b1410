/*
 * Downloads files, by libcurl. Downloaded files are untrusted input.
 */
#ifndef DN_FETCH_H
#define DN_FETCH_H

#include <stdint.h>

#include "dn/status.h"

/* A file to download. */
typedef struct dn_fetch {
    const char *path;   /* destination */
    const char *name;   /* appended to a URL that ends in '/' */
    const char *digest; /* MD5 or SHA-256 in hex; NULL: not known */
    int64_t bytes;      /* 0: not known */
    int timeout;        /* seconds without data after which a transfer fails */
} dn_fetch;

/*
 * Downloads the file by http or https from the first of urls(count) that has it; NULL entries end
 * the list. A file that exists is only checked. Until it is complete and its checksum is right it
 * is PATH.partial, with which the next call continues if the server supports that. A transfer that
 * breaks off or stalls is resumed as long as it makes progress. DN_EIO names the URL and the error;
 * DN_ECORRUPT if its checksum is wrong (it is then removed, unless it existed before); DN_EINVAL if
 * another process is downloading it.
 */
dn_status dn_fetch_file(const dn_fetch *file, const char *const *urls, int count);

/* Checks the file's MD5 or SHA-256. DN_ECORRUPT tells the one it has; DN_EIO; DN_EINVAL if `digest`
 * has another number of hex digits. */
dn_status dn_digest_check(const char *path, const char *digest);

#endif
