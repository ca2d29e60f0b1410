/* Weights in safetensors: round trips, another number of classes, and files that are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"
#include "dn/weights.h"
#include "small_net.h"
#include "trial_files.h"
#include "unit.h"

#define MODEL "blocks=1,1:growth=2:bottleneck=2:stem=imagenet:stem-channels=3"

static const char path[] = "weights"; /* in the current folder */

static dn_net *make_net(int classes, uint64_t seed)
{
    dn_net *const net = net_of(MODEL, (net_images){3, 16, 16, classes}, dn_kernels_get(0),
                               &(dn_net_options){.batch = 1});
    dn_net_init(net, DN_INIT_KAIMING, seed);
    return net;
}

static void save(const dn_net *net)
{
    static const char *const names[] = {"a", "b \"c\"", "d", "e"};
    const dn_manifest data = {.info = {.dataset = "SET",
                                       .channels = 3,
                                       .height = 20,
                                       .width = 30,
                                       .classes = 4,
                                       .mean = {0.5, -0.1, 0},
                                       .std = {1, 1, 1}},
                              .class_names = names};
    assert_int_equal(dn_safetensors_save(path, net,
                                         &(dn_weights_about){.step = 7,
                                                             .data = &data,
                                                             .eval_transform = "resize:16",
                                                             .weights = "average"}),
                     DN_OK);
}

static const float *values(const dn_net *net, const dn_tensor *t)
{
    const dn_view view = dn_net_view(net);
    return (dn_is_parameter(t) ? view.parameters : view.running) + t->offset;
}

static void test_round_trip(void **state)
{
    dn_net *from = make_net(4, 1), *to = make_net(4, 2);
    int classes = -1;
    save(from);
    assert_int_not_equal(dn_net_hash(from), dn_net_hash(to));
    assert_int_equal(dn_safetensors_load(to, path, &classes), DN_OK);
    assert_int_equal(classes, 0);
    assert_int_equal(dn_net_hash(from), dn_net_hash(to));
    dn_net_destroy(&from);
    dn_net_destroy(&to);
}

static void test_metadata(void **state)
{
    dn_net *net = make_net(4, 1);
    dn_weights_metadata told;
    save(net);
    dn_net_destroy(&net);
    assert_int_equal(dn_safetensors_metadata(path, &told), DN_OK);
    assert_string_equal(told.model, MODEL);
    assert_string_equal(told.eval_transform, "resize:16");
    assert_string_equal(told.weights, "average");
    assert_true(told.size == 16 && told.step == 7 && told.channels == 3 && told.classes == 4);
    assert_non_null(told.data);
    const dn_data_info *const info = &told.data->info;
    assert_string_equal(info->dataset, "SET");
    assert_true(info->height == 20 && info->width == 30 && info->classes == 4);
    assert_true(info->mean[1] == -0.1 && info->std[2] == 1);
    assert_string_equal(told.data->class_names[1], "b \"c\"");
    free(told.data);
}

static void test_other_classes(void **state)
{
    dn_net *from = make_net(4, 1), *to = make_net(6, 2), *fresh = make_net(6, 2);
    const dn_view view = dn_net_view(to);
    int classes;
    save(from);
    assert_int_equal(dn_safetensors_load(to, path, &classes), DN_OK);
    assert_int_equal(classes, 4);
    for (int i = 0; i < view.tensor_count; i++) {
        const dn_tensor *const t = &view.tensors[i];
        const dn_net *const expected = t->is_head ? fresh : from;
        const dn_tensor *const theirs = &dn_net_view(expected).tensors[i];
        assert_memory_equal(values(to, t), values(expected, theirs), t->count * sizeof(float));
    }
    dn_net_destroy(&from);
    dn_net_destroy(&to);
    dn_net_destroy(&fresh);
}

static void test_other_shapes(void **state)
{
    dn_net *from = make_net(4, 1);
    dn_net *to =
        net_of("blocks=1,1:growth=2:bottleneck=2:stem=imagenet:stem-channels=5",
               (net_images){3, 16, 16, 4}, dn_kernels_get(0), &(dn_net_options){.batch = 1});
    int classes;
    save(from);
    assert_int_equal(dn_safetensors_load(to, path, &classes), DN_ESHAPE);
    assert_non_null(strstr(dn_message(), "features.conv0.weight: found shape (3, 3, 7, 7), "
                                         "expected (5, 3, 7, 7)"));
    dn_net_destroy(&from);
    dn_net_destroy(&to);
}

