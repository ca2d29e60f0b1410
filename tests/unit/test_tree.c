/*
 * The summation tree: its shape, and that a rank's subtrees have the same bits as the tree
 * evaluated by its definition, for every number of ranks.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/tree.h"
#include "tree_sum.h"
#include "unit.h"

enum { MAX_V = 40, COUNT = 37 };

static void fill_leaf(float *x, int leaf)
{
    for (size_t i = 0; i < COUNT; i++)
        x[i] = leaf_value(leaf, i);
}

/* Whether [lo, hi) is a node of the tree below [a, b). */
static int is_node(int a, int b, int lo, int hi)
{
    if (a == lo && b == hi)
        return 1;
    if (b - a < 2)
        return 0;
    const int middle = dn_tree_split(a, b);
    return hi <= middle ? is_node(a, middle, lo, hi) : is_node(middle, b, lo, hi);
}

static void test_split(void **state)
{
    const int expected[][3] = {{0, 2, 1}, {0, 3, 2}, {0, 4, 2}, {0, 6, 4},
                               {4, 6, 5}, {0, 8, 4}, {0, 9, 8}, {3, 16, 11}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(dn_tree_split(expected[i][0], expected[i][1]), expected[i][2]);
    assert_int_equal(dn_tree_split(0, INT32_MAX), 1 << 30);
}

static void test_ranges(void **state)
{
    for (int v = 1; v <= MAX_V; v++) {
        for (int ranks = 1; ranks <= v; ranks++) {
            assert_int_equal(dn_share_begin(v, ranks, 0), 0);
            assert_int_equal(dn_share_begin(v, ranks, ranks), v);
            for (int r = 0; r < ranks; r++)
                assert_true(dn_share_begin(v, ranks, r) < dn_share_begin(v, ranks, r + 1));
        }
    }
    assert_int_equal(dn_share_begin(1 << 20, 1 << 16, (1 << 16) - 1), (1 << 20) - 16);
}

static void test_sum(void **state)
{
    const double x[] = {0x1p60, 1, -0x1p60, 1, 3}, y[] = {1, 7, 2, 7, 3, 7};
    assert_true(dn_tree_sum(x, 0, 1) == 0);
    assert_true(dn_tree_sum(x, 1, 1) == 0x1p60);
    assert_true(dn_tree_sum(x, 5, 1) == ((0x1p60 + 1) + (-0x1p60 + 1)) + 3);
    assert_true(dn_tree_sum(y, 3, 2) == 6);
}

/* Pushes the leaves; the last in ranges of `range` floats. */
static void push_all(dn_tree *tree, float *leaf, int first, int last, size_t range)
{
    dn_tree_reset(tree);
    for (int i = first; i < last - 1; i++) {
        fill_leaf(leaf, i);
        dn_tree_push(tree, 0, COUNT);
    }
    fill_leaf(leaf, last - 1);
    for (size_t begin = 0; begin < COUNT; begin += range)
        dn_tree_push(tree, begin, begin + range < COUNT ? begin + range : COUNT);
}

/* Checks the subtrees of the leaves [first, last) of v: they are nodes of the tree, tile the range,
 * are as large as possible, and have the right sums. */
static void check_part(int v, int first, int last, size_t round)
{
    dn_tree *tree = NULL;
    float leaf[COUNT];
    assert_int_equal(dn_tree_create(&tree, v, first, last, leaf, COUNT, round), DN_OK);
    const dn_subtree *subtree;
    for (size_t range = 10; range < 100; range += 80) {
        push_all(tree, leaf, first, last, range);
        const int held = dn_tree_subtrees(tree, &subtree);
        for (int s = 0, next = first; s < held; next = subtree[s++].hi) {
            assert_int_equal(subtree[s].lo, next);
            assert_true(is_node(0, v, next, subtree[s].hi));
            for (int hi = subtree[s].hi + 1; hi <= last; hi++)
                assert_false(is_node(0, v, next, hi));
            for (size_t i = 0; i < COUNT; i++)
                assert_true(subtree[s].sum[i] == tree_sum(next, subtree[s].hi, i, round));
        }
        assert_int_equal(subtree[held - 1].hi, last);
        assert_ptr_equal(subtree[held - 1].sum, leaf);
    }
    dn_tree_destroy(&tree);
    assert_null(tree);
    dn_tree_destroy(&tree);
}

static void test_subtrees(void **state)
{
    for (int v = 1; v <= MAX_V; v++)
        for (int first = 0; first < v; first++)
            for (int last = first + 1; last <= v; last++)
                check_part(v, first, last, 0);
}

static void test_rounding(void **state)
{
    check_part(13, 0, 13, COUNT);
    check_part(16, 3, 15, 20);
    float x[] = {NAN, INFINITY, -INFINITY, 3.4e38f, -0.0f, 1 + 0x1p-8f, 1 + 0x1.8p-7f, 0x1p-140f};
    const uint32_t all_ones = 0x7fffffffu;
    memcpy(x, &all_ones, sizeof x[0]);
    dn_tree_round(x, sizeof x / sizeof *x);
    assert_true(isnan(x[0]));
    assert_true(x[1] == INFINITY && x[2] == -INFINITY && x[3] == INFINITY);
    assert_true(x[4] == 0 && signbit(x[4]));
    assert_true(x[5] == 1 && x[6] == 1 + 0x1p-6f && x[7] == 0);
}

static void test_long_vectors(void **state)
{
    const size_t count = 200003;
    float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
    assert_true(a != NULL && b != NULL);
    for (size_t i = 0; i < count; i++) {
        a[i] = leaf_value(1, i);
        b[i] = leaf_value(2, i);
    }
    dn_tree_add(a, b, count);
    for (size_t i = 0; i < count; i++)
        assert_true(a[i] == leaf_value(1, i) + leaf_value(2, i));
    free(a);
    free(b);
}

static void test_errors(void **state)
{
    dn_tree *tree = NULL;
    assert_int_equal(dn_tree_create(&tree, 4, 2, 2, NULL, 8, 0), DN_EINVAL);
    assert_int_equal(dn_tree_create(&tree, 4, 2, 5, NULL, 8, 0), DN_EINVAL);
    assert_null(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),    cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_sum),      cmocka_unit_test(test_subtrees),
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_long_vectors),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
