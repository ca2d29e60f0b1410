/*
 * Recipes: files NAME.ini with options of `dn_dist train`, whose first line is a comment that
 * describes them. The search path is $DN_RECIPES, then the recipes installed with the program, or
 * those of the source tree if none are installed; the first file with a name is used. Not
 * collective.
 */
#ifndef DN_RECIPES_H
#define DN_RECIPES_H

#include <limits.h>
#include <stdio.h>

#include "dn/status.h"

/* Opens the recipe of that name, or the file if the name contains a '/' or ends in ".ini"; path =
 * its path. The caller closes it. DN_ENOENT suggests the nearest name. */
dn_status dn_recipe_open(const char *name, FILE **file, char path[PATH_MAX]);

/* Prints the names, descriptions and folders of all recipes. DN_ENOENT if there are none. */
dn_status dn_recipes_print(void);

#endif
