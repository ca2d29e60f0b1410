/*
 * The roofline of this machine, measured: what all threads of the calling process achieve together.
 * Not collective.
 */
#ifndef DN_PEAKS_H
#define DN_PEAKS_H

#include "dn/kernels.h"

typedef struct dn_peaks {
    double flops; /* operations/s: multiply-adds as the table's products execute them */
    double read;  /* bytes/s of a pass that reads an array */
    double scale; /* bytes/s of x = factor * x, half of them read and half written */
} dn_peaks;

/* Size of an array that fits in no cache. */
enum { DN_PEAK_MEMORY_BYTES = 1 << 26 };

/* Measures for a quarter of a second. Each thread has its own array of `bytes`, at least 256.
 * Errors: DN_ENOMEM. */
dn_status dn_peaks_measure(dn_peaks *peaks, const dn_kernels *kernels, dn_dtype dtype,
                           size_t bytes);

/* Lower bound in seconds on the time for these operations and bytes. */
double dn_peaks_bound(const dn_peaks *peaks, double flops, double bytes);

#endif
