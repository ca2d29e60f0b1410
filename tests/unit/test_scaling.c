/* The prediction of steps on a cluster against closed forms, and profiles through files. */
#include <math.h>
#include <string.h>

#include "allreduce/allreduce.h"
#include "dn/json.h"
#include "planning/scaling.h"
#include "trial_files.h"

static const double rounding = 1e-12; /* relative, of sums of a few dozen doubles */

static void assert_close(double found, double expected)
{
    if (!(fabs(found - expected) <= rounding * fabs(expected)))
        fail_msg("found %.17g, expected %.17g", found, expected);
}

static const dn_network network = {.inside = {1e-6, 8e9}, .between = {30e-6, 1e9}};

/* ---- rounds ---- */

static void check_rounds(int ranks, int per_node, int segments, const dn_round *expected,
                         int expected_count)
{
    dn_rounds rounds;
    assert_int_equal(dn_scaling_rounds(&rounds, ranks, per_node, ranks, segments), DN_OK);
    assert_int_equal(rounds.count, expected_count);
    for (int i = 0; i < rounds.count; i++) {
        assert_close(rounds.round[i].inside, expected[i].inside);
        assert_close(rounds.round[i].between, expected[i].between);
    }
    dn_scaling_rounds_destroy(&rounds);
}

/* Vector halving there, the mirror image back. With 4 ranks a node, the link carries 4 eighths.
 * A single segment is exchanged whole, one way. */
static void test_rounds(void **state)
{
    check_rounds(1, 1, 4, NULL, 0);
    check_rounds(
        8, 1, 32,
        (dn_round[]){{0, 1. / 2}, {0, 1. / 4}, {0, 1. / 8}, {0, 1. / 8}, {0, 1. / 4}, {0, 1. / 2}},
        6);
    check_rounds(
        8, 4, 32,
        (dn_round[]){
            {1. / 2, 0}, {1. / 4, 0}, {0, 4 * 1. / 8}, {0, 4 * 1. / 8}, {1. / 4, 0}, {1. / 2, 0}},
        6);
    check_rounds(8, 4, 1, (dn_round[]){{1, 0}, {1, 0}, {0, 4}}, 3);
    check_rounds(8, 1, 2, (dn_round[]){{0, 1. / 2}, {0, 1. / 2}, {0, 1. / 2}, {0, 1. / 2}}, 4);
}

/* Three ranks: the third exchanges a quarter with each of the others, there and back. */
static void test_three_ranks(void **state)
{
    dn_rounds rounds;
    assert_int_equal(dn_scaling_rounds(&rounds, 3, 1, 3, 16), DN_OK);
    assert_int_equal(rounds.count, 4);
    assert_close(rounds.round[0].between, 1. / 2);
    assert_close(rounds.round[1].between, 1. / 2);
    assert_close(rounds.round[2].between, 1. / 2);
    assert_close(rounds.round[3].between, 1. / 2);
    int messages = 0;
    for (int n = 0; n <= 16; n++)
        messages += rounds.messages[n];
    assert_int_equal(messages, 12);
    assert_int_equal(rounds.messages[8], 4);
    dn_scaling_rounds_destroy(&rounds);
}

/* ---- events ---- */

enum { ROUNDS = 4, BUCKETS = DN_BUCKETS_IN_FLIGHT };

static dn_round halving[] = {{0, .5}, {0, .25}, {0, .25}, {0, .5}};
static const dn_rounds halves = {.count = ROUNDS, .round = halving};

static double run(dn_sim_bucket *buckets, int count, const dn_rounds *rounds,
                  const dn_network *links)
{
    for (int i = 0; i < count; i++)
        buckets[i].rounds = rounds;
    return dn_scaling_run(buckets, count, &(dn_transport){.network = *links});
}

/* One bucket: its rounds one after the other. */
static void test_one_bucket(void **state)
{
    dn_sim_bucket b = {.bytes = 4e6, .ready = 0.25};
    const double expected = 0.25 + 4 * 30e-6 + 1.5 * 4e6 / 1e9;
    assert_close(run(&b, 1, &halves, &network), expected);
    assert_close(b.done, expected);
}

/* Without latency, buckets that are ready together share the link: it never rests. */
static void test_bandwidth(void **state)
{
    const dn_network wire = {.between = {0, 1e9}};
    dn_sim_bucket b[BUCKETS];
    for (int i = 0; i < BUCKETS; i++)
        b[i] = (dn_sim_bucket){.bytes = 4e6, .ready = 1};
    assert_close(run(b, BUCKETS, &halves, &wire), 1 + BUCKETS * 1.5 * 4e-3);
}

