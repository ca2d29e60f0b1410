/* Speeds of the kernels under test at the shapes of two real nets, printed as a table. */
#ifndef DN_BENCH_KERNELS_H
#define DN_BENCH_KERNELS_H

#include "dn/peaks.h"

void dn_bench_kernels(void);

/* The kernels with a stride of 2, and the update (bench_stride.c). */
void dn_bench_stride(void);

/* A line of the table. */
typedef struct dn_bench_line {
    const char *net;
    int side, taps, inputs, outputs;
    const char *kernel;
    dn_dtype dtype;
    double flops, bytes, seconds; /* of a call */
} dn_bench_line;

void dn_bench_print(const dn_bench_line *line, const dn_kernels *kernels, const dn_peaks *peaks);

/* Seconds of one call: the best of some trials. */
double dn_bench_seconds(void (*call)(const void *work), const void *work);

/* dn_peaks_measure, which ends the process if out of memory. */
void dn_bench_peaks(dn_peaks *peaks, const dn_kernels *kernels, dn_dtype dtype, size_t bytes);

#endif
