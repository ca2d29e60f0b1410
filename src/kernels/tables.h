/* The kernel tables of this build, for dispatch.c and the tests that compare them. */
#ifndef DN_KERNELS_TABLES_H
#define DN_KERNELS_TABLES_H

#include "dn/kernels.h"

extern const dn_kernels dn_kernels_generic;
extern const dn_kernels dn_kernels_avx2;
extern const dn_kernels dn_kernels_avx512;

/* Products that round their operands to bf16: in dot products of pairs (avx512_bf16), and in AMX
 * tiles. */
extern const dn_product_kernels dn_products_dot;
extern const dn_product_kernels dn_products_amx;

/* The table `base` under another name, with other products for DN_BF16. */
static inline dn_kernels dn_kernels_overlay(const dn_kernels *base, const char *name,
                                            const dn_product_kernels *bf16)
{
    dn_kernels table = *base;
    table.name = name;
    table.products[DN_BF16] = *bf16;
    return table;
}

#endif
