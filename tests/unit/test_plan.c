/*
 * The memory plan: regions that live at the same time do not overlap, the arena is no larger than
 * it must be, maps live where the layers that use them run; and the parameters of the known nets.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/layer_info.h"
#include "dn/rng.h"
#include "model/model.h"
#include "small_net.h"
#include "unit.h"

enum { ALIGNMENT = 64, RANDOM_PLANS = 200, MOST_REGIONS = 40, MANY_THREADS = 24 };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int live_together(const dn_region_info *a, const dn_region_info *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static void check_regions(const char *what, const dn_region_info *regions, int count,
                          size_t arena_bytes)
{
    size_t most = 0;
    for (int i = 0; i < count; i++) {
        const dn_region_info *a = &regions[i];
        assert_int_equal(a->offset % ALIGNMENT, 0);
        assert_true(a->first <= a->last);
        most = a->offset + a->bytes > most ? a->offset + a->bytes : most;
        for (int j = 0; j < i; j++) {
            const dn_region_info *b = &regions[j];
            if (live_together(a, b) && a->offset < b->offset + b->bytes &&
                b->offset < a->offset + a->bytes)
                fail_msg("%s: %s [%zu, +%zu) and %s [%zu, +%zu) overlap", what, a->name, a->offset,
                         a->bytes, b->name, b->offset, b->bytes);
        }
    }
    assert_int_equal(arena_bytes, aligned(most));
}

/* The most bytes live at one time: no plan can do with less. */
static size_t least_bytes(const dn_region_info *regions, int count)
{
    size_t most = 0;
    for (int i = 0; i < count; i++) { /* the most is reached when some region begins */
        size_t live = 0;
        for (int j = 0; j < count; j++)
            if (regions[j].first <= regions[i].first && regions[i].first <= regions[j].last)
                live += aligned(regions[j].bytes);
        most = live > most ? live : most;
    }
    return most;
}

static void test_random_plans(void **state)
{
    for (uint64_t p = 0; p < RANDOM_PLANS; p++) {
        dn_region_info regions[MOST_REGIONS] = {0};
        const int count = 1 + (int)(p % MOST_REGIONS);
        size_t total = 0, bytes;
        for (int i = 0; i < count; i++) {
            const dn_random4 r = dn_random(p, DN_STREAM_SYNTHETIC, 0, (uint64_t)i);
            regions[i].first = (int)(r.word[0] % 20);
            regions[i].last = regions[i].first + (int)(r.word[1] % 10);
            regions[i].bytes = r.word[2] % (p % 2 ? 1000 : 3) * (r.word[3] % 3);
            total += aligned(regions[i].bytes);
        }
        assert_int_equal(dn_memory_place(regions, 0, count, &bytes), DN_OK);
        check_regions("random plan", regions, count, bytes);
        assert_true(bytes >= least_bytes(regions, count) && bytes <= total);
    }
}

static void test_known_plan(void **state)
{
    dn_region_info regions[] = {
        {.name = "a", .bytes = 100, .first = 0, .last = 3},
        {.name = "b", .bytes = 1000, .first = 2, .last = 5},
        {.name = "c", .bytes = 64, .first = 4, .last = 9},
        {.name = "d", .bytes = 1, .first = 0, .last = 9},
    };
    size_t bytes;
    assert_int_equal(dn_memory_place(regions, 0, 4, &bytes), DN_OK);
    assert_int_equal(regions[1].offset, 0);    /* the largest first */
    assert_int_equal(regions[0].offset, 1024); /* meets it */
    assert_int_equal(regions[2].offset, 1024); /* meets it, but not `a` */
    assert_int_equal(regions[3].offset, 1152); /* meets all */
    assert_int_equal(bytes, 1216);
}

/* What has its place stays there, and others go around it. */
static void test_fixed(void **state)
{
    dn_region_info regions[] = {
        {.name = "a", .bytes = 64, .first = 7, .last = 9},
        {.name = "b", .offset = 64, .bytes = 64, .first = 4, .last = 9},
        {.name = "c", .bytes = 128, .first = 0, .last = 5},
        {.name = "d", .bytes = 64, .first = 0, .last = 6},
    };
    size_t bytes;
    assert_int_equal(dn_memory_place(regions, 2, 4, &bytes), DN_OK);
    assert_int_equal(regions[0].offset, 0);
    assert_int_equal(regions[1].offset, 64);
    assert_int_equal(regions[2].offset, 128); /* meets b */
    assert_int_equal(regions[3].offset, 0);   /* does not meet a */
    assert_int_equal(bytes, 256);
}

static dn_net *create(const char *model, int channels, int size, int classes,
                      const dn_net_options *options)
{
    return net_of(model, (net_images){channels, size, size, classes}, dn_kernels_get(0), options);
}

