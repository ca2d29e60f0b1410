/* See kernel_tables.h. */
#include "kernel_tables.h"
#include "tables.h"

#include <string.h>

#if DN_WIDE
extern const dn_kernels dn_kernels_wide;
extern const dn_product_kernels dn_products_dot_twin, dn_products_amx_twin;
#endif
#ifdef DN_NARROW
extern const dn_kernels dn_kernels_narrow;

static const char *const names[] = {"generic", "narrow", "wide", "dot_twin", "amx_twin"};
#else
static const char *const names[] = {"generic",  "avx2",   "wide",        "dot_twin",
                                    "amx_twin", "avx512", "avx512_bf16", "amx_bf16"};
#endif

const char *dn_test_table_name(int index)
{
    return index < (int)(sizeof names / sizeof *names) ? names[index] : NULL;
}

#if DN_WIDE
static const dn_kernels *own_table(const char *name)
{
    static dn_kernels dot, amx;
    if (strcmp(name, "wide") == 0)
        return &dn_kernels_wide;
    if (strcmp(name, "dot_twin") == 0) {
        dot = dn_kernels_overlay(&dn_kernels_wide, "dot_twin", &dn_products_dot_twin);
        return &dot;
    }
    if (strcmp(name, "amx_twin") == 0) {
        amx = dn_kernels_overlay(&dn_kernels_wide, "amx_twin", &dn_products_amx_twin);
        return &amx;
    }
#ifdef DN_NARROW
    if (strcmp(name, "narrow") == 0)
        return &dn_kernels_narrow;
#endif
    return NULL;
}
#else
static const dn_kernels *own_table(const char *name)
{
    (void)name;
    return NULL;
}
#endif

const dn_kernels *dn_test_table(const char *name)
{
    const dn_kernels *table = own_table(name);
#ifndef DN_NARROW
    const dn_kernels *avx2;
    if (table) /* which is compiled for what avx2 needs */
        return dn_kernels_select(&avx2, "avx2") == DN_OK ? table : NULL;
#endif
    return table || dn_kernels_select(&table, name) == DN_OK ? table : NULL;
}

int dn_test_rounds(const dn_kernels *kernels)
{
    return kernels->products[DN_BF16].gemm != kernels->products[DN_FP32].gemm;
}

/* Whether the table is there in the place of one that runs here. */
static int needless(const char *name)
{
    static const char *const twins[][2] = {{"dot_twin", "avx512_bf16"}, {"amx_twin", "amx_bf16"}};
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++)
        if (strcmp(name, twins[i][0]) == 0)
            return dn_test_table(twins[i][1]) != NULL;
    return strcmp(name, "wide") == 0;
}

const dn_kernels *dn_test_kernels(int index, dn_dtype dtype)
{
    const char *name;
    for (int i = 0; (name = dn_test_table_name(i)) != NULL; i++) {
        const dn_kernels *table = dn_test_table(name);
        if (table == NULL || needless(name) || (dtype == DN_FP32 && dn_test_rounds(table)))
            continue;
        if (index-- == 0)
            return table;
    }
    return NULL;
}
