/* Speeds of the kernels under test at the shapes of two real nets, printed as a table. */
#ifndef DN_BENCH_KERNELS_H
#define DN_BENCH_KERNELS_H

void dn_bench_kernels(void);

#endif
