/* The files that runs and measurements leave: a checkpoint and a profile; see fuzz.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "commands/from_options.h"
#include "dn/checkpoint.h"
#include "dn/weights.h"
#include "fuzz.h"
#include "planning/scaling.h"

#define MODEL "blocks=1:growth=1:bottleneck=0:stem=cifar:stem-channels=1"
enum { SIZE = 4, CLASSES = 2 };

static const char small_config[] = "[train]\nmodel = densenet-40-12\nbatch-size = 64\nlr = 0.1\n"
                                   "epochs = 3\naugment = none\noptimizer = sgd\nseed = 1\n";

/* ---- a checkpoint ---- */

typedef struct small_run {
    dn_net *net;
    dn_optimizer_state vectors;
    uint8_t *data_set;
    size_t data_set_bytes;
} small_run;

static void make_run(small_run *r)
{
    const dn_net_options options = {.batch = 2, .train = 0};
    dn_spec spec;
    fuzz_require(dn_spec_parse(&spec, MODEL) == DN_OK, "a model");
    spec.height = spec.width = SIZE;
    spec.classes = CLASSES;
    fuzz_require(dn_net_create(&r->net, &spec, dn_kernels_get(0), &options) == DN_OK, "a net");
    dn_net_init(r->net, DN_INIT_KAIMING, 1);
    fuzz_require(dn_optimizer_state_create(&r->vectors, dn_optimizer_get(dn_kernels_get(0), 0),
                                           dn_net_view(r->net).parameter_count, 0) == DN_OK,
                 "vectors");
}

static void clear_run(small_run *r)
{
    dn_optimizer_state_destroy(&r->vectors);
    dn_net_destroy(&r->net);
    free(r->data_set);
}

static void clear_checkpoint(fuzz *f)
{
    clear_run(f->own);
}

static const char *const class_names[CLASSES] = {"a", "b"};
static const dn_data_info info = {.dataset = "A",
                                  .channels = 3,
                                  .height = SIZE,
                                  .width = SIZE,
                                  .classes = CLASSES,
                                  .mean = {0.5, 0.5, 0.5},
                                  .std = {0.25, 0.25, 0.25}};

/* A dataset.json, of shards that are nowhere. */
static void make_data_set(fuzz *f, small_run *r)
{
    dn_manifest *m;
    fuzz_require(dn_manifest_create(&m, &info, (int[DN_SPLITS]){1, 1}, 0) == DN_OK, "a manifest");
    m->class_names = class_names;
    m->zstd_level = 3;
    for (int s = 0; s < m->shards; s++) {
        m->split[s].count = m->shard[s].count = 2;
        m->shard[s].hdf5 = (dn_manifest_file){.name = "a.h5", .bytes = 1000};
        m->shard[s].tfrecord = (dn_manifest_file){.name = "a.tfrecord", .bytes = 1000};
    }
    fuzz_require(dn_manifest_save(m, f->folder) == DN_OK &&
                     dn_manifest_read(&r->data_set, &r->data_set_bytes, f->folder) == DN_OK,
                 "a dataset.json");
    free(m);
}

static void make_checkpoint(fuzz *f)
{
    small_run *const r = f->own = calloc(1, sizeof *r);
    dn_saver *saver = NULL;
    fuzz_require(r != NULL, "memory");
    make_run(r);
    make_data_set(f, r);
    dn_checkpoint state = {.step = 5,
                           .hash = dn_net_hash(r->net),
                           .data = "a set",
                           .schedule = "cosine",
                           .folder = "/a/folder",
                           .data_set = r->data_set,
                           .data_set_bytes = r->data_set_bytes};
    strcpy(state.config, small_config);
    fuzz_require(dn_saver_create(&saver, r->net, &r->vectors, f->folder, 0) == DN_OK &&
                     dn_saver_start(saver, &state) == DN_OK && dn_saver_wait(saver) == DN_OK,
                 "a checkpoint");
    dn_saver_destroy(&saver);
}

static void check_floats(const float *x, size_t count, float smallest)
{
    for (size_t i = 0; i < count; i++)
        fuzz_require(isfinite(x[i]) && x[i] >= smallest, "finite numbers, variances from 0 on");
}

static void check_tensors(const dn_view *net)
{
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++)
        check_floats((dn_is_parameter(t) ? net->parameters : net->running) + t->offset, t->count,
                     t->kind == DN_RUNNING_VAR ? 0 : -INFINITY);
}

/* The options of a run that resumes from there. */
static dn_status take_config(const dn_checkpoint *state)
{
    const dn_command train = {.name = "train", .bit = DN_COMMAND_TRAIN};
    dn_options options;
    dn_spec spec;
    DN_TRY(dn_options_parse(&options, &train, 0, NULL));
    DN_TRY(dn_options_resume(&options, state));
    DN_TRY(dn_spec_parse(&spec, options.model));
    return dn_spec_check(&spec);
}

