/*
 * Batch norm's share of the work that is not fused into kernels: per-channel arithmetic, in
 * double, on sums that the pieces of a map left behind.
 */
#include "layers.h"

#include <math.h>
#include <string.h>

void dn_norm_prepare(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    const dn_feature_map *map = &net->maps[node->in];
    const float *gamma = net->parameters + node->gamma, *beta = net->parameters + node->beta;
    const float *mean = net->running + node->running_mean;
    const float *variance = net->running + node->running_var;
    for (int c = 0; c < node->inputs; c++) {
        const double m = pass ? map->mean[c] : mean[c];
        const double inverse = pass ? map->inverse[c] : 1 / sqrt(variance[c] + DN_NORM_EPSILON);
        node->scale[c] = (float)(gamma[c] * inverse);
        node->shift[c] = (float)(beta[c] - m * gamma[c] * inverse);
    }
}

void dn_map_piece_moments(dn_net *net, const dn_feature_map *map, int index, int first, int count)
{
    const dn_piece piece = dn_layout_piece(&map->layout, index);
    double *partial = net->partial + (size_t)index * (size_t)count * 2;
    for (int c = 0; c < count; c++) {
        float moments[2];
        net->on_maps->moments(1, piece.pixels,
                              dn_map_at(map, dn_map_index(map, &piece, first + c, 0)),
                              map->layout.stride, moments);
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

void dn_map_merge_moments(dn_net *net, dn_feature_map *map, int first, int count)
{
    const double *partial = net->partial;
#pragma omp for schedule(static)
    for (int c = 0; c < count; c++) {
        double pixels = 0, mean = 0, squares = 0;
        for (int p = 0; p < map->layout.pieces; p++) {
            const dn_piece piece = dn_layout_piece(&map->layout, p);
            const double *moments = partial + ((size_t)p * (size_t)count + (size_t)c) * 2;
            merge_moments(&pixels, &mean, &squares, (double)piece.pixels, moments[0], moments[1]);
        }
        map->sums[2 * (first + c)] = mean;
        map->sums[2 * (first + c) + 1] = squares;
    }
}

void dn_map_statistics(dn_net *net, const dn_node *node, const double *mean, const double *squares)
{
    const dn_feature_map *map = &net->maps[node->out];
    const double pixels = dn_map_pixels(map) * net->options.norm_group;
    float *means = net->leaf + net->parameter_count + map->statistics + node->first;
    for (int c = 0; c < node->outputs; c++) {
        map->mean[node->first + c] = (float)mean[c];
        map->inverse[node->first + c] = (float)(1 / sqrt(squares[c] / pixels + DN_NORM_EPSILON));
        means[c] = (float)mean[c];
        means[map->channels + c] = (float)(squares[c] / (pixels > 1 ? pixels - 1 : 1));
    }
}

void dn_map_correction(dn_net *net, const dn_node *node, const double *sums)
{
    const dn_feature_map *map = &net->maps[node->out];
    const double pixels = dn_map_pixels(map) * net->options.norm_group;
    float *coefficients = net->coefficients;
    for (int c = 0; c < node->outputs; c++, coefficients += 3) {
        const double s = map->inverse[node->first + c], mean = map->mean[node->first + c];
        const double a = sums[2 * c] / pixels, b = sums[2 * c + 1] / pixels;
        coefficients[0] = (float)s;
        coefficients[1] = (float)(-s * s * b);
        coefficients[2] = (float)(s * s * b * mean - s * a);
    }
}

dn_norm_grad dn_norm_backward_args(const dn_net *net, const dn_node *node, int c, int rows,
                                   size_t index, size_t n, float *sums)
{
    const dn_feature_map *map = &net->maps[node->in];
    return (dn_norm_grad){.rows = rows,
                          .n = n,
                          .x = dn_map_at(map, index),
                          .sum = map->gradient + index,
                          .x_ld = map->layout.stride,
                          .sum_ld = map->layout.stride,
                          .scale = node->scale + c,
                          .shift = node->shift + c,
                          .mean = map->mean + c,
                          .gamma = net->parameters + node->gamma + c,
                          .accumulate = node->accumulate,
                          .sums = sums};
}

void dn_norm_backward(dn_net *net, const dn_node *node, int c, int rows, size_t index, size_t n,
                      const float *gradient, size_t gradient_ld, float *sums)
{
    dn_norm_grad args = dn_norm_backward_args(net, node, c, rows, index, n, sums);
    args.gradient = gradient;
    args.gradient_ld = gradient_ld;
    net->on_maps->norm_relu_grad(&args);
}

void dn_norm_partial_clear(dn_net *net, const dn_node *node, const dn_task *item, int part)
{
    const int first = item->block * DN_BACKWARD_BLOCK, end = item->block_end * DN_BACKWARD_BLOCK;
    const size_t channels = (size_t)((end < node->inputs ? end : node->inputs) - first);
    memset(dn_norm_partial(net, node, part, first), 0, 2 * channels * sizeof(double));
}

void dn_norm_merge_sums(dn_net *net, const dn_node *node, int parts)
{
    dn_feature_map *map = &net->maps[node->in];
    const double *partial = net->partial;
    const size_t inputs = (size_t)node->inputs;
#pragma omp for schedule(static)
    for (size_t c = 0; c < inputs; c++) {
        double sum = 0, moment = 0;
        for (size_t p = 0; p < (size_t)parts; p++) {
            sum += partial[(p * inputs + c) * 2];
            moment += partial[(p * inputs + c) * 2 + 1];
        }
        moment *= map->inverse[c];
        net->leaf[node->beta + c] = (float)sum;
        net->leaf[node->gamma + c] = (float)moment;
        const double gamma = net->parameters[node->gamma + c];
        const double before[2] = {node->accumulate ? map->sums[2 * c] : 0,
                                  node->accumulate ? map->sums[2 * c + 1] : 0};
        map->sums[2 * c] = before[0] + gamma * sum;
        map->sums[2 * c + 1] = before[1] + gamma * moment;
    }
}