static const dn_region_info *find_region(const dn_net *net, const void *address, int time)
{
    const dn_region_info *found = NULL;
    for (int i = 0; i < net->view.region_count; i++) {
        const dn_region_info *region = &net->regions[i];
        if ((const char *)address == (const char *)net->arena + region->offset &&
            region->first <= time && time <= region->last && region->bytes > 0) {
            assert_null(found); /* or two live regions would begin here */
            found = region;
        }
    }
    return found;
}

/* A map's data or gradient is a region that lives at the time of the visit. */
static void check_map(const dn_net *net, const dn_visit *v, const dn_feature_map *map,
                      const void *data, const void *gradient)
{
    if (map == NULL)
        return;
    const size_t elements = (size_t)map->layout.strips * (size_t)map->channels * map->layout.stride;
    const dn_region_info *region = find_region(net, data, v->time);
    assert_true(region && region->bytes >= elements * map->element);
    if (!v->backward)
        return;
    region = find_region(net, gradient, v->time);
    assert_true(region && region->bytes >= elements * map->element);
}

/* What a visit is handed lives when it runs. */
static void check_visit(const dn_net *net, const dn_visit *v)
{
    check_map(net, v, v->in, v->x, v->dx);
    check_map(net, v, v->out, v->y, v->dy);
    if (!v->packed && !v->partial && !v->wgrad) /* such as an average pool backward */
        return;
    const dn_region_info *workspace = find_region(net, v->workspace, v->time);
    assert_true(workspace && workspace->first == v->time && workspace->last == v->time);
}

static void check_visits(const dn_net *net)
{
    for (int t = 0; t <= dn_net_last_time(net); t++) {
        const dn_visit *v = &net->visits[t], *input = v->before;
        check_visit(net, v);
        if (input != NULL) {
            check_visit(net, input);
            assert_true(input->y == v->x && input->time == t);
        }
    }
}

static void check_net(const char *model, int size, const dn_net_options *options)
{
    dn_net *net = create(model, 3, size, 10, options);
    const int count = net->view.region_count;
    const size_t bytes = net->view.arena_bytes;
    assert_true(count > 10);
    check_regions(model, net->regions, count, bytes);
    assert_int_equal((uintptr_t)net->arena % ALIGNMENT, 0);
    const size_t least = least_bytes(net->regions, count);
    if (bytes > least + least / 8)
        fail_msg("%s, batch %d: found %zu bytes, and at most %zu live at a time", model,
                 options->batch, bytes, least);
    check_visits(net);
    dn_net_destroy(&net);
}

static void test_nets(void **state)
{
    static const struct {
        const char *model;
        int size;
    } nets[] = {{"densenet-bc-100-12", 32},
                {"densenet-40-12", 33},
                {"densenet121", 224},
                {"densenet264", 64},
                {"fashion-mnist-tiny", 28}};
    static const int batches[] = {1, 5, 64};
    for (size_t n = 0; n < sizeof nets / sizeof nets[0]; n++)
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++)
            for (int kind = 0; kind < 6; kind++) {
                const dn_net_options options = {.batch = batches[b],
                                                .train = kind % 3 > 0,
                                                .recompute = kind % 3 > 1,
                                                .dtype = kind < 3 ? DN_FP32 : DN_BF16};
                check_net(nets[n].model, nets[n].size, &options);
            }
}

static void test_parameters(void **state)
{
    static const struct {
        const char *model;
        int channels, size, classes;
        size_t expected;
    } nets[] = {
        {"densenet121", 3, 224, 1000, 7978856},        {"densenet161", 3, 224, 1000, 28681000},
        {"densenet169", 3, 224, 1000, 14149480},       {"densenet201", 3, 224, 1000, 20013928},
        {"densenet264", 3, 224, 1000, 33337704},       {"densenet-bc-100-12", 3, 32, 10, 769162},
        {"densenet-40-12", 3, 32, 10, 1019722},        {"densenet-100-12", 3, 32, 10, 6979642},
        {"densenet-100-24", 3, 32, 10, 27249082},      {"densenet-bc-250-24", 3, 32, 10, 15324406},
        {"densenet264-k48", 3, 224, 1000, 72686632},   {"densenet-bc-40-48", 3, 32, 10, 2733130},
        {"densenet121-plain", 3, 224, 1000, 10867048}, {"densenet-course", 3, 32, 10, 114394},
        {"densenet-bc-190-40", 3, 32, 10, 25624430},   {"fashion-mnist-tiny", 1, 28, 10, 18490},
    };
    const dn_net_options options = {.batch = 1, .train = 1};
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        dn_net *net =
            create(nets[i].model, nets[i].channels, nets[i].size, nets[i].classes, &options);
        if (net->view.parameter_count != nets[i].expected)
            fail_msg("%s: expected %zu parameters, found %zu", nets[i].model, nets[i].expected,
                     net->view.parameter_count);
        dn_net_destroy(&net);
    }
}

