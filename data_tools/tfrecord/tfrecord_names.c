/*
 * Finds the number of classes of TFRecord files, the first label, and the names; see
 * from_tfrecord.h and docs/tfrecords.md.
 */
#include "tfrecord/from_tfrecord.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/json.h"
#include "writer/writer.h"

enum { MOST_BYTES = 64 << 20, MOST_NAME = 255 };

/* What is known of the classes besides the labels. */
struct names {
    char path[PATH_MAX]; /* of the file of names or features */
    char *text;          /* contents of a file of names */
    char **line;         /* (count) its lines, in `text`; NULL: only the number is known */
    int count;           /* 0: not known */
    int base;            /* the first line's label; -1: not known */
};

/* ---- files of names ---- */

/* path = `name` in the folder of `file`; 0 if it does not exist. */
static int find_beside(char path[PATH_MAX], const char *file, const char *name)
{
    const int folder = (int)(basename(file) - file);
    return snprintf(path, PATH_MAX, "%.*s%s", folder, file, name) < PATH_MAX &&
           access(path, F_OK) == 0;
}

/* Splits the text into lines, without their ends; ignores empty lines at the end. */
static dn_status split_lines(struct names *n)
{
    const int bom = strncmp(n->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* of Windows' editors */
    size_t lines = 1;
    for (const char *c = n->text; *c; c++)
        lines += *c == '\n';
    n->line = malloc(lines * sizeof *n->line);
    DN_CHECK(n->line, DN_ENOMEM, "%s: out of memory", n->path);
    lines = 0;
    for (char *rest = n->text + bom, *line; (line = strsep(&rest, "\n"));) {
        const size_t length = strlen(line);
        if (length > 0 && line[length - 1] == '\r')
            line[length - 1] = '\0';
        n->line[lines++] = line;
    }
    while (lines > 0 && n->line[lines - 1][0] == '\0')
        lines--;
    DN_CHECK(lines >= 1 && lines <= UINT16_MAX, DN_EINVAL,
             "%s: found %zu class names, expected 1 to %d", n->path, lines, UINT16_MAX);
    n->count = (int)lines;
    return DN_OK;
}

/* Removes the labels of slim's files: lines are "LABEL:NAME", with consecutive labels from 0 or 1.
 */
static void strip_labels(struct names *n)
{
    int first = 0;
    for (int i = 0; i < n->count; i++) {
        char *end;
        const long label = strtol(n->line[i], &end, 10);
        if (!isdigit((unsigned char)n->line[i][0]) || *end != ':' || label > INT16_MAX * 2 ||
            (i == 0 ? label > 1 : label != first + i))
            return;
        first = i == 0 ? (int)label : first;
    }
    for (int i = 0; i < n->count; i++)
        n->line[i] = strchr(n->line[i], ':') + 1;
    n->base = first;
}

static dn_status load_names(struct names *n)
{
    uint8_t *bytes;
    size_t size;
    DN_TRY(dn_file_load_most(n->path, MOST_BYTES, &bytes, &size));
    n->text = (char *)bytes;
    DN_CHECK(strlen(n->text) == size, DN_EINVAL, "%s: found a zero byte, expected lines of text",
             n->path);
    DN_TRY(split_lines(n));
    strip_labels(n);
    return DN_OK;
}

/* Reads the number of classes from features.json of tensorflow_datasets. */
static dn_status load_features(struct names *n)
{
    static const char *const keys[] = {"label", "image/class/label"};
    json_t *root;
    const char *text = NULL;
    DN_TRY(dn_json_load(&root, n->path));
    for (int i = 0; i < 2 && !text; i++)
        json_unpack(root, "{s:{s:{s:{s:{s:s}}}}}", "featuresDict", "features", keys[i],
                    "classLabel", "numClasses", &text);
    const long count = text ? strtol(text, NULL, 10) : 0;
    if (count >= 1 && count <= UINT16_MAX)
        n->count = (int)count;
    n->base = 0;
    json_decref(root);
    return DN_OK;
}

static dn_status find_names(const dn_record_set *set, struct names *n)
{
    static const char *const beside[] = {"label.labels.txt", "image.class.label.labels.txt",
                                         "labels.txt"};
    const char *const file = set->file[0].path;
    n->base = -1;
    if (set->options->class_names) {
        snprintf(n->path, sizeof n->path, "%s", set->options->class_names);
        return load_names(n);
    }
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (find_beside(n->path, file, beside[i]))
            return load_names(n);
    return find_beside(n->path, file, "features.json") ? load_features(n) : DN_OK;
}

/* ---- the first label ---- */

static int choose_base(const dn_record_set *set, const struct names *n, int least, int greatest)
{
    if (set->options->label_base >= 0)
        return set->options->label_base;
    if (n->base >= 0)
        return n->base;
    return n->count > 0 ? least >= 1 && greatest == n->count : least >= 1;
}

/* Shifts labels to begin with 0, and checks that each has a class. */
static dn_status shift_labels(dn_record_set *set, const struct names *n, int base)
{
    for (int64_t i = 0; i < set->records; i++) {
        dn_record *const r = &set->record[i];
        const int label = r->label - base;
        char name[PATH_MAX + 64];
        if (label >= 0 && label < set->classes) {
            r->label = (uint16_t)label;
            continue;
        }
        dn_record_describe(set, r, name, sizeof name);
        return dn_fail(DN_EINVAL, "%s: found label %d, expected %d to %d%s%s", name, r->label, base,
                       base + set->classes - 1, n->count ? " by " : "", n->count ? n->path : "");
    }
    return DN_OK;
}

/* ---- names ---- */

static dn_status check_name(const struct names *n, int class, const char *name)
{
    const size_t length = strlen(name);
    DN_CHECK(dn_writer_takes_name(name) && length >= 1 && length <= MOST_NAME, DN_EINVAL,
             "%s: class name %d: found \"%s\", expected a UTF-8 text of 1 to %d bytes "
             "without control characters; --class-names FILE names them",
             n->line ? n->path : "image/class/text", class, name, MOST_NAME);
    return DN_OK;
}

/* Names a class by its line, else the text in its records, else its number; the number is appended
 * to a name that another class has. */
static dn_status name_class(dn_record_set *set, const struct names *n, int base, int class,
                            json_t *taken)
{
    const char *const text = set->text[class + base].text;
    char name[MOST_NAME + 1];
    if (n->line || text) {
        const char *const given = n->line ? n->line[class] : text;
        DN_TRY(check_name(n, class, given));
        const int is_taken = json_object_get(taken, given) != NULL;
        size_t length = strlen(given);
        while (is_taken && (length > MOST_NAME - 8 || (given[length] & 0xc0) == 0x80))
            length--; /* not within a character */
        snprintf(name, sizeof name, is_taken ? "%.*s (%d)" : "%.*s", (int)length, given, class);
    } else
        snprintf(name, sizeof name, "%d", class);
    DN_CHECK(!json_object_get(taken, name), DN_EINVAL, "class name %d: found \"%s\" a second time",
             class, name);
    set->class_names[class] = strdup(name);
    DN_CHECK(set->class_names[class] && json_object_set_new(taken, name, json_null()) == 0,
             DN_ENOMEM, "out of memory for %d class names", set->classes);
    return DN_OK;
}

static dn_status name_classes(dn_record_set *set, const struct names *n, int base)
{
    json_t *const taken = json_object();
    dn_status status = DN_OK;
    set->class_names = calloc((size_t)set->classes, sizeof *set->class_names);
    if (!taken || !set->class_names)
        status = dn_fail(DN_ENOMEM, "out of memory for %d class names", set->classes);
    for (int c = 0; c < set->classes && status == DN_OK; c++)
        status = name_class(set, n, base, c, taken);
    json_decref(taken);
    return status;
}

static dn_status use_names(dn_record_set *set, struct names *n)
{
    int least = UINT16_MAX, greatest = 0;
    for (int64_t i = 0; i < set->records; i++) {
        const int label = set->record[i].label;
        least = label < least ? label : least;
        greatest = label > greatest ? label : greatest;
    }
    const int base = choose_base(set, n, least, greatest);
    set->classes = n->count > 0 ? n->count : greatest - base + 1;
    DN_CHECK(set->classes <= UINT16_MAX, DN_EINVAL, "found %d classes, expected at most %d",
             set->classes, UINT16_MAX);
    if (set->classes < 1)
        set->classes = 1; /* --label-base 1 with labels that are all 0, which are reported next */
    DN_TRY(shift_labels(set, n, base));
    DN_TRY(name_classes(set, n, base));
    dn_info("%d classes, labels from %d on; names: %s", set->classes, base,
            n->line                ? n->path
            : set->text[base].text ? "image/class/text"
                                   : "numbers");
    return DN_OK;
}

dn_status dn_record_name(dn_record_set *set)
{
    struct names n = {0};
    dn_status status = find_names(set, &n);
    if (status == DN_OK)
        status = use_names(set, &n);
    free(n.text);
    free(n.line);
    return status;
}
