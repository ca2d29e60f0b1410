/* Downloads files; see fetch.h. */
#include "sets/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>
#include <openssl/evp.h>

#include "dn/file.h"
#include "dn/program.h"
#include "dn/progress.h"

enum {
    TRIES = 4,          /* in a row without progress */
    LEAST_SPEED = 1000, /* bytes/s, below which a transfer counts as stalled */
    CONNECT_SECONDS = 30,
    REDIRECTS = 10
};

/* ---- checksums ---- */

static dn_status hash_file(const char *path, EVP_MD_CTX *state, const EVP_MD *kind, char *text)
{
    enum { BLOCK = 1 << 20 };
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    FILE *const file = fopen(path, "rbe");
    unsigned char *const block = malloc(BLOCK);
    if (!file) {
        free(block);
        return dn_fail(DN_EIO, "%s: cannot read: %s", path, strerror(errno));
    }
    int good = block && state && EVP_DigestInit_ex(state, kind, NULL);
    for (size_t found; good && (found = fread(block, 1, BLOCK, file)) > 0;)
        good = EVP_DigestUpdate(state, block, found);
    const int is_read = !ferror(file);
    good = good && EVP_DigestFinal_ex(state, hash, &size);
    free(block);
    fclose(file);
    DN_CHECK(is_read, DN_EIO, "%s: cannot read", path);
    DN_CHECK(good, DN_ENOMEM, "%s: no checksum from OpenSSL", path);
    for (unsigned i = 0; i < size; i++) {
        *text++ = digits[hash[i] >> 4];
        *text++ = digits[hash[i] & 15];
    }
    *text = '\0';
    return DN_OK;
}

dn_status dn_digest_check(const char *path, const char *digest)
{
    const size_t length = strlen(digest);
    const int is_md5 = length == 32;
    char found[2 * EVP_MAX_MD_SIZE + 1];
    DN_CHECK((is_md5 || length == 64) && strspn(digest, "0123456789abcdefABCDEF") == length,
             DN_EINVAL, "found the checksum \"%s\", expected 64 hex digits", digest);
    EVP_MD_CTX *const state = EVP_MD_CTX_new();
    const dn_status status = hash_file(path, state, is_md5 ? EVP_md5() : EVP_sha256(), found);
    EVP_MD_CTX_free(state);
    DN_TRY(status);
    DN_CHECK(strcasecmp(found, digest) == 0, DN_ECORRUPT, "%s: found %s %s, expected %s", path,
             is_md5 ? "MD5" : "SHA-256", found, digest);
    return DN_OK;
}

/* ---- one transfer ---- */

struct transfer {
    const dn_fetch *wanted;
    CURL *curl;
    char partial[PATH_MAX];
    int file;             /* the partial file */
    int64_t got;          /* so many */
    int64_t most;         /* most bytes it ever had */
    int has_length;       /* the server sent the length */
    dn_status fault;      /* why writing to the file failed */
    dn_progress progress; /* of this request; zeroed until it brings something */
};

/* Checks that the answer is the file, or a part of it, and not an error page. */
static dn_status check_answer(const struct transfer *t)
{
    enum { WHOLE_FILE = 200, PART = 206 };
    long http = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &http);
    return http == WHOLE_FILE || http == PART
               ? DN_OK
               : dn_fail(DN_EIO, "found the answer %ld, expected %d or %d", http, WHOLE_FILE, PART);
}

static size_t keep_bytes(char *bytes, size_t one, size_t size, void *user)
{
    struct transfer *const t = user;
    const int64_t wanted = t->wanted->bytes;
    (void)one;
    t->fault = check_answer(t);
    if (t->fault != DN_OK)
        return 0;
    if (wanted && t->got + (int64_t)size > wanted) {
        t->fault =
            dn_fail(DN_ECORRUPT, "found more than %" PRId64 " bytes, expected these", wanted);
        return 0;
    }
    t->fault = dn_file_append(t->file, t->partial, bytes, size);
    t->got = lseek(t->file, 0, SEEK_CUR); /* even after a failure */
    return t->fault == DN_OK ? size : 0;
}

