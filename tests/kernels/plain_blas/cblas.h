/*
 * The one function of CBLAS that the `generic` kernels call, as plain loops, for tests on
 * processors that no OpenBLAS is installed for: C = alpha * op(A) * op(B) + beta * C, where beta =
 * 0 ignores what C holds. Row-major only.
 */
#ifndef DN_TESTS_PLAIN_CBLAS_H
#define DN_TESTS_PLAIN_CBLAS_H

typedef enum { CblasRowMajor } cblas_order;
typedef enum { CblasNoTrans, CblasTrans } cblas_transpose;

static void cblas_sgemm(cblas_order order, cblas_transpose a_form, cblas_transpose b_form, int m,
                        int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                        float beta, float *c, int ldc)
{
    (void)order;
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            for (long l = 0; l < k; l++)
                sum += (a_form == CblasTrans ? a[l * lda + i] : a[i * lda + l]) *
                       (b_form == CblasTrans ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * c[i * ldc + j]);
        }
}

#endif
