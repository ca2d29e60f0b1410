/*
 * Reading ahead gives the same bits as reading directly, for any order of requests, depth of the
 * ring, number of threads and delays of the source. A batch returns its own failure, and the loader
 * can be destroyed at any time.
 *
 * Built with -fsanitize=thread and run with OMP_NUM_THREADS=1, it shows that the ring has no race.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "dn/kernels.h"
#include "dn/loader.h"
#include "dn/rng.h"
#include "unit.h"

enum { COUNT = 53, CHANNELS = 2, HEIGHT = 3, WIDTH = 5, FLOATS = CHANNELS * HEIGHT * WIDTH };
enum { RANKS = 3, BATCH = 4, STEPS = COUNT / (RANKS * BATCH), OWN = 2, EPOCHS = 3 };
enum { BATCHES = OWN * STEPS * EPOCHS, SEED = 11, NOBODY = -1, MICROSECONDS = 200 };

/* Made-up pixels, read in times that differ from image to image. */
typedef struct made_up {
    dn_source source;
    dn_transform transform;
    uint16_t labels[COUNT];
    int64_t bad, worse; /* images that cannot be read; `worse` fails without a delay */
    int is_slow;
    atomic_int reads, ended;
} made_up;

static void fill_pixels(int64_t index, uint8_t pixels[FLOATS])
{
    for (int p = 0; p < FLOATS; p++)
        pixels[p] =
            (uint8_t)dn_random(3, DN_STREAM_SYNTHETIC, (uint64_t)index, (uint64_t)p).word[0];
}

static dn_status read_made_up(const dn_source *source, const dn_request *request,
                              const dn_transform *transform, dn_transform_memory *memory,
                              float *image)
{
    made_up *m = (made_up *)source;
    uint8_t pixels[FLOATS];
    atomic_fetch_add(&m->reads, 1);
    if (m->is_slow && request->index != m->worse)
        usleep((useconds_t)dn_random_below(
            dn_random(5, DN_STREAM_SYNTHETIC, 0, (uint64_t)request->position).word[0],
            2 * MICROSECONDS));
    fill_pixels(request->index, pixels);
    DN_TRY(dn_transform_pixels(transform, request, pixels, HEIGHT, WIDTH, memory, image));
    atomic_fetch_add(&m->ended, 1);
    DN_CHECK(request->index != m->bad && request->index != m->worse, DN_ECORRUPT,
             "image %d is damaged", (int)request->index);
    return DN_OK;
}

static void make_up(made_up *m)
{
    *m = (made_up){.bad = NOBODY, .worse = NOBODY, .is_slow = 1};
    for (int i = 0; i < COUNT; i++)
        m->labels[i] = (uint16_t)(1000 + i);
    m->source = (dn_source){.info = {.channels = CHANNELS,
                                     .height = HEIGHT,
                                     .width = WIDTH,
                                     .mean = {0.4, 0.5},
                                     .std = {0.2, 0.25}},
                            .count = COUNT,
                            .labels = m->labels,
                            .read = read_made_up};
    assert_int_equal(dn_transform_parse(&m->transform, dn_pixel_kernels_of(dn_kernels_get(0)),
                                        &m->source.info, "pad-crop:4,hflip", SEED),
                     DN_OK);
}

/* The last two of three virtual ranks, from batch `begin` on. */
static dn_loader_settings settings(const made_up *m, int64_t begin, int depth, int threads)
{
    return (dn_loader_settings){.source = &m->source,
                                .sequence = {.first = RANKS - OWN,
                                             .end = RANKS,
                                             .virtual_ranks = RANKS,
                                             .batch = BATCH,
                                             .steps = STEPS},
                                .begin = begin,
                                .end = BATCHES,
                                .shuffle = 1,
                                .transforms = &m->transform,
                                .crops = 1,
                                .seed = SEED,
                                .depth = depth,
                                .threads = threads};
}

static dn_loader *start(const dn_loader_settings *s)
{
    dn_loader *loader;
    assert_int_equal(dn_loader_create(&loader, s), DN_OK);
    return loader;
}

