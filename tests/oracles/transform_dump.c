/* transform_dump LIST SEED POSITION FILE [CHANNELS HEIGHT WIDTH]: transforms an image file, or
 * planes of bytes of that shape. Prints a line for each step with its name and random parameters; a
 * line "= HEIGHT WIDTH"; then the net's input, without normalisation, as floats. On failure prints
 * the reason; the exit status is 1. */
#include <stdio.h>
#include <stdlib.h>

#include "dn/file.h"
#include "dn/kernels.h"
#include "transforms/step.h"

static dn_status transform(const dn_transform *t, const dn_request *request, dn_canvas *c)
{
    dn_draws draws = dn_draws_of(t, request);
    for (int i = 0; i < t->steps; i++) {
        double drawn[DN_DRAWN];
        DN_TRY(dn_canvas_step(c, i, &draws, drawn));
        printf("%s", t->step[i].row->name);
        for (int d = 0; d < DN_DRAWN; d++)
            printf(" %.17g", drawn[d]);
        printf("\n");
    }
    return DN_OK;
}

static dn_status dump(int argc, char **argv)
{
    dn_data_info info = {.channels = 3};
    const dn_request request = {.position = atoi(argv[3])};
    const dn_kernels *kernels;
    dn_transform t;
    dn_transform_memory memory = {0};
    dn_canvas canvas;
    dn_encoded file = {.name = argv[4]};
    uint8_t *bytes;
    if (argc > 7)
        info = (dn_data_info){
            .channels = atoi(argv[5]), .height = atoi(argv[6]), .width = atoi(argv[7])};
    DN_TRY(dn_normalize_parse(&info, "none"));
    DN_TRY(dn_kernels_select(&kernels, ""));
    DN_TRY(dn_transform_parse(&t, dn_pixel_kernels_of(kernels), &info, argv[1],
                              (uint64_t)atoi(argv[2])));
    DN_TRY(dn_file_load(argv[4], &bytes, &file.size));
    file.bytes = bytes;
    DN_CHECK(argc <= 7 || file.size == dn_image_values(&info), DN_EINVAL,
             "%s: found %zu bytes, expected %zu", argv[4], file.size, dn_image_values(&info));
    if (argc > 7)
        canvas = dn_canvas_of_pixels(&t, bytes, info.height, info.width, &memory);
    else
        DN_TRY(dn_canvas_of_file(&canvas, &t, &file, &memory));
    DN_TRY(transform(&t, &request, &canvas));
    const size_t count = dn_transform_values(&t);
    float *const to = malloc(count * sizeof *to);
    DN_CHECK(to, DN_ENOMEM, "out of memory");
    DN_TRY(dn_canvas_finish(&canvas, to));
    printf("= %d %d\n", t.height, t.width);
    fwrite(to, sizeof *to, count, stdout);
    free(to);
    free(bytes);
    dn_transform_memory_free(&memory);
    return DN_OK;
}

int main(int argc, char **argv)
{
    const dn_status status =
        argc < 5 ? dn_fail(DN_EINVAL, "expected LIST SEED POSITION FILE") : dump(argc, argv);
    if (status != DN_OK)
        fprintf(stderr, "%s\n", dn_message());
    return status != DN_OK;
}
