/* Checkpoints of small nets; see checkpoints.h. */
#include "checkpoints.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/file.h"
#include "dn/rng.h"
#include "small_net.h"
#include "unit.h"

dn_net *trial_net(const char *model, uint64_t seed)
{
    dn_net *const net = net_of(model, (net_images){3, SIZE, SIZE, 10}, dn_kernels_get(0),
                               &(dn_net_options){.batch = BATCH});
    dn_net_init(net, DN_INIT_KAIMING, seed);
    const size_t count = dn_net_view(net).running_count;
    dn_random_uniform(dn_net_view(net).running, count, 0.5, seed, DN_STREAM_SYNTHETIC, 1);
    for (size_t i = 0; i < count; i++) /* not fresh, and valid as means and as variances */
        dn_net_view(net).running[i] += 1;
    return net;
}

dn_checkpoint trial_state(const dn_net *net, int64_t step)
{
    dn_checkpoint state = {.step = step, .hash = dn_net_hash(net), .data = "a set"};
    strcpy(state.config, "model = small\nlr = 0.1\n");
    return state;
}

/* The row of that name. */
static const dn_optimizer *find_row(const char *name)
{
    int i = 0;
    while (strcmp(dn_optimizer_name(i), name) != 0)
        i++;
    return dn_optimizer_get(dn_kernels_get(0), i);
}

dn_optimizer_state trial_vectors(const dn_net *net, const char *name, int64_t seed)
{
    dn_optimizer_state state;
    const size_t count = dn_net_view(net).parameter_count;
    const size_t average = count + dn_net_view(net).running_count;
    if (dn_optimizer_state_create(&state, find_row(name), count, average) != DN_OK)
        fail_msg("%s", dn_message());
    dn_random_uniform(state.vectors, state.floats, 1, (uint64_t)seed, DN_STREAM_SYNTHETIC, 2);
    for (size_t i = 0; i < state.floats; i++)
        state.vectors[i] = fabsf(state.vectors[i]);
    return state;
}

dn_status trial_save_net(const char *folder, const dn_net *net, const dn_checkpoint *state,
                         const char *optimizer, int keep)
{
    dn_saver *saver = NULL;
    dn_optimizer_state vectors = trial_vectors(net, optimizer, state->step);
    dn_status status = dn_saver_create(&saver, net, &vectors, folder, keep);
    if (status == DN_OK)
        status = dn_saver_start(saver, state);
    if (status == DN_OK)
        status = dn_saver_wait(saver);
    dn_saver_destroy(&saver);
    dn_optimizer_state_destroy(&vectors);
    return status;
}

void trial_save_with(const char *optimizer, const char *model, uint64_t seed, int64_t step,
                     int keep, char path[128])
{
    dn_net *net = trial_net(model, seed);
    const dn_checkpoint state = trial_state(net, step);
    if (trial_save_net(RUN, net, &state, optimizer, keep) != DN_OK)
        fail_msg("%s", dn_message());
    dn_checkpoint_path(path, 128, RUN, step);
    dn_net_destroy(&net);
}

void trial_save(const char *model, uint64_t seed, int64_t step, int keep, char path[128])
{
    trial_save_with("sgd", model, seed, step, keep, path);
}

dn_status trial_load(const char *path, dn_net *net, dn_optimizer_state *vectors)
{
    dn_checkpoint state;
    dn_checkpoint_file *file;
    DN_TRY(dn_checkpoint_open(&file, path, &state));
    const dn_status status = dn_checkpoint_load(file, net, vectors);
    dn_checkpoint_close(&file);
    return status;
}

dn_checkpoint trial_newest(const char *folder)
{
    dn_checkpoint state;
    dn_checkpoint_file *file;
    if (dn_checkpoint_open_newest(&file, folder, INT64_MAX, &state) != DN_OK)
        fail_msg("%s", dn_message());
    assert_true((file != NULL) == (state.path[0] != '\0'));
    dn_checkpoint_close(&file);
    return state;
}

void trial_load_expect(const char *path, const char *model, dn_status expected, const char *part)
{
    dn_net *net = trial_net(model, 99);
    dn_optimizer_state vectors = trial_vectors(net, "sgd", 1);
    const dn_status status = trial_load(path, net, &vectors);
    if (status != expected || (part && !strstr(dn_message(), part)))
        fail_msg("status %d (expected %d), message: %s (expected \"%s\")", status, expected,
                 dn_message(), part ? part : "");
    dn_optimizer_state_destroy(&vectors);
    dn_net_destroy(&net);
}

void trial_seal(const char *path)
{
    uint8_t *bytes;
    size_t size;
    assert_int_equal(dn_file_load(path, &bytes, &size), DN_OK);
    FILE *const file = fopen(path, "ab");
    assert_non_null(file);
    fprintf(file, "dn_dist XXH3-64 %016" PRIx64, XXH3_64bits(bytes, size));
    assert_int_equal(fclose(file), 0);
    free(bytes);
}
