/* Finds recipes; see recipes.h. */
#include "options/recipes.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/words.h"

#define SUFFIX ".ini"

/* path = the folder of the recipes installed with this program, or "". */
static void installed_folder(char path[PATH_MAX])
{
    char program[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    if (length <= 0 ||
        dn_join_path(path, dirname(dirname(program)), "share/dn_dist/recipes") != DN_OK)
        path[0] = '\0';
}

/* Checks that $DN_RECIPES is a folder: with a mistyped one the program's recipe of the same name
 * would be used. */
static dn_status check_chosen(void)
{
    const char *const chosen = getenv("DN_RECIPES");
    DN_CHECK(!chosen || !chosen[0] || dn_is_folder(chosen), DN_ENOENT,
             "DN_RECIPES: found '%s', expected a folder of recipes", chosen);
    return DN_OK;
}

/* path = folder `index` of the search path, the user's, then those of the program, or "" if it does
 * not exist. Returns 0 past the last. */
static int recipe_folder(int index, char path[PATH_MAX])
{
    const char *const chosen = getenv("DN_RECIPES");
    snprintf(path, PATH_MAX, "%s", chosen ? chosen : "");
    if (index > 0)
        installed_folder(path);
    if (index > 0 && access(path, F_OK) != 0)
        snprintf(path, PATH_MAX, "%s", DN_SOURCE_RECIPES);
    return index <= 1;
}

static int names_file(const char *name)
{
    return strcmp(name, SUFFIX) != 0 && dn_ends_in(name, SUFFIX);
}

static int is_recipe(const struct dirent *entry)
{
    return names_file(entry->d_name);
}

/* path = the file of that name; *file = NULL if no folder has it. */
static void find_recipe(const char *name, FILE **file, char path[PATH_MAX])
{
    char folder[PATH_MAX], base[PATH_MAX];
    *file = NULL;
    snprintf(base, sizeof base, "%s" SUFFIX, name);
    for (int i = 0; *file == NULL && recipe_folder(i, folder); i++)
        if (folder[0] && dn_join_path(path, folder, base) == DN_OK)
            *file = fopen(path, "r");
}

/* Offers all names to `nearest`. */
static void try_names(dn_nearest *nearest, char names[][64], int most)
{
    char folder[PATH_MAX];
    int count = 0;
    for (int i = 0; recipe_folder(i, folder); i++) {
        struct dirent **entries;
        const int found = folder[0] ? scandir(folder, &entries, is_recipe, alphasort) : -1;
        for (int e = 0; e < found; e++) {
            const int length = (int)strlen(entries[e]->d_name) - (int)strlen(SUFFIX);
            if (count < most) {
                snprintf(names[count], sizeof names[count], "%.*s", length, entries[e]->d_name);
                dn_nearest_try(nearest, names[count++]);
            }
            free(entries[e]);
        }
        if (found >= 0)
            free(entries);
    }
}

enum { MOST_NAMES = 256 };

dn_status dn_recipe_open(const char *name, FILE **file, char path[PATH_MAX])
{
    const int is_file = strchr(name, '/') != NULL || names_file(name);
    dn_nearest nearest = {.word = name};
    char names[MOST_NAMES][64];
    if (is_file) {
        snprintf(path, PATH_MAX, "%s", name);
        *file = fopen(path, "r");
        DN_CHECK(*file, DN_ENOENT, "--recipe: cannot read %s: %s", name, strerror(errno));
        return DN_OK;
    }
    DN_TRY(check_chosen());
    find_recipe(name, file, path);
    if (*file == NULL)
        try_names(&nearest, names, MOST_NAMES);
    DN_CHECK(
        *file, DN_ENOENT,
        "--recipe: found '%.64s', expected one of 'dn_dist recipes', or a file, by a name with / "
        "or " SUFFIX "%s",
        name, dn_nearest_hint(&nearest, ""));
    return DN_OK;
}

/* Prints a line of the list, from the file's first comment. */
static void print_recipe(const char *folder, const char *file_name)
{
    char path[PATH_MAX], line[256] = "";
    FILE *const file = dn_join_path(path, folder, file_name) == DN_OK ? fopen(path, "r") : NULL;
    if (file == NULL)
        return;
    if (fgets(line, sizeof line, file) == NULL)
        line[0] = '\0';
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    const size_t mark = strspn(line, "#; ");
    printf("  %-28.*s %s\n", (int)(strlen(file_name) - strlen(SUFFIX)), file_name,
           mark > 0 ? line + mark : "");
}

dn_status dn_recipes_print(void)
{
    char folder[PATH_MAX];
    int count = 0;
    DN_TRY(check_chosen());
    for (int i = 0; recipe_folder(i, folder); i++) {
        struct dirent **entries;
        const int found = folder[0] ? scandir(folder, &entries, is_recipe, alphasort) : -1;
        if (found > 0)
            printf("%s\n", folder);
        for (int e = 0; e < found; e++) {
            print_recipe(folder, entries[e]->d_name);
            free(entries[e]);
        }
        if (found >= 0)
            free(entries);
        count += found > 0 ? found : 0;
    }
    DN_CHECK(count > 0, DN_ENOENT,
             "recipes: found none beside the program, expected a folder of them in $DN_RECIPES");
    return DN_OK;
}
