/*
 * Red zones of working memory (src/layers/scratch.h): every part that a layer describes is large
 * enough, and at most a vector too large. Each part in turn is made a vector shorter, in a process
 * of its own, which the sanitizer must then end; if no shape uses the last vector of a part, the
 * part is too large.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/model.h"
#include "small_net.h"
#include "kernel_tables.h"
#include "unit.h"

#if DN_RED_ZONES && defined(__SANITIZE_ADDRESS__)

/* Each kind of layer, over shapes with pieces of one image and of several. */
static const net_case cases[] = {
    {"blocks=2,1:growth=12:bottleneck=4:stem-channels=16", 3, 16, 16, 10, 16, 0, 0, DN_FP32},
    {"blocks=2,1:growth=12:bottleneck=0:stem-channels=16", 3, 40, 40, 10, 2, 0, 0, DN_FP32},
    {"blocks=1,1:growth=8:bottleneck=2:stem=imagenet:stem-channels=16", 3, 132, 132, 10, 3, 0, 0,
     DN_FP32},
    {"blocks=1,1:growth=8:stem-channels=8:head-norm=0:head-pool=3", 3, 20, 34, 10, 4, 0.1F, 0,
     DN_BF16},
    {"blocks=1,1:growth=8:bottleneck=2:stem=7x7:stem-channels=8", 1, 28, 28, 70, 16, 0, 0, DN_BF16},
    {"blocks=1,1:growth=8:bottleneck=2:stem=7x7:stem-channels=8", 1, 60, 60, 10, 16, 0, 0, DN_FP32},
};

enum { CASES = sizeof cases / sizeof *cases, MOST_PARTS = 8 };

/* The part that is made a vector shorter: n > 0 is part n of a thread's scratch, -n part n of the
 * workspace, KEPT the memory kept from forward to backward. */
enum { KEPT = MOST_PARTS };

static void shorten_kept(dn_net *net, const dn_layer *layer)
{
    for (int i = 0; i < net->view.region_count; i++)
        if ((char *)net->arena + net->regions[i].offset == (char *)layer->kept &&
            strcmp(net->regions[i].name, layer->name) == 0)
            net->regions[i].bytes -= DN_LINE_BYTES;
}

/* Runs a step in which `part` is a vector shorter in the visits of `kind` in one direction; the
 * exit status is 0 if that was not detected. */
static int run_short(const net_case *c, const dn_kernels *kernels, const dn_layer_kind *kind,
                     int backward, int part)
{
    const pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        dn_net *net = net_make(c, kernels);
        net_draw_all(net, DRAW_PLAIN, 1);
        for (int t = 0; t < 2 * net->layer_count; t++) {
            dn_visit *v = &net->visits[t];
            if (v->layer->kind != kind || v->backward != backward)
                continue;
            v->short_part = part;
            if (part == KEPT)
                shorten_kept(net, v->layer);
        }
        net_step(net, &(dn_pass){.seed = 1});
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* 1: the kind has such a part in this case and direction. */
static int has_part(const net_case *which, const dn_kernels *kernels, const dn_layer_kind *kind,
                    int backward, int part)
{
    dn_net *net = net_make(which, kernels);
    int has = 0;
    for (int t = 0; t < 2 * net->layer_count && !has; t++) {
        dn_visit v = net->visits[t];
        dn_carver c = {0};
        if (v.layer->kind != kind || v.backward != backward)
            continue;
        if (part > 0)
            kind->scratch(&v, &c);
        else
            dn_visit_carve(&v, &c);
        has = part == KEPT ? kind->kept != NULL : abs(part) <= c.part;
    }
    dn_net_destroy(&net);
    return has;
}

/* Checks one kind in one direction: each part must be detected in one of the cases. Returns the
 * number of those that are not. */
static int check_kind(const dn_kernels *kernels, const dn_layer_kind *kind, int backward)
{
    int failures = 0;
    for (int part = -MOST_PARTS; part <= KEPT; part++) {
        int exists = 0, noticed = 0;
        for (int i = 0; i < CASES && part != 0 && !noticed; i++) {
            const int has = has_part(&cases[i], kernels, kind, backward, part);
            exists |= has;
            noticed = has && run_short(&cases[i], kernels, kind, backward, part) != 0;
        }
        if (!exists || noticed)
            continue;
        print_error("%s: part %d of %s (%s), %s, is too large\n", kernels->name, part, kind->name,
                    kind->phase, backward ? "backward" : "forward");
        failures++;
    }
    return failures;
}

static int has_kind(const dn_kernels *kernels, const dn_layer_kind *kind)
{
    for (int i = 0; i < CASES; i++)
        if (has_part(&cases[i], kernels, kind, 0, 1))
            return 1;
    return 0;
}

/* Every kind with operands of floats and of bf16, as far as the tables have it: a 3x3 goes by
 * Winograd or, beside AMX tiles, tap by tap. Registers of DN_LANES floats reach as far as any may;
 * without AVX-512 they are pairs. */
static void test_short_parts(void **state)
{
    static const char *const names[] = {"wide", "dot_twin", "amx_twin"};
    enum { NAMES = sizeof names / sizeof *names };
    int failures = 0;
    if (dn_test_table("wide") == NULL)
        skip();
    for (int k = 0; dn_layer_kind_get(k) != NULL; k++) {
        const dn_layer_kind *kind = dn_layer_kind_get(k);
        int tables = 0;
        for (int t = 0; t < NAMES; t++) {
            const dn_kernels *kernels = dn_test_table(names[t]);
            if (!has_kind(kernels, kind))
                continue;
            tables++;
            for (int backward = 0; backward < 2; backward++)
                failures += check_kind(kernels, kind, backward);
        }
        if (tables == 0)
            fail_msg("no case has a layer of %s (%s)", kind->name, kind->phase);
    }
    assert_int_equal(failures, 0);
}

static void test_whole_parts(void **state)
{
    for (int threads = 17; threads > 0; threads -= 16) { /* many cut further */
        omp_set_num_threads(threads);
        for (int i = 0; i < CASES; i++)
            for (int k = 0; dn_kernels_get(k) != NULL; k++)
                assert_int_equal(run_short(&cases[i], dn_kernels_get(k), NULL, 0, 0), 0);
    }
}

int main(void)
{
    omp_set_num_threads(1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole_parts),
                                       cmocka_unit_test(test_short_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* Without the sanitizer: parts stand in order, on cache lines, and measuring equals handing out. */
static void test_carving(void **state)
{
    static _Alignas(64) char room[1024];
    dn_carver measure = {0}, hand_out = {.memory = room};
    static const size_t floats[] = {1, 16, 0, 17, 40};
    const char *end = room;
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        assert_null(dn_carve_floats(&measure, floats[i]));
        const char *part = (const char *)dn_carve_floats(&hand_out, floats[i]);
        assert_int_equal(measure.bytes, hand_out.bytes);
        if (floats[i] == 0)
            continue;
        assert_true(part >= end && (part - room) % 64 == 0);
        end = part + floats[i] * sizeof(float);
    }
    assert_true(end <= room + hand_out.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_carving)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
