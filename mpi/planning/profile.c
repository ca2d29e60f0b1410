/* Profiles of a step as JSON, by jansson; see profile.h. The numbers of a file are bounded, so that
 * their sums and products do not overflow. */
#include "planning/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/json.h"
#include "dn/layer_info.h"

enum { VERSION = 1, MOST_STAGES = 1 << 20 };

static const char format_name[] = "dn_dist profile";

json_t *dn_profile_encode(const dn_net *net, dn_dtype dtype, int ranks, const dn_step_times *times,
                          int steps)
{
    const dn_view view = dn_net_view(net);
    const size_t statistics = view.leaf_count - view.gradient_count;
    json_t *stages = json_array();
    double backward = 0;
    for (int i = view.layers - 1; i >= 0; i--) {
        dn_layer_info layer;
        dn_net_layer_info(net, i, &layer);
        const size_t floats = layer.parameters + (i == 0 ? statistics : 0);
        const double seconds = layer.backward.seconds / steps;
        backward += seconds;
        json_array_append_new(
            stages, json_pack("{s:f,s:I}", "seconds", seconds, "floats", (json_int_t)floats));
    }
    return json_pack(
        "{s:s,s:i,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:f,s:f,s:I,s:o}", "format", format_name,
        "format_version", VERSION, "model", view.spec->name, "mode", dn_dtype_name(dtype), "isa",
        view.kernels->products[dtype].name, "size", view.spec->height, "batch", view.batch, "ranks",
        ranks, "threads", omp_get_max_threads(), "forward_seconds",
        fmax(0, times->compute / steps - backward), "update_seconds", times->update / steps,
        "statistics", (json_int_t)statistics, "backward", stages);
}

/* Also refuses NaN. */
static int is_time(double seconds)
{
    return seconds >= 0 && seconds <= 1e9;
}

static int is_count(json_int_t count)
{
    return count >= 0 && count <= UINT32_MAX;
}

/* In [1, INT_MAX]. */
static int is_number(json_int_t number)
{
    return number >= 1 && number <= INT32_MAX;
}

static dn_status decode_stages(dn_profile *p, const json_t *stages, const char *name)
{
    p->stage = calloc((size_t)p->stages, sizeof *p->stage);
    DN_CHECK(p->stage != NULL, DN_ENOMEM, "out of memory for a profile of %d layers", p->stages);
    for (int i = 0; i < p->stages; i++) {
        double seconds;
        json_int_t floats;
        json_error_t error;
        DN_CHECK(json_unpack_ex(json_array_get(stages, (size_t)i), &error, 0, "{s:F,s:I}",
                                "seconds", &seconds, "floats", &floats) == 0,
                 DN_ECORRUPT, "%s: layer %d of \"backward\": %s", name, i, error.text);
        DN_CHECK(is_time(seconds) && is_count(floats), DN_ECORRUPT,
                 "%s: layer %d of \"backward\": found %g seconds and %lld floats, expected 0 to "
                 "1e9 and 0 to 2^32 - 1",
                 name, i, seconds, (long long)floats);
        p->stage[i] = (dn_profile_layer){seconds, (size_t)floats};
        p->backward += seconds;
        p->floats += (size_t)floats;
    }
    DN_CHECK(p->stage[p->stages - 1].floats >= p->statistics && p->floats > p->statistics &&
                 p->floats <= UINT32_MAX && p->backward > 0,
             DN_ECORRUPT,
             "%s: found %g seconds and %zu floats in \"backward\", the last %zu of them "
             "statistics, expected some time, and gradients of fewer than 2^32 floats",
             name, p->backward, p->floats, p->statistics);
    return DN_OK;
}

dn_status dn_profile_decode(dn_profile *p, json_t *json, const char *name)
{
    const char *format = "";
    json_int_t version = 0, size, batch, ranks, threads, statistics;
    json_t *stages;
    json_error_t error;
    *p = (dn_profile){.json = json};
    DN_CHECK(json != NULL, DN_ENOMEM, "%s: out of memory", name);
    json_unpack(json, "{s?s,s?I}", "format", &format, "format_version", &version);
    DN_CHECK(strcmp(format, format_name) == 0 && version == VERSION, DN_ECORRUPT,
             "%s: found format \"%s\", version %lld, expected \"%s\", %d: a file that 'dn_dist "
             "bench --profile' wrote",
             name, format, (long long)version, format_name, VERSION);
    DN_CHECK(json_unpack_ex(json, &error, 0, "{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:F,s:F,s:I,s:o}",
                            "model", &p->model, "mode", &p->mode, "isa", &p->isa, "size", &size,
                            "batch", &batch, "ranks", &ranks, "threads", &threads,
                            "forward_seconds", &p->forward, "update_seconds", &p->update,
                            "statistics", &statistics, "backward", &stages) == 0,
             DN_ECORRUPT, "%s: not valid: %s", name, error.text);
    DN_CHECK(dn_is_one_line(p->model) && dn_is_one_line(p->mode) && dn_is_one_line(p->isa) &&
                 is_number(size) && is_number(batch) && is_number(ranks) && is_number(threads) &&
                 is_time(p->forward) && is_time(p->update) && is_count(statistics) &&
                 json_array_size(stages) >= 1 && json_array_size(stages) <= MOST_STAGES,
             DN_ECORRUPT, "%s: found a value out of range, expected a measured profile", name);
    p->size = (int)size;
    p->batch = (int)batch;
    p->ranks = (int)ranks;
    p->threads = (int)threads;
    p->statistics = (size_t)statistics;
    p->stages = (int)json_array_size(stages);
    return decode_stages(p, stages, name);
}

dn_status dn_profile_read(dn_profile *profile, const char *path)
{
    json_t *json;
    *profile = (dn_profile){0};
    DN_CHECK(access(path, R_OK) == 0, DN_ENOENT, "--profile: cannot read %s: %s", path,
             strerror(errno));
    DN_TRY(dn_json_load(&json, path));
    return dn_profile_decode(profile, json, path);
}

void dn_profile_destroy(dn_profile *profile)
{
    json_decref(profile->json);
    free(profile->stage);
    *profile = (dn_profile){0};
}

dn_status dn_profile_check_path(const char *path)
{
    struct stat info;
    const int found = stat(path, &info) == 0;
    if (found && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return DN_OK; /* the reader of a pipe would see end of file */
    DN_TRY(dn_file_check_kind(path, "profile", 0, "{\n \"format\": \"dn_dist profile"));
    const int file = open(path, O_WRONLY | O_CLOEXEC | (found ? 0 : O_CREAT | O_EXCL), 0666);
    DN_CHECK(file >= 0, DN_EIO, "--profile: cannot write %s: %s", path, strerror(errno));
    close(file);
    if (!found)
        unlink(path);
    return DN_OK;
}
