/* The kernel tables of this build, for dispatch.c and the tests that compare them. */
#ifndef DN_KERNELS_TABLES_H
#define DN_KERNELS_TABLES_H

#include "dn/kernels.h"

extern const dn_kernels dn_kernels_generic;
extern const dn_kernels dn_kernels_avx2;
extern const dn_kernels dn_kernels_avx512;

#endif
