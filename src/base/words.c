/* Numbers, switches and misspelt words; see include/dn/words.h. */
#include "dn/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int dn_ends_in(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

int dn_parse_whole(const char *text, int64_t min, int64_t max, int64_t *value)
{
    const char *digits = text + (*text == '-');
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return isdigit((unsigned char)*digits) && *end == '\0' && errno == 0 && *value >= min &&
           *value <= max;
}

/* strtod alone also accepts hexadecimal numbers, spaces and words. */
int dn_take_real(const char *text, const char **behind, double *value)
{
    const char *const digits = text + (*text == '-');
    char *end;
    if (!(isdigit((unsigned char)*digits) || *digits == '.') || strncasecmp(digits, "0x", 2) == 0)
        return 0;
    *value = strtod(text, &end);
    *behind = end;
    return end != text;
}

int dn_parse_real(const char *text, double min, double max, double *value)
{
    const char *end;
    errno = 0;
    return dn_take_real(text, &end, value) && *end == '\0' && errno == 0 && *value >= min &&
           *value <= max;
}

int dn_parse_truth(const char *text)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (int i = 0; i < (int)(sizeof words / sizeof *words); i++)
        if (strcasecmp(text, words[i]) == 0)
            return i % 2;
    return -1;
}

enum { MOST_LETTERS = 63 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Letters to insert, delete, replace or transpose with their neighbour to change one word to the
 * other, ignoring case (Damerau-Levenshtein distance). */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][MOST_LETTERS + 1]; /* of the last three letters of a, in rotation */
    const int length = (int)strlen(b);
    for (int j = 0; j <= length; j++)
        rows[0][j] = j;
    int i = 0;
    for (; a[i] != '\0'; i++) {
        int *row = rows[(i + 1) % 3];
        const int *above = rows[i % 3], *before = rows[(i + 2) % 3];
        row[0] = i + 1;
        for (int j = 0; j < length; j++) {
            const int x = tolower((unsigned char)a[i]), y = tolower((unsigned char)b[j]);
            row[j + 1] = least(above[j] + (x != y), 1 + least(above[j + 1], row[j]));
            if (i > 0 && j > 0 && x == tolower((unsigned char)b[j - 1]) &&
                y == tolower((unsigned char)a[i - 1]))
                row[j + 1] = least(row[j + 1], before[j - 1] + 1);
        }
    }
    return rows[i % 3][length];
}

/* A name is near if either is a prefix of the other, or if they differ in at most a third of the
 * word's letters. */
int dn_nearest_try(dn_nearest *nearest, const char *name)
{
    const size_t letters = strlen(nearest->word);
    if (strcmp(nearest->word, name) == 0)
        return 1;
    const size_t used = strlen(nearest->known);
    snprintf(nearest->known + used, sizeof nearest->known - used, "%s%s", used > 0 ? ", " : "",
             name);
    if (letters == 0 || letters > MOST_LETTERS || strlen(name) > MOST_LETTERS)
        return 0;
    const size_t shorter = strlen(name) < letters ? strlen(name) : letters;
    const int is_begun = shorter > 1 && strncasecmp(name, nearest->word, shorter) == 0;
    const int distance = is_begun ? 1 : edit_distance(nearest->word, name);
    if (distance > (int)(letters + 2) / 3 || (nearest->name && distance >= nearest->distance))
        return 0;
    nearest->name = name;
    nearest->distance = distance;
    return 0;
}

const char *dn_nearest_hint(dn_nearest *nearest, const char *prefix)
{
    nearest->hint[0] = '\0';
    if (nearest->name != NULL)
        snprintf(nearest->hint, sizeof nearest->hint, "; did you mean '%s%s'?", prefix,
                 nearest->name);
    return nearest->hint;
}
