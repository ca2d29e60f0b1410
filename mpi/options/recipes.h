/*
 * Recipes: files NAME.ini of options of `dn_dist train`, whose first line is a comment that says
 * what they are. They are looked for in $DN_RECIPES, then where they are installed with the
 * program, or in the source tree where none are installed; the first of a name counts. Not
 * collective.
 */
#ifndef DN_RECIPES_H
#define DN_RECIPES_H

#include <limits.h>
#include <stdio.h>

#include "dn/status.h"

/* Opens the recipe of that name, or the file where the name has a '/' or ends in ".ini"; path =
 * where it is. The caller closes it. DN_ENOENT names what is near. */
dn_status dn_recipe_open(const char *name, FILE **file, char path[PATH_MAX]);

/* Prints their names, what they are, and where. DN_ENOENT where there are none. */
dn_status dn_recipes_print(FILE *to);

#endif
