/*
 * The part of batch norm that is not fused into kernels: per-channel arithmetic in double on the
 * partial sums of a map's pieces.
 */
#include "layers/norm.h"

#include <math.h>

void dn_norm_prepare(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer *l = v->layer;
    const float *gamma = v->net->parameters + l->gamma->offset;
    const float *beta = v->net->parameters + l->beta->offset;
    const float *mean = v->net->running + l->running_mean->offset;
    const float *variance = v->net->running + l->running_var->offset;
#pragma omp for schedule(static) nowait
    for (int c = 0; c < l->inputs; c++) {
        const double m = pass ? v->in->mean[c] : mean[c];
        const double inverse = pass ? v->in->inverse[c] : 1 / sqrt(variance[c] + DN_NORM_EPSILON);
        l->scale[c] = (float)(gamma[c] * inverse);
        l->shift[c] = (float)(beta[c] - m * gamma[c] * inverse);
    }
}

/* ---- partial sums ---- */

/* Number of partial sums: pieces or images. */
static int partial_count(const dn_visit *v)
{
    if (v->backward && v->layer->kind->sums_of_images)
        return v->net->batch;
    return (v->out ? v->out : v->in)->layout.pieces;
}

size_t dn_partial_size(const dn_visit *v)
{
    const int channels = v->backward ? v->layer->inputs : v->layer->outputs;
    return 2 * (size_t)partial_count(v) * (size_t)channels;
}

double *dn_partial(const dn_visit *v, int piece, int channel)
{
    const int channels = v->backward ? v->layer->inputs : v->layer->outputs;
    return v->partial + 2 * ((size_t)piece * (size_t)channels + (size_t)channel);
}

/* A recomputed map already has its statistics. */
int dn_moment_outputs(const dn_visit *v, const dn_pass *pass)
{
    return pass != NULL && v->time == v->layer->index ? v->layer->outputs : 0;
}

void dn_moments_of_rows(const dn_visit *v, int piece, int first)
{
    const int left = v->layer->outputs - first;
    const int rows = left < DN_MOMENT_ROWS ? left : DN_MOMENT_ROWS;
    const dn_piece p = dn_layout_piece(&v->out->layout, piece);
    const size_t at = dn_map_index(v->out, &p, v->layer->first + first, 0);
    double *partial = dn_partial(v, piece, first);
    float moments[2 * DN_MOMENT_ROWS];
    v->on_maps->moments(rows, p.pixels, dn_map_at(v->out, v->y, at), v->out->layout.stride,
                        moments);
    for (int i = 0; i < 2 * rows; i++)
        partial[i] = moments[i];
}

/* Merges the count, mean and sum of squared deviations of two sets (Chan, Golub, LeVeque 1979). */
static void merge_moments(double *count, double *mean, double *squares, double n, double m,
                          double s)
{
    const double total = *count + n, delta = m - *mean;
    *mean += delta * (n / total);
    *squares += s + delta * delta * (*count * n / total);
    *count = total;
}

void dn_moments_merge(const dn_visit *v)
{
    const dn_layout *layout = &v->out->layout;
    double *sums = v->out->sums + 2 * v->layer->first;
#pragma omp for schedule(static) nowait
    for (int c = 0; c < v->layer->outputs; c++) {
        double pixels = 0, mean = 0, squares = 0;
        for (int p = 0; p < layout->pieces; p++) {
            const double *moments = dn_partial(v, p, c);
            merge_moments(&pixels, &mean, &squares, (double)dn_layout_piece(layout, p).pixels,
                          moments[0], moments[1]);
        }
        sums[2 * c] = mean;
        sums[2 * c + 1] = squares;
    }
}

/* ---- the norm group ---- */