static dn_status load_checkpoint(fuzz *f, uint64_t *digest)
{
    small_run *const r = f->own;
    const dn_view net = dn_net_view(r->net);
    dn_checkpoint state;
    dn_checkpoint_file *file;
    DN_TRY(dn_checkpoint_open(&file, f->path, &state));
    dn_manifest *data = NULL;
    dn_status status = dn_checkpoint_data_set(file, &data);
    if (status == DN_OK)
        status = dn_checkpoint_load(file, r->net, &r->vectors);
    const uint64_t data_hash = data ? data->hash : 0;
    free(data);
    dn_checkpoint_close(&file);
    DN_TRY(status);
    DN_TRY(take_config(&state));
    fuzz_require(state.step >= 0, "a step from 0 on");
    check_tensors(&net);
    check_floats(r->vectors.vectors, r->vectors.floats, -INFINITY);
    *digest = fuzz_digest(0, &state, sizeof state);
    *digest = fuzz_digest(*digest, net.parameters, net.parameter_count * sizeof(float));
    *digest = fuzz_digest(*digest, net.running, net.running_count * sizeof(float));
    *digest = fuzz_digest(*digest, r->vectors.vectors, r->vectors.floats * sizeof(float));
    *digest = fuzz_digest(*digest, &data_hash, sizeof data_hash);
    return DN_OK;
}

/* Writes what stands in the last bytes; docs/checkpoint-format.md. */
static int seal_checkpoint(fuzz *f, fuzz_file *file, int renew)
{
    char seal[33];
    (void)f;
    if (file->size < 32)
        return 0;
    const size_t content = file->size - 32;
    snprintf(seal, sizeof seal, "dn_dist XXH3-64 %016llx",
             (unsigned long long)XXH3_64bits(file->bytes, content));
    if (renew)
        memcpy(file->bytes + content, seal, 32);
    return memcmp(file->bytes + content, seal, 32) == 0;
}

const fuzz_format fuzz_checkpoint = {.name = "checkpoint",
                                     .file = "checkpoint-00000005.h5",
                                     .make = make_checkpoint,
                                     .clear = clear_checkpoint,
                                     .seal = seal_checkpoint,
                                     .load = load_checkpoint};

/* ---- weights ---- */

static void make_safetensors(fuzz *f)
{
    small_run *const r = f->own = calloc(1, sizeof *r);
    const dn_manifest data = {.info = info, .class_names = class_names};
    fuzz_require(r != NULL, "memory");
    make_run(r);
    fuzz_require(dn_safetensors_save(f->path, r->net, &(dn_weights_about){.data = &data}) == DN_OK,
                 "safetensors");
}

static dn_status load_safetensors(fuzz *f, uint64_t *digest)
{
    small_run *const r = f->own;
    const dn_view net = dn_net_view(r->net);
    dn_weights_metadata told;
    int classes;
    if (dn_safetensors_metadata(f->path, &told) == DN_OK)
        free(told.data);
    DN_TRY(dn_safetensors_load(r->net, f->path, &classes));
    fuzz_require(classes >= 0 && classes != CLASSES, "another number of classes, or none");
    check_tensors(&net);
    *digest = dn_net_hash(r->net);
    return DN_OK;
}

const fuzz_format fuzz_safetensors = {.name = "safetensors",
                                      .file = "weights.safetensors",
                                      .make = make_safetensors,
                                      .clear = clear_checkpoint,
                                      .load = load_safetensors};

/* ---- a profile ---- */

static const char profile_text[] =
    "{\"format\": \"dn_dist profile\", \"format_version\": 1, \"model\": \"m\", \"mode\": "
    "\"fp32\",\n"
    " \"isa\": \"avx2\", \"size\": 32, \"batch\": 64, \"ranks\": 2, \"threads\": 1,\n"
    " \"forward_seconds\": 0.25, \"update_seconds\": 0.0625, \"statistics\": 100, \"backward\": [\n"
    "  {\"seconds\": 0.125, \"floats\": 300000}, {\"seconds\": 0.25, \"floats\": 4000000},\n"
    "  {\"seconds\": 0.0625, \"floats\": 5000}]}\n";

static void make_profile(fuzz *f)
{
    fuzz_file *const file = calloc(1, sizeof *file);
    fuzz_require(file != NULL, "memory");
    file->size = strlen(profile_text);
    memcpy(file->bytes, profile_text, file->size);
    fuzz_write(file, f->path);
    free(file);
}

/* As `plan` does on 1 and 8 nodes, with a bucket size that its option allows. */
static dn_status load_profile(fuzz *f, uint64_t *digest)
{
    dn_profile profile;
    dn_status status = dn_profile_read(&profile, f->path);
    *digest = 0;
    if (status == DN_OK && profile.ranks > DN_SCALING_MOST_RANKS)
        status = dn_fail(DN_EINVAL, "%d ranks", profile.ranks);
    for (int nodes = 1; status == DN_OK && nodes <= 8 && nodes * profile.ranks <= 64; nodes += 7) {
        const dn_scaling_job job = {.profile = &profile,
                                    .network = {{1e-6, 8e9}, {30e-6, 1e9}},
                                    .nodes = nodes,
                                    .ranks_per_node = profile.ranks,
                                    .step = &(dn_step_settings){.bucket_mb = 4}};
        dn_prediction p;
        status = dn_scaling_predict(&job, &p);
        fuzz_require(status != DN_OK || (isfinite(p.step) && p.step > 0 && p.exposed >= 0 &&
                                         isfinite(p.images_per_second)),
                     "a prediction of finite numbers");
    }
    dn_profile_destroy(&profile);
    return status;
}

const fuzz_format fuzz_profile = {
    .name = "profile", .file = "profile.json", .make = make_profile, .load = load_profile};
