/* Profiles of a step as JSON (profile.h), by jansson. */
#include "planning/profile.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VERSION = 1 };

static const char format_name[] = "dn_dist profile";

dn_status dn_profile_create(dn_profile *profile, int stages)
{
    profile->stages = stages;
    profile->stage = calloc((size_t)stages, sizeof *profile->stage);
    DN_CHECK(profile->stage != NULL, DN_ENOMEM, "memory: found none for a profile of %d layers",
             stages);
    return DN_OK;
}

void dn_profile_destroy(dn_profile *profile)
{
    free(profile->stage);
    *profile = (dn_profile){0};
}

double dn_profile_backward_seconds(const dn_profile *profile)
{
    double seconds = 0;
    for (int i = 0; i < profile->stages; i++)
        seconds += profile->stage[i].seconds;
    return seconds;
}

size_t dn_profile_floats(const dn_profile *profile)
{
    size_t floats = 0;
    for (int i = 0; i < profile->stages; i++)
        floats += profile->stage[i].floats;
    return floats;
}

static int is_time(double seconds)
{
    return isfinite(seconds) && seconds >= 0;
}

static dn_status decode_stages(dn_profile *p, const json_t *stages, const char *path)
{
    for (int i = 0; i < p->stages; i++) {
        json_int_t floats;
        json_error_t error;
        DN_CHECK(json_unpack_ex(json_array_get(stages, (size_t)i), &error, 0, "{s:F,s:I}",
                                "seconds", &p->stage[i].seconds, "floats", &floats) == 0,
                 DN_ECORRUPT, "%s: layer %d of \"backward\": %s", path, i, error.text);
        DN_CHECK(is_time(p->stage[i].seconds) && floats >= 0, DN_ECORRUPT,
                 "%s: layer %d of \"backward\": found %g seconds and %lld floats, expected none "
                 "below 0",
                 path, i, p->stage[i].seconds, (long long)floats);
        p->stage[i].floats = (size_t)floats;
    }
    return DN_OK;
}

static dn_status decode_profile(dn_profile *p, json_t *root, const char *path)
{
    const char *format = "", *model, *mode, *isa;
    int version = 0;
    json_int_t statistics;
    json_t *stages;
    json_error_t error;
    json_unpack(root, "{s?s,s?i}", "format", &format, "format_version", &version);
    DN_CHECK(strcmp(format, format_name) == 0 && version == VERSION, DN_ECORRUPT,
             "%s: found format \"%s\", version %d, expected \"%s\", %d: a file that 'dn_dist bench "
             "--profile' wrote",
             path, format, version, format_name, VERSION);
    DN_CHECK(json_unpack_ex(root, &error, 0, "{s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:F,s:F,s:I,s:o}",
                            "model", &model, "mode", &mode, "isa", &isa, "size", &p->size, "batch",
                            &p->batch, "ranks", &p->ranks, "threads", &p->threads,
                            "forward_seconds", &p->forward, "update_seconds", &p->update,
                            "statistics", &statistics, "backward", &stages) == 0,
             DN_ECORRUPT, "%s: not valid: %s", path, error.text);
    DN_CHECK(strlen(model) < sizeof p->model && strlen(mode) < sizeof p->mode &&
                 strlen(isa) < sizeof p->isa && p->batch >= 1 && p->ranks >= 1 && p->threads >= 1 &&
                 is_time(p->forward) && is_time(p->update) && json_array_size(stages) >= 1,
             DN_ECORRUPT, "%s: found a value out of range, expected a measured profile", path);
    DN_TRY(dn_profile_create(p, (int)json_array_size(stages)));
    p->statistics = (size_t)statistics;
    strcpy(p->model, model);
    strcpy(p->mode, mode);
    strcpy(p->isa, isa);
    DN_TRY(decode_stages(p, stages, path));
    DN_CHECK(statistics >= 0 && p->stage[p->stages - 1].floats >= p->statistics &&
                 dn_profile_floats(p) > p->statistics && dn_profile_backward_seconds(p) > 0,
             DN_ECORRUPT, "%s: found no gradient or no time in \"backward\", expected some", path);
    return DN_OK;
}

dn_status dn_profile_read(dn_profile *profile, const char *path)
{
    json_error_t error;
    *profile = (dn_profile){0};
    DN_CHECK(access(path, R_OK) == 0, DN_ENOENT, "%s: %s", path, strerror(errno));
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    DN_CHECK(root != NULL, DN_ECORRUPT, "%s:%d: %s", path, error.line, error.text);
    const dn_status status = decode_profile(profile, root, path);
    json_decref(root);
    return status;
}

static json_t *encode_profile(const dn_profile *p)
{
    json_t *stages = json_array();
    for (int i = 0; i < p->stages; i++)
        json_array_append_new(stages, json_pack("{s:f,s:I}", "seconds", p->stage[i].seconds,
                                                "floats", (json_int_t)p->stage[i].floats));
    return json_pack("{s:s,s:i,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:f,s:f,s:I,s:o}", "format", format_name,
                     "format_version", VERSION, "model", p->model, "mode", p->mode, "isa", p->isa,
                     "size", p->size, "batch", p->batch, "ranks", p->ranks, "threads", p->threads,
                     "forward_seconds", p->forward, "update_seconds", p->update, "statistics",
                     (json_int_t)p->statistics, "backward", stages);
}

dn_status dn_json_write(json_t *object, const char *path)
{
    const char *name = path ? path : "standard output";
    DN_CHECK(object != NULL, DN_ENOMEM, "%s: out of memory for the results", name);
    errno = 0;
    const int failed =
        path ? json_dump_file(object, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9))
             : json_dumpf(object, stdout, JSON_REAL_PRECISION(6)) || puts("") < 0 || fflush(stdout);
    json_decref(object);
    DN_CHECK(!failed, DN_EIO, "%s: %s", name, errno ? strerror(errno) : "not written");
    return DN_OK;
}

dn_status dn_profile_write(const dn_profile *profile, const char *path)
{
    return dn_json_write(encode_profile(profile), path);
}