/* Neither tensor of the head may have 0 classes. */
static void test_no_classes(void **state)
{
    dn_net *from = make_net(4, 1), *to = make_net(4, 2);
    const dn_view view = dn_net_view(from);
    const uint64_t before = dn_net_hash(to);
    for (int head = view.tensor_count - 2; head < view.tensor_count; head++) {
        dn_named_tensor *const tensors = calloc((size_t)view.tensor_count, sizeof *tensors);
        int classes;
        assert_non_null(tensors);
        for (int i = 0; i < view.tensor_count; i++) {
            const dn_tensor *const t = &view.tensors[i];
            snprintf(tensors[i].name, sizeof tensors[i].name, "%s", t->name);
            tensors[i].dims = t->dims;
            tensors[i].values = values(from, t);
            for (int side = 0; side < t->dims; side++)
                tensors[i].shape[side] = t->shape[side];
        }
        assert_non_null(strstr(tensors[head].name, "classifier."));
        tensors[head].shape[0] = 0;
        assert_int_equal(dn_weights_take(to, "file", tensors, view.tensor_count, &classes),
                         DN_ESHAPE);
        assert_non_null(strstr(dn_message(), "found shape (0"));
        assert_true(dn_net_hash(to) == before);
        free(tensors);
    }
    dn_net_destroy(&from);
    dn_net_destroy(&to);
}

/* ---- forged files ---- */

typedef struct forgery {
    const char *header; /* NULL: `bytes` zeros alone */
    int bytes;          /* after it */
    const char *message;
} forgery;

#define F32(shape, begin, end)                                                                     \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static const forgery forgeries[] = {
    {NULL, 7, "found neither a checkpoint nor safetensors"},
    {NULL, 200, "found neither a checkpoint nor safetensors"},
    {"", 8, "found neither a checkpoint nor safetensors"},
    {"[]", 8, "found neither a checkpoint nor safetensors"},
    {"{\"a\":", 8, "not valid JSON"},
    {"{\"a\":" F32("[2]", 0, 8) ",\"a\":" F32("[2]", 0, 8) "}", 8, "duplicate"},
    {"{\"a\":7}", 8, "a: expected dtype, shape and data_offsets"},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8, "dtype F8_E4M3"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":8,\"data_offsets\":[0,8]}}", 8, "a: found no shape"},
    {"{\"a\":" F32("[-2]", 0, 8) "}", 8, "whole numbers of 0 or more"},
    {"{\"a\":" F32("[1.5]", 0, 8) "}", 8, "whole numbers of 0 or more"},
    {"{\"a\":" F32("[4611686018427387904,4]", 0, 8) "}", 8, "more than the file's 8 bytes"},
    {"{\"a\":" F32("[0,4611686018427387904]", 0, 8) "}", 8, "found 8 bytes, expected those of 0"},
    {"{\"a\":" F32("[3]", 0, 8) "}", 8, "found 8 bytes, expected those of 3 x F32"},
    {"{\"a\":" F32("[2]", 0, 9) "}", 9, "found 9 bytes, expected those of 2 x F32"},
    {"{\"a\":" F32("[2]", 0, 80) "}", 8, "data_offsets in order, within the 8 bytes"},
    {"{\"a\":" F32("[2]", 8, 0) "}", 8, "data_offsets in order"},
    {"{\"a\":" F32("[2]", -8, 0) "}", 8, "data_offsets in order"},
    {"{\"a\":" F32("[2]", 0, 8) ",\"b\":" F32("[2]", 4, 12) "}", 12, "b: found its bytes from 4"},
    {"{\"a\":" F32("[2]", 0, 8) ",\"b\":" F32("[2]", 12, 20) "}", 20, "b: found its bytes from 12"},
    {"{\"a\":" F32("[2]", 0, 8) "}", 9, "found 9 bytes after the header, expected the tensors' 8"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: a: expected a text"},
    {"{\"__metadata__\":[]}", 0, "__metadata__: expected texts"},
    {"{\"a\":" F32("[2]", 0, 8) "}", 8, "found no tensor features.conv0.weight"},
    {"{\"a\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, "a: found dtype I64"},
    {"{\"a\":" F32("[1,1,1,1,2]", 0, 8) "}", 8, "a: found 5 dimensions"},
    {"{}", 0, "found no tensor features.conv0.weight"},
};

static void write_forgery(const forgery *f)
{
    uint8_t bytes[1024] = {0};
    const size_t length = f->header ? strlen(f->header) : 0;
    bytes[0] = length & 255;
    bytes[1] = (uint8_t)(length >> 8);
    if (f->header)
        memcpy(bytes + 8, f->header, length);
    assert_int_equal(dn_file_write(path, bytes, (f->header ? 8 + length : 0) + (size_t)f->bytes),
                     DN_OK);
}

/* Metadata of other programs that do not describe a data set completely are ignored. */
static void test_other_metadata(void **state)
{
    static const char good[] = "\"classes\":\"[\\\"a\\\"]\",\"mean\":\"[0]\",";
    static const char *const others[] = {
        "",
        "\"records\":\"1x8x8\",\"std\":\"[0]\"",
        "\"records\":\"1x8x8\",\"std\":\"[1,1]\"",
        "\"records\":\"1x8x8\",\"std\":\"[1\"",
        "\"records\":\"1x8x0\",\"std\":\"[1]\"",
        "\"records\":\"5x8x8\",\"std\":\"[1]\"",
        "\"records\":\"1x8x8\",\"std\":\"[1]\"", /* complete */
    };
    const size_t count = sizeof others / sizeof *others;
    for (size_t i = 0; i < count; i++) {
        char header[256];
        dn_weights_metadata told;
        snprintf(header, sizeof header, "{\"__metadata__\":{%s\"model\":\"m\"%s%s}}", good,
                 i ? "," : "", others[i]);
        write_forgery(&(forgery){header, 0, ""});
        assert_int_equal(dn_safetensors_metadata(path, &told), DN_OK);
        assert_string_equal(told.model, "m");
        assert_int_equal(told.data != NULL, i == count - 1);
        free(told.data);
    }
}

static void test_forgeries(void **state)
{
    dn_net *net = make_net(4, 1);
    int classes;
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        write_forgery(&forgeries[i]);
        assert_int_not_equal(dn_safetensors_load(net, path, &classes), DN_OK);
        if (strstr(dn_message(), forgeries[i].message) == NULL)
            fail_msg("%s: found \"%s\", expected \"%s\"", forgeries[i].header, dn_message(),
                     forgeries[i].message);
    }
    dn_net_destroy(&net);
}

