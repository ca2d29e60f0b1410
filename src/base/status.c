/* The error record and the log lines of include/dn/status.h. */
#include "dn/status.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Thread_local char message[1024];
static dn_log_level log_level = DN_INFO;

/* Bytes of the control character that the text begins with; 0 if none. U+0080 to U+009F in UTF-8
 * are control characters, too: a terminal takes U+009B for ESC [. */
static size_t control_bytes(const char *text)
{
    const unsigned char *const c = (const unsigned char *)text;
    return iscntrl(c[0]) && c[0] ? 1 : c[0] == 0xC2 && c[1] >= 0x80 && c[1] <= 0x9F ? 2 : 0;
}

/* The first control character, or the end. */
static const char *find_control(const char *text)
{
    while (*text && !control_bytes(text))
        text++;
    return text;
}

int dn_is_one_line(const char *text)
{
    return *find_control(text) == '\0';
}

/* Quoted paths and file contents may hold characters that end the line or move the cursor. */
void dn_one_line(char *text)
{
    while (*(text += find_control(text) - text)) {
        const size_t bytes = control_bytes(text);
        memset(text, '?', bytes);
        text += bytes;
    }
}

char *dn_one_line_copy(char *copy, size_t size, const char *text)
{
    snprintf(copy, size, "%s", text);
    dn_one_line(copy);
    return copy;
}

dn_status dn_fail(dn_status status, const char *format, ...)
{
    char text[sizeof message]; /* the previous message may be an argument */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dn_one_line(text);
    strcpy(message, text);
    return status;
}

const char *dn_message(void)
{
    return message;
}

void dn_failure_keep(dn_failure *failure, dn_status status)
{
    if (status == DN_OK || failure->status != DN_OK)
        return;
    failure->status = status;
    snprintf(failure->message, sizeof failure->message, "%s", message);
}

dn_status dn_failure_report(const dn_failure *failure)
{
    return failure->status == DN_OK ? DN_OK : dn_fail(failure->status, "%s", failure->message);
}

void dn_log_set_level(dn_log_level level)
{
    log_level = level;
}

void dn_log_line(dn_log_level level, const char *format, ...)
{
    if (level > log_level)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    dn_one_line(line);
    FILE *file = level == DN_INFO ? stdout : stderr;
    fprintf(file, "%s%s\n", level == DN_INFO ? "" : "warning: ", line);
    fflush(file);
}

void dn_warn_here(const char *format, ...)
{
    char text[1024], host[HOST_NAME_MAX + 1] = "unknown";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gethostname(host, sizeof host - 1);
    dn_log_line(DN_WARN_HERE, "host %s: %s", host, text);
}