/* Shows the progress of this request, if its length is known. */
static int tell_progress(void *user, curl_off_t all, curl_off_t done, curl_off_t up,
                         curl_off_t sent)
{
    enum { UNIT = 1000 };
    struct transfer *const t = user;
    dn_progress *const p = &t->progress;
    const int64_t total = all > 0 ? all : t->wanted->bytes - (t->got - done);
    (void)up, (void)sent;
    if (done / UNIT <= p->done || done > total)
        return 0;
    if (p->total == 0)
        dn_progress_begin(p, t->wanted->name, "kB", total / UNIT);
    dn_progress_add(p, done / UNIT - p->done);
    return 0;
}

/* Empties the partial file. */
static dn_status start_over(struct transfer *t)
{
    DN_CHECK(ftruncate(t->file, 0) == 0 && lseek(t->file, 0, SEEK_SET) == 0, DN_EIO,
             "%s: cannot write: %s", t->partial, strerror(errno));
    t->got = 0;
    return DN_OK;
}

static void set_options(struct transfer *t, const char *url, char *message)
{
    CURL *const curl = t->curl;
    char agent[64];
    snprintf(agent, sizeof agent, "create_records/%s", dn_version());
    curl_easy_setopt(curl, CURLOPT_URL, url);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)LEAST_SPEED);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)t->wanted->timeout);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->got);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, agent);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, tell_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

/* The result of a try. */
typedef enum outcome { WHOLE, BROKEN, USELESS } outcome;

static outcome judge(const struct transfer *t, CURLcode code, long http)
{
    switch (code) {
    case CURLE_OK:
        /* without a length a broken connection looks like the file's end */
        return !t->has_length && t->got < t->wanted->bytes ? BROKEN : WHOLE;
    case CURLE_HTTP_RETURNED_ERROR:
        return http >= 500 || http == 408 || http == 429 ? BROKEN : USELESS;
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2_STREAM:
        return BROKEN;
    default:
        return USELESS;
    }
}

/* Makes one request for the bytes that are missing. Unless it is WHOLE the message tells why. */
static outcome try_once(struct transfer *t, const char *url)
{
    CURL *const curl = t->curl;
    char message[CURL_ERROR_SIZE] = "";
    curl_off_t length = -1;
    long http = 0;
    t->fault = DN_OK;
    set_options(t, url, message);
    const CURLcode code = curl_easy_perform(curl);
    dn_progress_end(&t->progress);
    t->progress = (dn_progress){0};
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->has_length = length >= 0;
    /* the server does not support this range: starts over */
    if (t->got > 0 && (code == CURLE_RANGE_ERROR || http == 416)) {
        if (start_over(t) == DN_OK)
            return try_once(t, url);
        return USELESS;
    }
    if (code == CURLE_OK && t->fault == DN_OK) /* the file may be empty */
        t->fault = check_answer(t);
    if (code == CURLE_OK && t->fault == DN_OK && t->got == 0 && !t->wanted->bytes)
        t->fault = dn_fail(DN_EIO, "found an empty file");
    if (t->fault != DN_OK) {
        dn_fail(t->fault, "%s: %s", url, dn_message());
        return USELESS;
    }
    t->most = t->got > t->most ? t->got : t->most;
    dn_fail(DN_EIO, "%s: %s", url,
            code == CURLE_OK ? "the connection ended early"
            : *message       ? message
                             : curl_easy_strerror(code));
    return judge(t, code, http);
}

/* Makes requests until the file is complete, or TRIES in a row made no progress. */
static dn_status transfer_file(struct transfer *t, const char *url)
{
    for (int tries = 0; tries < TRIES;) {
        const int64_t before = t->most;
        const outcome end = try_once(t, url);
        if (end == WHOLE)
            return DN_OK;
        if (end == USELESS)
            return t->fault != DN_OK ? t->fault : DN_EIO;
        tries = t->most > before ? 0 : tries + 1;
        dn_info("%s; resuming after %.1f MB", dn_message(), (double)t->got / 1e6);
        if (tries > 0 && tries < TRIES)
            sleep((unsigned)tries);
    }
    return dn_fail(DN_EIO,
                   "%s; given up after %d tries that brought nothing, %s has %" PRId64 " bytes",
                   dn_message(), TRIES, t->partial, t->got);
}

/* ---- the whole file ---- */

