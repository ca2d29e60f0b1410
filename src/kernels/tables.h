/* The kernel tables of this build, for dispatch.c and the tests that compare them; and what the
 * files that fill one have in common. */
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

/* A name of this instance's own, so that profilers and debuggers tell the instances apart: gemm is
 * gemm_avx512 there. */
#define ISA(name)               ISA_EXPANDED(name, DN_ISA)
#define ISA_EXPANDED(name, isa) ISA_PASTED(name, isa)
#define ISA_PASTED(name, isa)   name##_##isa

#ifdef DN_ISA /* this instance's optimizers, src/train/optimizer_table.c */
extern const struct dn_optimizer *const ISA(dn_optimizers)[];
#endif

/* The kernels on maps of fp32 or bf16 elements, by the names that both files give them. */
#define ON_MAPS(type)                                                                              \
    {                                                                                              \
        .norm_relu = norm_relu_##type, .affine = affine_##type, .store = store_map_##type,         \
        .moments = moments_##type, .norm_relu_grad = norm_relu_grad_##type                         \
    }

#endif