/* Without limit of bandwidth, all travel at once. */
static void test_latency(void **state)
{
    const dn_network wire = {.between = {1e-3, INFINITY}};
    dn_sim_bucket b[BUCKETS];
    for (int i = 0; i < BUCKETS; i++)
        b[i] = (dn_sim_bucket){.bytes = 4e6, .ready = 1};
    assert_close(run(b, BUCKETS, &halves, &wire), 1 + ROUNDS * 1e-3);
}

/* One round: the link takes the buckets in turn, and the last arrives a latency later. */
static void test_queue(void **state)
{
    const dn_rounds whole = {.count = 1, .round = (dn_round[]){{0, 1}}};
    dn_sim_bucket b[BUCKETS];
    for (int i = 0; i < BUCKETS; i++)
        b[i] = (dn_sim_bucket){.bytes = 1e6, .ready = 1 + i * 0.1e-3};
    run(b, BUCKETS, &whole, &network);
    for (int i = 0; i < BUCKETS; i++)
        assert_close(b[i].done, 1 + (i + 1) * 1e-3 + 30e-6);
}

/* A round that is in part inside nodes and in part between them takes the longer of both. */
static void test_both_links(void **state)
{
    const dn_rounds both = {.count = 1, .round = (dn_round[]){{.5, .125}}};
    dn_sim_bucket b = {.bytes = 8e6};
    assert_close(run(&b, 1, &both, &network), 30e-6 + 1e-3);
    b.bytes = 8;
    const dn_network slow_inside = {.inside = {1e-3, 8e9}, .between = {30e-6, 1e9}};
    assert_close(run(&b, 1, &both, &slow_inside), 1e-3 + 4 / 8e9);
}

/* One more than may be in flight starts when the first is done. */
static void test_in_flight(void **state)
{
    const dn_network wire = {.between = {1e-3, INFINITY}};
    dn_sim_bucket b[BUCKETS + 1];
    for (int i = 0; i <= BUCKETS; i++)
        b[i] = (dn_sim_bucket){.bytes = 4e6, .ready = 1 + i * 0.1e-3};
    run(b, BUCKETS + 1, &halves, &wire);
    for (int i = 0; i < BUCKETS; i++)
        assert_close(b[i].done, b[i].ready + ROUNDS * 1e-3);
    assert_close(b[BUCKETS].done, b[0].done + ROUNDS * 1e-3);
}

/* A round that ends between two looks waits for the second; behind the last it does not wait. */
static void test_polls(void **state)
{
    static const double polls[] = {0.0, 0.010, 0.020, 0.030};
    const dn_transport transport = {
        .network = {.between = {4e-3, INFINITY}}, .polls = polls, .poll_count = 4};
    dn_sim_bucket b = {.bytes = 1, .rounds = &halves, .ready = 0.010};
    assert_close(dn_scaling_run(&b, 1, &transport), 0.030 + 2 * 4e-3);
    b.ready = 0.030;
    assert_close(dn_scaling_run(&b, 1, &transport), 0.030 + 4 * 4e-3);
}

/* ---- a step ---- */

/* Eight buckets of gradients, of which the last is ready when the pass ends, and the statistics. */
enum { STAGES = 4, BUCKET = 32000, STATISTICS = 20000, FLOATS = 8 * BUCKET + STATISTICS };

static dn_profile_layer stages[STAGES] = {
    {0.1, 64000}, {0.2, 96000}, {0.3, 68000}, {0.4, 28000 + STATISTICS}};
static const dn_profile profile = {.model = "m",
                                   .mode = "fp32",
                                   .isa = "avx2",
                                   .size = 32,
                                   .batch = 16,
                                   .ranks = 2,
                                   .threads = 3,
                                   .forward = 0.5,
                                   .backward = 1,
                                   .update = 0.01,
                                   .floats = FLOATS,
                                   .statistics = STATISTICS,
                                   .stages = STAGES,
                                   .stage = stages};

static const dn_step_settings settings = {.bucket_mb = BUCKET * sizeof(float) / 1048576.,
                                          .comm_thread = DN_COMM_THREAD_ON};

static dn_prediction predict(dn_scaling_job job)
{
    dn_prediction p;
    job.profile = &profile;
    assert_int_equal(dn_scaling_predict(&job, &p), DN_OK);
    return p;
}

