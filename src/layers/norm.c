/*
 * Batch norm's share of the work that is not fused into kernels: per-channel arithmetic, in
 * double, on sums that the pieces of a map left behind.
 */
#include "layers.h"

#include <math.h>

void dn_norm_prepare(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    const dn_map *map = &net->maps[node->in];
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

void dn_map_piece_moments(dn_net *net, const dn_map *map, int index, int first, int count)
{
    const dn_piece piece = dn_grid_piece(&map->grid, index);
    double *partial = net->partial + (size_t)index * (size_t)count * 2;
    for (int c = 0; c < count; c++) {
        float moments[2];
        net->on_maps->moments(1, piece.pixels,
                              dn_map_at(map, dn_map_index(map, &piece, first + c, 0)),
                              map->grid.stride, moments);
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

void dn_map_merge_moments(dn_net *net, dn_map *map, int first, int count)
{
    const double *partial = net->partial;
    float *means = net->leaf + net->parameter_count + map->statistics;
#pragma omp for schedule(static)
    for (int c = 0; c < count; c++) {
        double pixels = 0, mean = 0, squares = 0;
        for (int p = 0; p < map->grid.pieces; p++) {
            const dn_piece piece = dn_grid_piece(&map->grid, p);
            const double *moments = partial + ((size_t)p * (size_t)count + (size_t)c) * 2;
            merge_moments(&pixels, &mean, &squares, (double)piece.pixels, moments[0], moments[1]);
        }
        const int channel = first + c;
        map->mean[channel] = (float)mean;
        map->inverse[channel] = (float)(1 / sqrt(squares / pixels + DN_NORM_EPSILON));
        means[channel] = (float)mean;
        means[map->channels + channel] = (float)(squares / (pixels > 1 ? pixels - 1 : 1));
    }
}

void dn_map_correction(const dn_map *map, int first, int count, float *coefficients)
{
    const double pixels = dn_map_pixels(map);
    for (int c = first; c < first + count; c++, coefficients += 3) {
        const double s = map->inverse[c], mean = map->mean[c];
        const double a = map->correction[2 * c] / pixels, b = map->correction[2 * c + 1] / pixels;
        coefficients[0] = (float)s;
        coefficients[1] = (float)(-s * s * b);
        coefficients[2] = (float)(s * s * b * mean - s * a);
    }
}

void dn_norm_backward(dn_net *net, const dn_node *node, int c, int rows, size_t index, size_t n,
                      const float *gradient, size_t gradient_ld, float *sums)
{
    const dn_map *map = &net->maps[node->in];
    net->on_maps->norm_relu_grad(&(dn_norm_grad){.rows = rows,
                                                 .n = n,
                                                 .gradient = gradient,
                                                 .x = dn_map_at(map, index),
                                                 .sum = map->gradient + index,
                                                 .gradient_ld = gradient_ld,
                                                 .x_ld = map->grid.stride,
                                                 .sum_ld = map->grid.stride,
                                                 .scale = node->scale + c,
                                                 .shift = node->shift + c,
                                                 .mean = map->mean + c,
                                                 .gamma = net->parameters + node->gamma + c,
                                                 .accumulate = node->accumulate,
                                                 .sums = sums});
}

void dn_norm_merge_sums(dn_net *net, const dn_node *node, int parts)
{
    dn_map *map = &net->maps[node->in];
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
        const double before[2] = {node->accumulate ? map->correction[2 * c] : 0,
                                  node->accumulate ? map->correction[2 * c + 1] : 0};
        map->correction[2 * c] = before[0] + gamma * sum;
        map->correction[2 * c + 1] = before[1] + gamma * moment;
    }
}
