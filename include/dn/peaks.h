/*
 * The roofs of this machine, measured: what all threads of the calling process reach together.
 */
#ifndef DN_PEAKS_H
#define DN_PEAKS_H

#include "dn/kernels.h"

typedef struct dn_peaks {
    double flops; /* operations a second: multiply-adds as the table's products make them */
    double read;  /* bytes a second, of passes that read an array */
    double scale; /* bytes a second, half of them read and half written, of x = factor * x */
} dn_peaks;

/* An array that no cache holds. */
enum { DN_PEAK_MEMORY_BYTES = 1 << 26 };

/* Takes a quarter of a second. Each thread has an array of `bytes` of its own, at least 256.
 * DN_ENOMEM. */
dn_status dn_peaks_measure(dn_peaks *peaks, const dn_kernels *kernels, dn_dtype dtype,
                           size_t bytes);

/* The least seconds that so many operations and bytes take. */
double dn_peaks_bound(const dn_peaks *peaks, double flops, double bytes);

#endif
