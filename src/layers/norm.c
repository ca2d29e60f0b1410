/*
 * Batch norm's share of the work that is not fused into kernels: per-channel arithmetic, in
 * double, on sums that the pieces of a map left behind.
 */
#include "layers/norm.h"

#include <math.h>
#include <string.h>

void dn_norm_prepare(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer *l = v->layer;
    const float *gamma = v->parameters + l->gamma, *beta = v->parameters + l->beta;
    const float *mean = v->running + l->running_mean, *variance = v->running + l->running_var;
    for (int c = 0; c < l->inputs; c++) {
        const double m = pass ? v->in->mean[c] : mean[c];
        const double inverse = pass ? v->in->inverse[c] : 1 / sqrt(variance[c] + DN_NORM_EPSILON);
        l->scale[c] = (float)(gamma[c] * inverse);
        l->shift[c] = (float)(beta[c] - m * gamma[c] * inverse);
    }
}

/* ---- moments ---- */

size_t dn_moments_size(const dn_visit *v)
{
    return (size_t)v->out->layout.pieces * (size_t)v->layer->outputs * 2;
}

void dn_moments_of_piece(const dn_visit *v, const dn_piece *piece)
{
    const dn_layer *l = v->layer;
    double *partial = v->partial + (size_t)piece->index * (size_t)l->outputs * 2;
    for (int c = 0; c < l->outputs; c++) {
        float moments[2];
        const size_t at = dn_map_index(v->out, piece, l->first + c, 0);
        v->on_maps->moments(1, piece->pixels, dn_map_at(v->out, v->y, at), v->out->layout.stride,
                            moments);
        partial[2 * c] = moments[0];
        partial[2 * c + 1] = moments[1];
    }
}

/* Merges two sets' count, mean and sum of squares about the mean (Chan, Golub, LeVeque 1979). */
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
    const int outputs = v->layer->outputs;
    double *sums = v->out->sums + 2 * v->layer->first;
#pragma omp for schedule(static)
    for (int c = 0; c < outputs; c++) {
        double pixels = 0, mean = 0, squares = 0;
        for (int p = 0; p < layout->pieces; p++) {
            const double *moments = v->partial + ((size_t)p * (size_t)outputs + (size_t)c) * 2;
            merge_moments(&pixels, &mean, &squares, (double)dn_layout_piece(layout, p).pixels,
                          moments[0], moments[1]);
        }
        sums[2 * c] = mean;
        sums[2 * c + 1] = squares;
    }
}

/* ---- the norm group ---- */

void dn_norm_statistics(const dn_visit *v, const dn_norm_group *group)
{
    const dn_feature_map *map = v->out;
    const int first = v->layer->first;
    const double pixels = dn_map_pixels(map) * group->size;
    float *means = v->leaf + map->statistics + first, *variances = means + map->channels;
    for (int c = 0; c < v->layer->outputs; c++) {
        const double mean = group->means[c], squares = group->rows[c];
        map->mean[first + c] = (float)mean;
        map->inverse[first + c] = (float)(1 / sqrt(squares / pixels + DN_NORM_EPSILON));
        means[c] = (float)mean;
        variances[c] = (float)(squares / (pixels > 1 ? pixels - 1 : 1));
    }
}

void dn_norm_correction(const dn_visit *v, const dn_norm_group *group, float *correction)
{
    const dn_feature_map *map = v->out;
    const int first = v->layer->first;
    const double pixels = dn_map_pixels(map) * group->size;
    for (int c = 0; c < v->layer->outputs; c++, correction += 3) {
        const double s = map->inverse[first + c], mean = map->mean[first + c];
        const double a = group->rows[2 * c] / pixels, b = group->rows[2 * c + 1] / pixels;
        correction[0] = (float)s;
        correction[1] = (float)(-s * s * b);
        correction[2] = (float)(s * s * b * mean - s * a);
    }
}

/* ---- backward ---- */

static int norm_parts(const dn_visit *v)
{
    if (v->layer->kind->norm_parts != NULL)
        return v->layer->kind->norm_parts(v);
    return (v->out ? v->out : v->in)->layout.pieces;
}

size_t dn_norm_sums_size(const dn_visit *v)
{
    return (size_t)norm_parts(v) * (size_t)v->layer->inputs * 2;
}

double *dn_norm_sums(const dn_visit *v, int part, int c)
{
    return v->partial + ((size_t)part * (size_t)v->layer->inputs + (size_t)c) * 2;
}

void dn_norm_sums_clear(const dn_visit *v, const dn_task *task, int part)
{
    const int block = dn_visit_block(v), inputs = v->layer->inputs;
    const int first = task->block * block, end = task->block_end * block;
    const size_t channels = (size_t)((end < inputs ? end : inputs) - first);
    memset(dn_norm_sums(v, part, first), 0, 2 * channels * sizeof(double));
}

void dn_norm_sums_merge(const dn_visit *v)
{
    const dn_layer *l = v->layer;
    const dn_feature_map *map = v->in;
    const int parts = norm_parts(v);
#pragma omp for schedule(static)
    for (int c = 0; c < l->inputs; c++) {
        double sum = 0, moment = 0;
        for (int p = 0; p < parts; p++) {
            sum += dn_norm_sums(v, p, c)[0];
            moment += dn_norm_sums(v, p, c)[1];
        }
        moment *= map->inverse[c];
        v->leaf[l->beta + (size_t)c] = (float)sum;
        v->leaf[l->gamma + (size_t)c] = (float)moment;
        const double gamma = v->parameters[l->gamma + (size_t)c];
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
                          .sum = v->dx + index,
                          .x_ld = v->in->layout.stride,
                          .sum_ld = v->in->layout.stride,
                          .scale = l->scale + c,
                          .shift = l->shift + c,
                          .mean = v->in->mean + c,
                          .gamma = v->parameters + l->gamma + c,
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