/* Image i of batch n, by definition. */
static dn_request request_of(int64_t n, int i)
{
    uint32_t order[COUNT];
    const int64_t step = n / OWN, rank = RANKS - OWN + n % OWN;
    const int64_t epoch = step / STEPS, place = step % STEPS;
    const int64_t position = (place * RANKS + rank) * BATCH + i;
    dn_random_permutation(order, COUNT, SEED, (uint64_t)epoch);
    return (dn_request){.index = order[position], .epoch = epoch, .position = position};
}

/* Checks that the loader's batch n has the images of batch `of`, with this transform. */
static void check_images(dn_loader *loader, int64_t n, int64_t of, const dn_transform *transform)
{
    float images[BATCH * FLOATS], expected[FLOATS];
    int32_t labels[BATCH];
    uint8_t pixels[FLOATS];
    assert_int_equal(dn_loader_load(loader, n, images, labels), DN_OK);
    for (int i = 0; i < BATCH; i++) {
        const dn_request request = request_of(of, i);
        fill_pixels(request.index, pixels);
        dn_transform_pixels(transform, &request, pixels, HEIGHT, WIDTH, NULL, expected);
        assert_int_equal(labels[i], 1000 + request.index);
        assert_memory_equal(images + (ptrdiff_t)i * FLOATS, expected, sizeof expected);
    }
}

static void check_batch(dn_loader *loader, const made_up *m, int64_t n)
{
    check_images(loader, n, n, &m->transform);
}

/* Whole runs, from the first batch and from one in the middle of the second epoch. */
static void test_in_order(void **state)
{
    static const struct {
        int depth, begin, threads;
    } cases[] = {
        {1, 0, 1}, {2, 0, 1}, {5, OWN * (STEPS + 1) + 1, 2}, {2, OWN * (STEPS + 2), 1}, {2, 0, 3},
        {1, 0, 7}, {40, 0, 5}};
    made_up m;
    make_up(&m);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const int64_t begin = cases[c].begin;
        const dn_loader_settings s = settings(&m, begin, cases[c].depth, cases[c].threads);
        m.is_slow = c != 0;
        m.reads = 0;
        dn_loader *loader = start(&s);
        for (int64_t n = begin; n < BATCHES; n++)
            check_batch(loader, &m, n);
        dn_loader_destroy(&loader);
        assert_null(loader);
        assert_int_equal(m.reads,
                         (BATCHES - begin) * BATCH); /* each once, and none after the end */
    }
}

/* Repeats a step, repeats a batch, returns to the start, skips ahead, and to the last batch. */
static void test_any_order(void **state)
{
    static const int asked[] = {0, 1, 2, 3,  2, 3,           3,           3,
                                0, 1, 9, 10, 8, BATCHES - 1, BATCHES - 1, 4};
    made_up m;
    make_up(&m);
    for (int depth = 1; depth <= 4; depth += 3) {
        const dn_loader_settings s = settings(&m, 5, depth, depth);
        dn_loader *loader = start(&s);
        for (size_t a = 0; a < sizeof asked / sizeof asked[0]; a++)
            check_batch(loader, &m, asked[a]);
        dn_loader_destroy(&loader);
    }
}

/* Each batch with every transform, in order; then one of them again. */
static void test_crops(void **state)
{
    enum { CROPS = 3 };
    static const char *const lists[CROPS] = {"hflip:p=1", "vflip:p=1", "pad-crop:4,hflip"};
    dn_transform crops[CROPS];
    made_up m;
    make_up(&m);
    for (int c = 0; c < CROPS; c++)
        assert_int_equal(dn_transform_parse(&crops[c], dn_pixel_kernels_of(dn_kernels_get(0)),
                                            &m.source.info, lists[c], SEED),
                         DN_OK);
    dn_loader_settings s = settings(&m, 0, 2, 2);
    s.end = (int64_t)BATCHES * CROPS;
    s.transforms = crops;
    s.crops = CROPS;
    dn_loader *loader = start(&s);
    for (int64_t n = 0; n < s.end; n++)
        check_images(loader, n, n / CROPS, &crops[n % CROPS]);
    check_images(loader, 4, 1, &crops[1]);
    dn_loader_destroy(&loader);
}

static void wait_for(atomic_int *count, int value)
{
    for (int i = 0; *count < value; i++) {
        assert_true(i < 600000000 / MICROSECONDS);
        usleep(MICROSECONDS);
    }
}

