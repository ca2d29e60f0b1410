/* The kernel tables of tests: those of dn/kernels.h, and some that exist only here. `wide` is the
 * AVX-512 source on AVX2 registers; `dot_twin` and `amx_twin` are `wide` with the products of
 * `avx512_bf16` and `amx_bf16` in plain C. If the sources are compiled for any processor
 * (DN_NARROW), `narrow` replaces avx2: the same source with registers of 8 floats. */
#ifndef DN_KERNEL_TABLES_H
#define DN_KERNEL_TABLES_H

#include "dn/kernels.h"

/* Names from `generic` on; NULL past the last. */
const char *dn_test_table_name(int index);

/* The table of that name; NULL where the build or the processor lacks it. */
const dn_kernels *dn_test_table(const char *name);

/* Table `index` of those that run here and compute different numbers for that type. Tables that
 * only differ in rounding the operands of products are listed for DN_BF16 only, twins if their
 * original does not run, and `wide` never. NULL past the last. */
const dn_kernels *dn_test_kernels(int index, dn_dtype dtype);

/* 1 if its products for DN_BF16 round their operands. */
int dn_test_rounds(const dn_kernels *kernels);

#endif