/* The tensors tile the flat arrays, and the layers' parameters add up to the net's. */
static void test_tensors(void **state)
{
    const dn_net_options options = {.batch = 1, .train = 1};
    for (int m = 0; dn_spec_name(m); m++) {
        dn_net *net = create(dn_spec_name(m), 3, 64, 10, &options);
        const dn_tensor *tensors = net->tensors;
        const size_t parameters = net->view.parameter_count, running = net->view.running_count;
        unsigned char *covered = calloc(parameters + running, 1);
        size_t total = 0, layers = 0;
        assert_non_null(covered);
        for (int t = 0; t < net->view.tensor_count; t++) {
            const int is_running = !dn_is_parameter(&tensors[t]);
            const size_t offset = tensors[t].offset + (is_running ? parameters : 0);
            assert_true(tensors[t].offset + tensors[t].count <=
                        (is_running ? running : parameters));
            assert_null(memchr(covered + offset, 1, tensors[t].count));
            memset(covered + offset, 1, tensors[t].count);
            total += tensors[t].count;
        }
        assert_int_equal(total, parameters + running);
        for (int l = 0; l < net->layer_count; l++) {
            dn_layer_info info;
            dn_net_layer_info(net, l, &info);
            layers += info.parameters;
        }
        assert_int_equal(layers, parameters);
        free(covered);
        dn_net_destroy(&net);
    }
}

/* By hand: 16 images of 32x32, DenseNet-BC's first layers in fp32 and bf16. */
static void test_work(void **state)
{
    const double pixels = 16 * 1024, weights = 24 * 48;
    for (int dtype = DN_FP32; dtype < DN_DTYPES; dtype++)
        for (int recompute = 0; recompute < 2; recompute++) {
            const dn_net_options options = {
                .batch = 16, .train = 1, .plan_only = 1, .dtype = dtype, .recompute = recompute};
            const double element = (double)dn_dtype_size((dn_dtype)dtype);
            dn_net *net = create("densenet-bc-100-12", 3, 32, 10, &options);
            dn_layer_info layers[3];
            for (int i = 0; i < 3; i++)
                dn_net_layer_info(net, i, &layers[i]);
            assert_string_equal(dn_phase_name(layers[0].phase), "stem");
            assert_string_equal(dn_phase_name(layers[1].phase), "conv1x1");
            assert_string_equal(dn_phase_name(layers[2].phase), "conv3x3");
            const dn_layer_work stem = layers[0].backward, first = layers[1].forward;
            const dn_layer_work backward = layers[1].backward, second = layers[2].backward;
            assert_true(stem.flops == 2 * 27 * 24 * pixels);
            assert_true(first.flops == 2 * weights * pixels && backward.flops == 2 * first.flops);
            assert_true(first.bytes == (24 + 48) * pixels * element + 4 * weights);
            /* Its input has later readers, which wrote the gradient that it adds to. */
            assert_true(backward.bytes == pixels * (48 * 2 + 24 * 3) * element + 12 * weights);
            /* The only reader of its input; recomputed, that is the first layer's work too. */
            assert_true(second.flops == 4 * 9 * 48 * 12 * pixels + recompute * first.flops);
            assert_true(second.bytes == pixels * (12 + 48) * 2 * element + 12 * 9 * 48 * 12 +
                                            recompute * first.bytes);
            dn_net_destroy(&net);
        }
}

/* Maps that densenet264 recomputes, of its stem's and 6 + 12 + 64 + 48 bottleneck maps. */
static int count_recomputed(int batch, int recompute)
{
    const dn_net_options options = {
        .batch = batch, .train = 1, .plan_only = 1, .recompute = recompute};
    dn_net *net = create("densenet264", 3, 224, 1000, &options);
    int count = 0;
    for (int m = 0; m < net->map_count; m++)
        count += net->maps[m].recomputed;
    dn_net_destroy(&net);
    return count;
}

/* Where weights outweigh the maps, those of the stem and the first block and some more; else as
 * asked. */
static void test_recomputed(void **state)
{
    const int cheap = count_recomputed(8, 0);
    assert_in_range(cheap, 1 + 6, 1 + 6 + 12 + 6);
    assert_int_equal(count_recomputed(8, 1), 1 + 6 + 12 + 64 + 48);
    assert_int_equal(count_recomputed(32, 0), 0);
}