/* The threads read no more than the ring holds. They end while they wait for room, before a batch
 * was requested, and while they read. */
static void end_on(int threads)
{
    enum { DEPTH = 3 };
    made_up m;
    make_up(&m);
    const dn_loader_settings s = settings(&m, 0, DEPTH, threads);
    dn_loader *loader = start(&s);
    check_batch(loader, &m, 0);
    wait_for(&m.ended, (1 + DEPTH) * BATCH);
    usleep(20 * MICROSECONDS);
    assert_int_equal(m.reads, (1 + DEPTH) * BATCH);
    dn_loader_destroy(&loader);

    loader = start(&s);
    dn_loader_destroy(&loader);

    m.reads = m.ended = 0;
    loader = start(&s);
    wait_for(&m.reads, BATCH + 1);
    dn_loader_destroy(&loader);
    assert_int_equal(m.reads, m.ended);
}

static void test_end(void **state)
{
    dn_loader *none = NULL;
    end_on(1);
    end_on(4);
    dn_loader_destroy(&none);
}

/* The loader measures how long its caller waits for slow images. */
static void test_waited(void **state)
{
    made_up m;
    make_up(&m);
    const dn_loader_settings s = settings(&m, 0, 2, 2);
    dn_loader *loader = start(&s);
    assert_true(dn_loader_waited(loader) == 0);
    for (int n = 0; n < 12; n++)
        check_batch(loader, &m, n);
    assert_true(dn_loader_waited(loader) > 0);
    dn_loader_destroy(&loader);
}

/* Two images of a batch are damaged: it fails with the message of the first, and its arrays are
 * unchanged; no other batch fails. */
static void fail_on(int threads)
{
    enum { BAD = 5 };
    made_up m;
    make_up(&m);
    m.bad = request_of(BAD, 1).index;
    m.worse = request_of(BAD, 3).index;
    char expected[64];
    snprintf(expected, sizeof expected, "image %d is damaged", (int)m.bad);
    const dn_loader_settings s = settings(&m, 0, 4, threads);
    dn_loader *loader = start(&s);
    for (int64_t n = 0; n < BAD; n++)
        check_batch(loader, &m, n);
    for (int times = 0; times < 2; times++) {
        float images[BATCH * FLOATS] = {7};
        int32_t labels[BATCH] = {7};
        assert_int_equal(dn_loader_load(loader, BAD, images, labels), DN_ECORRUPT);
        assert_string_equal(dn_message(), expected);
        assert_true(images[0] == 7 && images[1] == 0 && labels[0] == 7 && labels[1] == 0);
    }
    check_batch(loader, &m, BAD + 1);
    assert_int_equal(dn_loader_load(loader, BAD, (float[BATCH * FLOATS]){0}, (int32_t[BATCH]){0}),
                     DN_ECORRUPT);
    dn_loader_destroy(&loader);
}

static void test_failure(void **state)
{
    for (int threads = 1; threads <= 4; threads++)
        fail_on(threads);
}

/* Evaluation: images in stored order, and a smaller last batch. */
static void test_stored_order(void **state)
{
    enum { ALL = (COUNT + BATCH - 1) / BATCH, LAST = COUNT - (ALL - 1) * BATCH };
    made_up m;
    make_up(&m);
    const dn_loader_settings s = {
        .source = &m.source,
        .sequence = {.end = 1, .virtual_ranks = 1, .batch = BATCH, .steps = ALL},
        .begin = 2,
        .end = ALL,
        .transforms = &m.transform,
        .crops = 1,
        .depth = 2,
        .threads = 2};
    dn_loader *loader = start(&s);
    float images[BATCH * FLOATS];
    for (int n = 2; n < ALL; n++) {
        int32_t labels[BATCH] = {-1, -1, -1, -1};
        assert_int_equal(dn_loader_load(loader, n, images, labels), DN_OK);
        for (int i = 0; i < BATCH; i++)
            assert_int_equal(labels[i], n < ALL - 1 || i < LAST ? 1000 + n * BATCH + i : -1);
    }
    dn_loader_destroy(&loader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),     cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_end),          cmocka_unit_test(test_failure),
        cmocka_unit_test(test_stored_order), cmocka_unit_test(test_waited),
        cmocka_unit_test(test_crops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