/* Checks the partial file's checksum, if it is known. */
static dn_status check_file(const struct transfer *t, const char *url)
{
    const dn_fetch *const wanted = t->wanted;
    if (!wanted->digest) {
        dn_warn("%s: %" PRId64 " bytes without a known checksum (--sha256)", url, t->got);
        return DN_OK;
    }
    const dn_status status = dn_digest_check(t->partial, wanted->digest);
    if (status != DN_OK)
        return dn_fail(status, "%s: %s; not used", url, dn_message());
    dn_info("%s: %.1f MB, of the expected checksum", wanted->name, (double)t->got / 1e6);
    return DN_OK;
}

/* If the checksum is wrong, more bytes may follow if the server sent no length. Otherwise, if the
 * transfer was resumed, the earlier bytes may be another file's: downloads it once more from the
 * start. */
static dn_status get_checked(struct transfer *t, const char *url)
{
    for (int is_resumed = t->got > 0;;) {
        const int64_t before = t->got;
        if (!t->wanted->bytes || t->got < t->wanted->bytes)
            DN_TRY(transfer_file(t, url));
        const dn_status status = check_file(t, url);
        if (status != DN_ECORRUPT)
            return status;
        if (t->has_length || t->got <= before) {
            DN_TRY(start_over(t));
            t->most = 0;
            if (!is_resumed)
                return status;
            is_resumed = 0;
        }
    }
}

static dn_status get_from_all(struct transfer *t, const char *const *urls, int count)
{
    dn_status status = DN_EIO;
    t->curl = curl_easy_init();
    DN_CHECK(t->curl, DN_ENOMEM, "%s: no memory for libcurl", t->wanted->name);
    for (int i = 0; i < count && urls[i]; i++) {
        char url[2048];
        const char *const base = urls[i], *const end = strchr(base, '\0');
        const int length =
            snprintf(url, sizeof url, "%s%s", base, end[-1] == '/' ? t->wanted->name : "");
        if (i > 0)
            dn_warn("%s; trying the next server", dn_message());
        dn_info("%s: downloading %s%s", t->wanted->name, url,
                t->got > 0 ? ", from where it broke off" : "");
        status = length < (int)sizeof url ? get_checked(t, url)
                                          : dn_fail(DN_EINVAL, "--url: the URL is too long");
        if (status == DN_OK)
            break;
    }
    curl_easy_cleanup(t->curl);
    return status;
}

/* Opens and locks the partial file. */
static dn_status open_partial(struct transfer *t)
{
    struct stat info;
    t->file = open(t->partial, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    DN_CHECK(t->file >= 0, DN_EIO, "%s: cannot write: %s", t->partial, strerror(errno));
    DN_CHECK(flock(t->file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK, DN_EINVAL,
             "%s: another create_records is downloading it", t->partial);
    DN_CHECK(fstat(t->file, &info) == 0 && S_ISREG(info.st_mode), DN_EIO, "%s: found no plain file",
             t->partial);
    t->got = t->most = lseek(t->file, 0, SEEK_END);
    if (t->wanted->bytes && t->got > t->wanted->bytes)
        return start_over(t);
    return DN_OK;
}

/* Gives the complete and checked file its name. */
static dn_status name_file(const struct transfer *t)
{
    const int error = dn_file_flush(t->file);
    DN_CHECK(!error, DN_EIO, "%s: cannot write: %s", t->partial, strerror(error));
    return dn_file_rename(t->partial, t->wanted->path);
}

dn_status dn_fetch_file(const dn_fetch *file, const char *const *urls, int count)
{
    struct transfer t = {.wanted = file, .file = -1};
    if (access(file->path, F_OK) == 0) {
        if (file->digest)
            DN_TRY(dn_digest_check(file->path, file->digest));
        dn_info("%s: found it, so it is not downloaded again", file->path);
        return DN_OK;
    }
    DN_CHECK(snprintf(t.partial, PATH_MAX, "%s" DN_PARTIAL, file->path) < PATH_MAX, DN_EINVAL,
             "%s: the path is too long", file->path);
    dn_status status = open_partial(&t);
    if (status == DN_OK) {
        status = get_from_all(&t, urls, count);
        if (status == DN_OK)
            status = name_file(&t);
        else if (t.got == 0)
            unlink(t.partial); /* nothing to resume */
    }
    if (t.file >= 0)
        close(t.file);
    return status;
}
