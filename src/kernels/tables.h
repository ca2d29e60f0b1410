/*
 * The kernel tables of this build, for dispatch.c and the tests that compare them; and macros by
 * which a file that is compiled once per instance (DN_ISA: avx2, generic, dot, ...; also in
 * src/optimizers and src/transforms) names and collects its kernels.
 */
#ifndef DN_KERNELS_TABLES_H
#define DN_KERNELS_TABLES_H

#include "dn/kernels.h"

extern const dn_kernels dn_kernels_generic;
extern const dn_kernels dn_kernels_avx2;
extern const dn_kernels dn_kernels_avx512;
extern const dn_kernels dn_kernels_vbmi; /* avx512, compiled for AVX512_VBMI */

/* Products that round their operands to bf16: as dot products of pairs (avx512_bf16), and in AMX
 * tiles. */
extern const dn_product_kernels dn_products_dot;
extern const dn_product_kernels dn_products_amx;

/* Copy of the table `base` with another name and other products for DN_BF16. */
static inline dn_kernels dn_kernels_overlay(const dn_kernels *base, const char *name,
                                            const dn_product_kernels *bf16)
{
    dn_kernels table = *base;
    table.name = name;
    table.products[DN_BF16] = *bf16;
    table.products[DN_BF16].name = name;
    return table;
}

/* A name with the instance's suffix, so that profilers and debuggers can tell instances apart: gemm
 * becomes gemm_avx512. */
#define ISA(name)               ISA_EXPANDED(name, DN_ISA)
#define ISA_EXPANDED(name, isa) ISA_PASTED(name, isa)
#define ISA_PASTED(name, isa)   name##_##isa
#define ISA_NAME                ISA_STRING(DN_ISA)
#define ISA_STRING(isa)         ISA_QUOTED(isa)
#define ISA_QUOTED(isa)         #isa

/* Initialisers of this instance's table: products, whose arguments are members that only some
 * instances have; kernels on maps of `type`, fp32 or bf16; kernels with a stride of 2. */
#define PRODUCTS(...)                                                                              \
    {                                                                                              \
        .name = ISA_NAME, .packed_floats = ISA(packed_floats), .pack = ISA(pack),                  \
        .gemm = ISA(gemm), .packed_dy_floats = ISA(packed_dy_floats), .pack_dy = ISA(pack_dy),     \
        .wgrad = ISA(wgrad), .peak = ISA(peak), __VA_ARGS__                                        \
    }
#define ON_MAPS(type)                                                                              \
    {                                                                                              \
        .norm_relu = ISA(norm_relu_##type), .affine = ISA(affine_##type),                          \
        .store = ISA(store_map_##type), .moments = ISA(moments_##type),                            \
        .norm_relu_grad = ISA(norm_relu_grad_##type)                                               \
    }
#define STRIDE                                                                                     \
    {                                                                                              \
        .im2col = ISA(im2col), .max_pool = ISA(max_pool), .max_pool_grad = ISA(max_pool_grad),     \
        .average_pool = ISA(average_pool), .average_pool_grad = ISA(average_pool_grad)             \
    }

#endif
