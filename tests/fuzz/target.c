/* libFuzzer's way in: each input is tried as it is and with its checksums renewed; see fuzz.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* The counters by which the fuzzer sees where the program goes; the linker's names. */
extern uint8_t __start___sancov_cntrs[], __stop___sancov_cntrs[];

static fuzz f;

static void close_at_exit(void)
{
    fuzz_close(&f);
}

/* Child processes count, too, but for what is not a whole page of counters. */
static void share_counters(void)
{
    const uintptr_t page = 4096, end = (uintptr_t)__stop___sancov_cntrs / page * page;
    const uintptr_t begin = ((uintptr_t)__start___sancov_cntrs + page - 1) / page * page;
    fuzz_require(begin >= end ||
                     mmap((void *)begin, end - begin, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)begin,
                 "shared counters");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_file *const file = malloc(sizeof *file);
    if (f.format == NULL) {
        share_counters();
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