/* A net whose last block has maps of one pixel trains on more than one value a channel only. */
static void test_one_value(void **state)
{
    static const struct {
        dn_net_options options;
        dn_status status;
    } cases[] = {
        {{.batch = 1, .train = 1}, DN_ESHAPE},
        {{.batch = 1, .train = 1, .norm_group = 1}, DN_ESHAPE},
        {{.batch = 1, .train = 1, .norm_group = 2}, DN_OK},
        {{.batch = 2, .train = 1}, DN_OK},
        {{.batch = 1}, DN_OK},
        {{.batch = 1, .train = 1, .plan_only = 1}, DN_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dn_spec spec;
        dn_net *net;
        assert_int_equal(dn_spec_parse(&spec, "blocks=1,1:growth=4"), DN_OK);
        spec.height = spec.width = 3;
        assert_int_equal(dn_net_create(&net, &spec, dn_kernels_get(0), &cases[i].options),
                         cases[i].status);
        assert_true((net != NULL) == (cases[i].status == DN_OK));
        if (net == NULL)
            assert_non_null(strstr(dn_message(), "features.denseblock2.denselayer1.norm1: found a "
                                                 "batch norm over one value"));
        dn_net_destroy(&net);
    }
}

/* Where small maps have few pieces, all of many threads have a task nonetheless, and most where
 * there are but one or two. */
static void test_threads(void **state)
{
    enum { THREADS = 16, MOST_THREADS = 11 };
    static const struct {
        const char *model;
        int size, batch;
    } cases[] = {{"densenet264", 224, 16}, {"densenet121", 32, 256}};
    if (dn_kernels_get(1) == NULL)
        skip(); /* a BLAS's sums may follow from the cut */
    omp_set_num_threads(THREADS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dn_net *net = net_of(
            cases[i].model, (net_images){3, cases[i].size, cases[i].size, 10}, dn_kernels_get(1),
            &(dn_net_options){.batch = cases[i].batch, .train = 1, .plan_only = 1});
        for (int t = 0; t < 2 * net->layer_count; t++) {
            const dn_visit *v = &net->visits[t];
            const int pieces = v->out != NULL ? v->out->layout.pieces : THREADS;
            const int backward = v->slices * v->ranges + v->apart * pieces * v->ranges;
            const int tasks = v->backward ? backward : pieces * v->parts;
            if (v->backward && v->slices == 0) /* loops of its own */
                continue;
            if (tasks < (pieces > 2 ? THREADS : MOST_THREADS))
                fail_msg("%s, %s, %s: %d tasks", cases[i].model, v->layer->name,
                         v->backward ? "backward" : "forward", tasks);
        }
        dn_net_destroy(&net);
    }
}

/* Blocks that the busiest thread has where each takes a task as it becomes free; and of all. */
static int busiest_thread(const dn_visit *v, int *all)
{
    int busy[MANY_THREADS] = {0}, busiest = 0;
    *all = 0;
    for (int i = 0; i < v->slices * v->ranges; i++) {
        const dn_task task = dn_task_of_range(v, i / v->slices);
        const int blocks = (task.end - task.first + v->channel_block - 1) / v->channel_block;
        int next = 0;
        for (int t = 1; t < v->threads; t++)
            next = busy[t] < busy[next] ? t : next;
        busy[next] += blocks;
        busiest = busy[next] > busiest ? busy[next] : busiest;
        *all += blocks;
    }
    return busiest;
}

/* Backward tasks share out among threads of numbers that are no power of two. */
static void test_balance(void **state)
{
    static const struct {
        const char *model;
        int size, batch;
    } cases[] = {{"densenet121", 224, 16}, {"densenet-bc-100-12", 32, 256}};
    static const int threads[] = {3, 6, 12, 20, MANY_THREADS};
    for (size_t i = 0; i < 2 * sizeof threads / sizeof threads[0]; i++) {
        const dn_net_options options = {.batch = cases[i % 2].batch, .train = 1, .plan_only = 1};
        double done = 0, taken = 0;
        omp_set_num_threads(threads[i / 2]);
        dn_net *net = create(cases[i % 2].model, 3, cases[i % 2].size, 10, &options);
        for (int t = net->layer_count; t < 2 * net->layer_count; t++) {
            const dn_visit *v = &net->visits[t];
            dn_layer_info info;
            int all;
            if (v->slices == 0 || v->apart)
                continue;
            const double busiest = busiest_thread(v, &all);
            dn_net_layer_info(net, v->layer->index, &info);
            done += info.backward.flops;
            taken += info.backward.flops * busiest * v->threads / all;
        }
        if (done < 0.9 * taken)
            fail_msg("%s, %d threads: found %.2f of their time used, expected 0.9",
                     cases[i % 2].model, threads[i / 2], done / taken);
        dn_net_destroy(&net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_plan),   cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_random_plans), cmocka_unit_test(test_nets),
        cmocka_unit_test(test_parameters),   cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_work),         cmocka_unit_test(test_recomputed),
        cmocka_unit_test(test_one_value),    cmocka_unit_test(test_threads),
        cmocka_unit_test(test_balance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
