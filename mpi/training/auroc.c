/* Areas under ROC curves by ranks, as the statistic of Mann and Whitney; see auroc.h. */
#include "training/auroc.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

typedef struct judged {
    double probability; /* of the class */
    int is_member;
} judged;

int dn_has_auroc(const dn_source *images)
{
    return images->count <= DN_MOST_PROBABILITIES / images->info.classes;
}

static int by_probability(const void *a, const void *b)
{
    const double x = ((const judged *)a)->probability, y = ((const judged *)b)->probability;
    return (x > y) - (x < y);
}

/* Sorts image(count). Equal probabilities share the mean of their ranks. */
static double area(judged *image, int64_t count)
{
    double members = 0, ranks = 0; /* whole and half numbers: exact */
    qsort(image, (size_t)count, sizeof *image, by_probability);
    for (int64_t first = 0, end; first < count; first = end) {
        int64_t equal = 0;
        for (end = first; end < count && image[end].probability == image[first].probability; end++)
            equal += image[end].is_member;
        members += (double)equal;
        ranks += (double)equal * (double)(first + 1 + end) / 2;
    }
    return (ranks - members * (members + 1) / 2) / (members * ((double)count - members));
}

dn_status dn_class_auroc(const dn_source *images, const double *probabilities, double *auroc)
{
    const int64_t count = images->count;
    const int classes = images->info.classes;
    const int most = omp_get_max_threads(), threads = most < classes ? most : classes;
    judged *const all = malloc((size_t)threads * (size_t)count * sizeof *all);
    DN_CHECK(all, DN_ENOMEM, "out of memory for the ROC curves of %" PRId64 " images", count);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int c = 0; c < classes; c++) {
        judged *const image = all + omp_get_thread_num() * count;
        int64_t known = 0;
        int is_number = 1;
        for (int64_t i = 0; i < count; i++) {
            const dn_presence has = dn_image_presence(images, i, c);
            if (has == DN_UNKNOWN)
                continue;
            image[known] = (judged){probabilities[i * classes + c], has == DN_PRESENT};
            is_number &= !isnan(image[known++].probability);
        }
        auroc[c] = is_number ? area(image, known) : (double)NAN;
    }
    free(all);
    return DN_OK;
}

double dn_mean_auroc(const double *auroc, int classes)
{
    double sum = 0;
    int count = 0;
    for (int c = 0; c < classes; c++) {
        sum += isnan(auroc[c]) ? 0 : auroc[c];
        count += !isnan(auroc[c]);
    }
    return sum / count;
}