/* What follows the backward pass: the last bucket, then the losses, one latency a round one way. */
static void test_predict(void **state)
{
    const double compute = 0.5 + 1 + 0.01;
    dn_scaling_job job = {.network = network, .nodes = 1, .ranks_per_node = 1, .step = &settings};
    dn_prediction p = predict(job);
    assert_close(p.step, compute);
    assert_true(p.exposed == 0 && p.communication == 0);
    assert_string_equal(p.limit, "compute");
    assert_close(p.images_per_second, 16 / compute);

    job.nodes = 4;
    job.network = (dn_network){.between = {0.02, 1e9}};
    p = predict(job);
    /* The statistics queue behind the last gradients in the last round. */
    assert_close(p.exposed, (4 + 2) * 0.02 + 4 * (1.5 * BUCKET + 0.5 * STATISTICS) / 1e9);
    assert_close(p.step, compute + p.exposed);
    assert_string_equal(p.limit, "latency of the network, last bucket");
    assert_close(p.images_per_second, 4 * 16 / p.step);
}

/* After the backward pass: the link never rests; nor do the places for buckets. Gradients of bf16
 * have half the bytes, statistics do not. */
static void test_communication(void **state)
{
    dn_step_settings step = settings;
    dn_scaling_job job = {
        .network.between = {0, 1e9}, .nodes = 4, .ranks_per_node = 1, .step = &step};
    assert_close(predict(job).communication, 1.5 * 4 * FLOATS / 1e9);
    step.wire = DN_BF16;
    assert_close(predict(job).communication, 1.5 * (2 * 8 * BUCKET + 4 * STATISTICS) / 1e9);
    job.network.between = (dn_link){0.01, INFINITY};
    const int waves = (9 + DN_BUCKETS_IN_FLIGHT - 1) / DN_BUCKETS_IN_FLIGHT;
    assert_close(predict(job).communication, (waves * 4 + 2) * 0.01);
}

/* A narrow link is still busy with the first buckets when the last becomes ready. */
static void test_limits(void **state)
{
    dn_network narrow = {.inside = {1e-6, 8e9}, .between = {1e-9, 1e3}};
    dn_step_settings step = settings;
    dn_scaling_job job = {.network = narrow, .nodes = 2, .ranks_per_node = 2, .step = &step};
    step.bucket_mb = settings.bucket_mb * 100 / BUCKET;
    dn_prediction p = predict(job);
    assert_string_equal(p.limit, "bandwidth of the network");
    assert_true(p.exposed < p.communication);
    assert_true(p.communication - p.exposed <= 0.9); /* from the first stage's end */
    job.network = (dn_network){.inside = {0.05, 8e9}, .between = {1e-9, 1e9}};
    step = settings;
    p = predict(job);
    assert_string_equal(p.limit, "latency in the node, last bucket");
    job.network = (dn_network){.inside = {0, 1e3}, .between = {1e-9, 1e9}};
    p = predict(job);
    assert_string_equal(p.limit, "bandwidth in the node");
    /* A bucket takes three looks, and layers are few. */
    job.network = (dn_network){.inside = {5e-3, 1e7}, .between = {5e-3, 1e7}};
    step.bucket_mb = settings.bucket_mb / 2;
    step.comm_thread = DN_COMM_THREAD_OFF;
    p = predict(job);
    assert_string_equal(p.limit, "looks between layers");
    step.comm_thread = DN_COMM_THREAD_ON;
    assert_true(predict(job).exposed < p.exposed);
}

/* A fixed global batch: a rank's virtual ranks run one after the other, and only the last's
 * backward pass has communication beside it. */
static void test_strong(void **state)
{
    dn_step_settings step = settings;
    dn_scaling_job job = {.network = network, .nodes = 3, .ranks_per_node = 1, .step = &step};
    step.virtual_ranks = 8;
    const dn_prediction p = predict(job);
    assert_close(p.compute, 3 * 1.5 + 0.01);
    assert_close(p.images_per_second, 8 * 16 / p.step);
    dn_prediction none;
    job.profile = &profile;
    job.nodes = 9;
    assert_int_equal(dn_scaling_predict(&job, &none), DN_EINVAL);
    assert_string_equal(dn_message(),
                        "--virtual-ranks 8: found 9 ranks, expected at most one a virtual rank");
}

/* ---- files ---- */

static const char path[] = "profile.json";

