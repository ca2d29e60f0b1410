/*
 * Timing of the peak loops; see dn/peaks.h. All threads run a loop for the same time, and their
 * rates are added; the best of several runs is taken.
 */
#include "dn/peaks.h"

#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { RUNS = 4, ROUNDS = 10000 };
#define RUN_SECONDS 0.02

typedef enum roof { FLOPS, READ, SCALE, ROOFS } roof;

/* Runs a loop once; returns its operations or bytes. */
static double work(const dn_kernels *kernels, dn_dtype dtype, roof which, float *x, size_t n)
{
    const double bytes = (double)(n * sizeof *x);
    if (which == FLOPS)
        return kernels->products[dtype].peak(ROUNDS);
    if (which == READ)
        kernels->bandwidth.read(x, n);
    else
        kernels->bandwidth.scale(x, n, 1);
    return which == READ ? bytes : 2 * bytes;
}

static double rate(const dn_kernels *kernels, dn_dtype dtype, roof which, float *x, size_t n)
{
    double done = 0, elapsed;
    const double start = omp_get_wtime();
    do {
        done += work(kernels, dtype, which, x, n);
        elapsed = omp_get_wtime() - start;
    } while (elapsed < RUN_SECONDS);
    return done / elapsed;
}

/* Uses huge pages if the array fills any, like a net's maps. */
static float *array_create(size_t bytes)
{
    void *x = NULL;
    const size_t page = (size_t)1 << 21;
    if (posix_memalign(&x, bytes < page ? DN_LINE_BYTES : page, bytes) != 0)
        return NULL;
    if (bytes >= page)
        madvise(x, bytes, MADV_HUGEPAGE);
    return x;
}

dn_status dn_peaks_measure(dn_peaks *peaks, const dn_kernels *kernels, dn_dtype dtype, size_t bytes)
{
    const size_t n = bytes / sizeof(float);
    double best[ROOFS] = {0}, sum = 0;
    int failed = 0;
#pragma omp parallel
    {
        float *x = array_create(bytes);
        for (size_t i = 0; x != NULL && i < n; i++)
            x[i] = 1; /* first touch: places the page near this thread */
        if (x == NULL) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp barrier
        for (int i = 0; i < ROOFS * RUNS && !failed; i++) {
            const double own = rate(kernels, dtype, (roof)(i / RUNS), x, n);
#pragma omp atomic
            sum += own;
#pragma omp barrier
#pragma omp single
            {
                best[i / RUNS] = sum > best[i / RUNS] ? sum : best[i / RUNS];
                sum = 0;
            }
        }
        free(x);
    }
    DN_CHECK(!failed, DN_ENOMEM, "out of memory for arrays of %zu bytes a thread", bytes);
    *peaks = (dn_peaks){.flops = best[FLOPS], .read = best[READ], .scale = best[SCALE]};
    return DN_OK;
}

double dn_peaks_bound(const dn_peaks *peaks, double flops, double bytes)
{
    const double bandwidth = peaks->read > peaks->scale ? peaks->read : peaks->scale;
    const double compute = flops / peaks->flops, memory = bytes / bandwidth;
    return compute > memory ? compute : memory;
}