void dn_norm_statistics(const dn_visit *v, const dn_norm_group *group, int batches)
{
    const dn_feature_map *map = v->out;
    const int first = v->layer->first;
    const double pixels = dn_map_pixels(map) * batches;
    float *means = v->net->leaf + map->statistics + first, *variances = means + map->channels;
    for (int c = 0; c < v->layer->outputs; c++) {
        const double mean = group->means[c], squares = group->rows[c];
        map->mean[first + c] = (float)mean;
        map->inverse[first + c] = (float)(1 / sqrt(squares / pixels + DN_NORM_EPSILON));
        means[c] = (float)mean;
        variances[c] = (float)(squares / (pixels > 1 ? pixels - 1 : 1));
    }
}

void dn_norm_correction(const dn_visit *v, const dn_norm_group *group, int batches,
                        float *correction)
{
    const dn_feature_map *map = v->out;
    const int first = v->layer->first;
    const double pixels = dn_map_pixels(map) * batches;
    for (int c = 0; c < v->layer->outputs; c++, correction += 3) {
        const double s = map->inverse[first + c], mean = map->mean[first + c];
        const double a = group->rows[2 * c] / pixels, b = group->rows[2 * c + 1] / pixels;
        correction[0] = (float)s;
        correction[1] = (float)(-s * s * b);
        correction[2] = (float)(s * s * b * mean - s * a);
    }
}

/* ---- backward ---- */

void dn_norm_sums_merge(const dn_visit *v)
{
    const dn_layer *l = v->layer;
    const dn_feature_map *map = v->in;
    const int count = partial_count(v);
#pragma omp for schedule(static) nowait
    for (int c = 0; c < l->inputs; c++) {
        double sum = 0, moment = 0;
        for (int p = 0; p < count; p++) {
            sum += dn_partial(v, p, c)[0];
            moment += dn_partial(v, p, c)[1];
        }
        moment *= map->inverse[c];
        v->net->leaf[l->beta->offset + (size_t)c] = (float)sum;
        v->net->leaf[l->gamma->offset + (size_t)c] = (float)moment;
        const double gamma = v->net->parameters[l->gamma->offset + (size_t)c];
        double *sums = map->sums + 2 * c;
        sums[0] = (l->accumulate ? sums[0] : 0) + gamma * sum;
        sums[1] = (l->accumulate ? sums[1] : 0) + gamma * moment;
    }
}

dn_norm_grad dn_norm_grad_args(const dn_visit *v, int c, int rows, size_t index, size_t n,
                               float *sums)
{
    const dn_layer *l = v->layer;
    return (dn_norm_grad){.rows = rows,
                          .n = n,
                          .x = dn_map_at(v->in, v->x, index),
                          .map_gradient = dn_map_at(v->in, v->dx, index),
                          .x_ld = v->in->layout.stride,
                          .map_gradient_ld = v->in->layout.stride,
                          .scale = l->scale + c,
                          .shift = l->shift + c,
                          .mean = v->in->mean + c,
                          .gamma = v->net->parameters + l->gamma->offset + c,
                          .accumulate = l->accumulate,
                          .sums = sums};
}

void dn_norm_relu_grad(const dn_visit *v, int c, size_t index, size_t n, const float *gradient,
                       double *sums)
{
    float added[2];
    dn_norm_grad args = dn_norm_grad_args(v, c, 1, index, n, added);
    args.gradient = gradient;
    v->on_maps->norm_relu_grad(&args);
    sums[0] += added[0];
    sums[1] += added[1];
}

void dn_plain_grad(const dn_visit *v, int c, size_t index, size_t n, float *gradient)
{
    const float deviation = 1 / v->in->inverse[c];
    const dn_padded compact = dn_padded_none(n);
    for (size_t p = 0; p < n; p++)
        gradient[p] *= deviation;
    v->on_maps->store(1, &compact, gradient, 0, dn_map_at(v->in, v->dx, index), 0);
}

void dn_plain_sums(const dn_visit *v)
{
#pragma omp for schedule(static) nowait
    for (int i = 0; i < 2 * v->layer->inputs; i++)
        v->in->sums[i] = 0;
}
