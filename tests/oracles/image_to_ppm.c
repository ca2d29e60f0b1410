/* image_to_ppm FILE [LEFT TOP WIDTH HEIGHT OUT_WIDTH OUT_HEIGHT LEAST]: the image, or the box of it
 * resized, as a binary PPM on standard output; what cli/images.sh compares with PIL. */
#include <stdio.h>
#include <stdlib.h>

#include "dn/file.h"
#include "dn/kernels.h"
#include "dn/resize.h"

static dn_status write_ppm(int argc, char **argv)
{
    dn_encoded file = {.name = argv[1]};
    dn_pixels pixels = {0};
    dn_buffer resizing = {0};
    uint8_t *bytes;
    const dn_kernels *kernels;
    DN_TRY(dn_kernels_select(&kernels, ""));
    DN_TRY(dn_file_load(argv[1], &bytes, &file.size));
    file.bytes = bytes;
    if (argc < 9) {
        DN_TRY(dn_image_decode(&file, NULL, 1, &pixels));
        printf("P6\n%d %d\n255\n", pixels.width, pixels.height);
        fwrite(pixels.rgb.bytes, 3, (size_t)pixels.width * (size_t)pixels.height, stdout);
    } else {
        dn_box box = {atof(argv[2]), atof(argv[3]), atof(argv[4]), atof(argv[5])};
        const int width = atoi(argv[6]), height = atoi(argv[7]);
        const size_t plane = (size_t)width * (size_t)height;
        uint8_t *const planes = malloc(3 * plane);
        DN_CHECK(planes, DN_ENOMEM, "out of memory");
        DN_TRY(dn_image_decode(&file, &box, atof(argv[8]), &pixels));
        DN_TRY(dn_resize(dn_pixel_kernels_of(kernels), &resizing,
                         &(dn_raster){pixels.rgb.bytes, pixels.height, pixels.width, 3}, &box, &box,
                         height, width, planes));
        printf("P6\n%d %d\n255\n", width, height);
        for (size_t i = 0; i < plane; i++)
            for (size_t c = 0; c < 3; c++)
                putchar(planes[c * plane + i]);
        free(planes);
    }
    free(bytes);
    dn_buffer_free(&pixels.rgb);
    dn_buffer_free(&resizing);
    return DN_OK;
}

int main(int argc, char **argv)
{
    const dn_status status =
        argc < 2 ? dn_fail(DN_EINVAL, "expected a FILE") : write_ppm(argc, argv);
    if (status != DN_OK)
        fprintf(stderr, "%s\n", dn_message());
    return status != DN_OK;
}