#define HEAD                                                                                       \
    "{\"format\":\"dn_dist profile\",\"format_version\":1,\"model\":\"a \\\"model\\\"\","          \
    "\"mode\":\"fp32\",\"isa\":\"avx2\",\"size\":32,\"statistics\":20,\"ranks\":2,\"threads\":3,"  \
    "\"forward_seconds\":0.5,\"update_seconds\":1,"
#define LAYER(seconds, floats) "{\"seconds\":" #seconds ",\"floats\":" #floats "}"

static void test_good_file(void **state)
{
    dn_profile p;
    trial_write(path, HEAD "\"batch\":16,\"backward\":[" LAYER(0.25, 80) "," LAYER(1, 60) "]}");
    assert_int_equal(dn_profile_read(&p, path), DN_OK);
    assert_string_equal(p.model, "a \"model\"");
    assert_string_equal(p.mode, "fp32");
    assert_string_equal(p.isa, "avx2");
    assert_true(p.size == 32 && p.batch == 16 && p.ranks == 2 && p.threads == 3);
    assert_true(p.forward == 0.5 && p.backward == 1.25 && p.update == 1 && p.stages == 2);
    assert_true(p.floats == 140 && p.statistics == 20);
    assert_true(p.stage[0].seconds == 0.25 && p.stage[0].floats == 80);
    assert_true(p.stage[1].seconds == 1 && p.stage[1].floats == 60);
    dn_profile_destroy(&p);
    assert_null(p.stage);
    dn_profile_destroy(&p);
}

static void expect_refusal(const char *text, const char *part)
{
    dn_profile refused;
    trial_write(path, text);
    assert_int_equal(dn_profile_read(&refused, path), DN_ECORRUPT);
    if (strncmp(dn_message(), path, strlen(path)) != 0 || !strstr(dn_message(), part))
        fail_msg("found '%s', expected '%s: ... %s'", dn_message(), path, part);
    dn_profile_destroy(&refused);
}

static void test_bad_files(void **state)
{
    dn_profile refused;
    expect_refusal("", "1:");
    expect_refusal("{\"peer\":\"dn_dist\"}", "bench --profile");
    expect_refusal("{\"format\":\"dn_dist profile\",\"format_version\":9}", "version 9");
    expect_refusal(HEAD "\"batch\":1}", "backward");
    expect_refusal(HEAD "\"batch\":0,\"backward\":[" LAYER(1, 30) "]}", "out of range");
    expect_refusal(HEAD "\"batch\":4294967297,\"backward\":[" LAYER(1, 30) "]}", "out of range");
    expect_refusal("{\"format\":\"\\u001b[2J\"}", "found format \"?[2J\"");
    expect_refusal(HEAD "\"batch\":1,\"backward\":[]}", "out of range");
    expect_refusal(HEAD "\"batch\":1,\"backward\":[7]}", "layer 0");
    expect_refusal(HEAD "\"batch\":1,\"backward\":[" LAYER(-1, 30) "]}", "-1 seconds");
    expect_refusal(HEAD "\"batch\":1,\"backward\":[" LAYER(1e300, 30) "]}", "1e+300 seconds");
    expect_refusal(HEAD "\"batch\":1,\"backward\":[" LAYER(1, 20) "]}", "expected some time");
    expect_refusal(HEAD "\"batch\":1,\"backward\":[" LAYER(1, 9223372036854775807) "]}", "2^32");
    expect_refusal(HEAD "\"batch\":1,\"backward\":[" LAYER(1, 4294967296) "]}", "2^32");
    expect_refusal(HEAD
                   "\"batch\":1,\"backward\":[" LAYER(1, 4294967295) "," LAYER(1, 4294967295) "]}",
                   "2^32");
    assert_int_equal(dn_profile_read(&refused, "no such file"), DN_ENOENT);
    assert_int_equal(dn_json_save(json_object(), "no such folder/file", 0), DN_EIO);
    assert_string_equal(dn_message(),
                        "no such folder/file: cannot write: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),        cmocka_unit_test(test_three_ranks),
        cmocka_unit_test(test_one_bucket),    cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_latency),       cmocka_unit_test(test_queue),
        cmocka_unit_test(test_both_links),    cmocka_unit_test(test_in_flight),
        cmocka_unit_test(test_polls),         cmocka_unit_test(test_predict),
        cmocka_unit_test(test_communication), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_strong),        cmocka_unit_test(test_good_file),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
