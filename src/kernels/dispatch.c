/*
 * Which tables there are, and which one a run uses: generic first, then each level the build has
 * and the processor reports, early return at the first one missing. Feature bits decide, never the
 * model number, which virtual machines report wrongly.
 *
 *     generic    avx2    avx512    avx512_bf16            amx_bf16
 *                                  avx512, with the       the same, with those
 *                                  bf16 products of dot   of tiles
 */
#include "tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DN_X86_TABLES
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the overlays of avx512 need; set up once. */
static struct {
    pthread_once_t once;
    int tables; /* 0 to 2 */
    dn_kernels table[2];
} overlays = {.once = PTHREAD_ONCE_INIT};

/* Asks the kernel for the tile registers, without which the first AMX instruction is a fault. */
static int tiles_permitted(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static void make_overlays(void)
{
    if (!__builtin_cpu_supports("avx512bf16"))
        return;
    overlays.table[overlays.tables++] =
        dn_kernels_overlay(&dn_kernels_avx512, "avx512_bf16", &dn_products_dot);
    if (__builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
        tiles_permitted())
        overlays.table[overlays.tables++] =
            dn_kernels_overlay(&dn_kernels_avx512, "amx_bf16", &dn_products_amx);
}

static const dn_kernels *x86_table(int index)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return NULL;
    if (index == 1)
        return &dn_kernels_avx2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
        return NULL;
    if (index == 2)
        return &dn_kernels_avx512;
    pthread_once(&overlays.once, make_overlays);
    return index - 3 < overlays.tables ? &overlays.table[index - 3] : NULL;
}
#else
static const dn_kernels *x86_table(int index)
{
    (void)index;
    return NULL;
}
#endif

const dn_kernels *dn_kernels_get(int index)
{
    return index == 0 ? &dn_kernels_generic : x86_table(index);
}

dn_status dn_kernels_select(const dn_kernels **kernels, const char *name)
{
    if (name == NULL || name[0] == '\0')
        name = getenv("DN_ISA");
    const int any = name == NULL || name[0] == '\0';
    char known[128] = "";
    *kernels = NULL;
    for (int i = 0; dn_kernels_get(i) != NULL; i++) {
        const dn_kernels *table = dn_kernels_get(i);
        if (any || strcmp(name, table->name) == 0)
            *kernels = table;
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", table->name);
    }
    DN_CHECK(*kernels != NULL, DN_ENOENT, "--isa (or DN_ISA): found %s, expected one of %s", name,
             known);
    return DN_OK;
}