/* Each of the 8 bytes of the header's length may make it longer than the file. */
static void test_header_lengths(void **state)
{
    dn_net *net = make_net(4, 1);
    int classes;
    for (int byte = 0; byte < 8; byte++) {
        uint8_t bytes[64] = {0};
        bytes[byte] = 255;
        bytes[8] = '{';
        assert_int_equal(dn_file_write(path, bytes, sizeof bytes), DN_OK);
        assert_int_equal(dn_safetensors_load(net, path, &classes), DN_ECORRUPT);
    }
    assert_int_equal(dn_file_write(path, "PK\3\4 zip", 8), DN_OK);
    assert_int_equal(dn_safetensors_load(net, path, &classes), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "pth_to_safetensors.py"));
    dn_net_destroy(&net);
}

/* Numbers that are not finite, and negative variances. */
static void test_bad_numbers(void **state)
{
    dn_net *from = make_net(4, 1), *to = make_net(4, 2);
    const dn_view view = dn_net_view(from);
    const uint64_t before = dn_net_hash(to);
    int classes;
    view.parameters[view.parameter_count - 1] = (float)-1e38 * 10;
    save(from);
    assert_int_equal(dn_safetensors_load(to, path, &classes), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "found -inf"));
    view.parameters[view.parameter_count - 1] = 0;
    for (int i = 0; i < view.tensor_count; i++)
        if (view.tensors[i].kind == DN_RUNNING_VAR)
            view.running[view.tensors[i].offset] = -1;
    save(from);
    assert_int_equal(dn_safetensors_load(to, path, &classes), DN_ECORRUPT);
    assert_non_null(strstr(dn_message(), "running_var: found -1 at 0"));
    assert_true(dn_net_hash(to) == before);
    dn_net_destroy(&from);
    dn_net_destroy(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_other_metadata), cmocka_unit_test(test_other_classes),
        cmocka_unit_test(test_other_shapes),   cmocka_unit_test(test_no_classes),
        cmocka_unit_test(test_forgeries),      cmocka_unit_test(test_header_lengths),
        cmocka_unit_test(test_bad_numbers),
    };
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
