/* libFuzzer's way in: each input is tried as it is and with its checksums renewed; see fuzz.h. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static fuzz f;

static void close_at_exit(void)
{
    fuzz_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_file *const file = malloc(sizeof *file);
    if (f.format == NULL) {
        fuzz_open(&f, &FUZZ_FORMAT);
        atexit(close_at_exit);
    }
    if (file && size < FUZZ_MOST) {
        file->size = size;
        memcpy(file->bytes, bytes, size);
        for (int renewed = f.format->seal == NULL; renewed < 2; renewed++)
            (void)fuzz_try(&f, file, renewed);
    }
    free(file);
    return 0;
}
