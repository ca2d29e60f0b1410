/*
 * Which tables exist and which one a run uses: generic first, then each table that the build and
 * the processor support, up to the first one missing. Feature bits decide, not the model number,
 * which virtual machines report wrongly.
 *
 *     generic    avx2    avx512    avx512_bf16           amx_bf16
 *                                  `vbmi` with the bf16  the same with those
 *                                  products of `dot`     of `amx`
 *
 * `vbmi` is avx512 with faster permutations (AVX512_VBMI).
 */
#include "tables.h"

#if DN_X86_TABLES
#include <cpuid.h>
#endif
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dn/words.h"

/* Written once, by find_tables. */
static struct {
    pthread_once_t once;
    int count;
    const dn_kernels *table[5];
    dn_kernels avx512_bf16, amx_bf16;
} found = {.once = PTHREAD_ONCE_INIT};

static void add_table(const dn_kernels *table)
{
    found.table[found.count++] = table;
}

#if DN_X86_TABLES
/* Features that clang 14 has no names for, from CPUID leaf 7. Their registers are those of AVX-512,
 * or have to be requested from the operating system. */
static int has_bf16_products(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}

static int has_amx_bf16(void)
{
    enum { BF16 = 1 << 22, TILE = 1 << 24 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & (BF16 | TILE)) == (BF16 | TILE);
}

/* Requests the tile registers from the operating system; otherwise the first AMX instruction
 * faults. */
static int tiles_permitted(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* The other products go by the name of the table with the same bits, which users can choose. */
static void add_overlay(dn_kernels *to, const char *name, const dn_product_kernels *bf16)
{
    *to = dn_kernels_overlay(&dn_kernels_vbmi, name, bf16);
    for (int t = 0; t < DN_DTYPES; t++)
        if (t != DN_BF16)
            to->products[t].name = dn_kernels_avx512.name;
    add_table(to);
}

static void find_x86_tables(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return;
    add_table(&dn_kernels_avx2);
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
        return;
    add_table(&dn_kernels_avx512);
    if (!has_bf16_products() || !__builtin_cpu_supports("avx512vbmi"))
        return;
    add_overlay(&found.avx512_bf16, "avx512_bf16", &dn_products_dot);
    if (!has_amx_bf16() || !tiles_permitted())
        return;
    add_overlay(&found.amx_bf16, "amx_bf16", &dn_products_amx);
}
#endif

static void find_tables(void)
{
    add_table(&dn_kernels_generic);
#if DN_X86_TABLES
    find_x86_tables();
#endif
}

const dn_kernels *dn_kernels_get(int index)
{
    pthread_once(&found.once, find_tables);
    return index < found.count ? found.table[index] : NULL;
}

dn_status dn_kernels_select(const dn_kernels **kernels, const char *name)
{
    if (name == NULL || name[0] == '\0')
        name = getenv("DN_ISA");
    const int any = name == NULL || name[0] == '\0';
    dn_nearest nearest = {.word = any ? "" : name};
    const dn_kernels *table;
    *kernels = NULL;
    for (int i = 0; (table = dn_kernels_get(i)) != NULL; i++) {
        if (any || strcmp(name, table->name) == 0)
            *kernels = table;
        dn_nearest_try(&nearest, table->name);
    }
    DN_CHECK(*kernels != NULL, DN_EINVAL, "isa (or DN_ISA): found %s, expected one of %s%s", name,
             nearest.known, dn_nearest_hint(&nearest, ""));
    return DN_OK;
}
