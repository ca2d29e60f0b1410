/*
 * The loss of a batch: each image's by its own target (dn/loss.h), smoothed, and of two labels if
 * images are mixed; and the number of correct predictions. The sum over the batch is in the order
 * of its images.
 */
#include <string.h>

#include "layers/layer.h"

static const float *image_logits(const dn_visit *v, int image)
{
    return v->net->logits + (size_t)image * (size_t)v->layer->outputs;
}

dn_mix dn_pass_mix(const dn_pass *pass, const dn_spec *spec)
{
    return dn_mix_draw(&pass->mixing, pass->seed, pass->step, pass->virtual_rank, spec->height,
                       spec->width);
}

static dn_target target_of(const dn_visit *v, const dn_pass *pass, const dn_mix *mix, int image)
{
    return (dn_target){.label = v->net->labels[image],
                       .other = v->net->labels[dn_mix_partner(image, v->net->batch)],
                       .share = (double)mix->share,
                       .smoothing = (double)pass->label_smoothing,
                       .weights = pass->class_weights,
                       .sets = pass->label_sets};
}

/* The divisor of the sum of losses: PyTorch divides by the labels' weights, but by the number of
 * images if targets are probabilities, or the loss is over images. A pass over part of a larger
 * batch provides its share of that batch's weights. */
static double loss_divisor(const dn_visit *v, const dn_pass *pass)
{
    const int is_mixed = pass->mixing.mixup > 0 || pass->mixing.cutmix > 0;
    double sum = 0;
    if (pass->class_weights == NULL || is_mixed || v->net->loss->over_images)
        return v->net->batch;
    if (pass->label_weights > 0)
        return pass->label_weights;
    for (int i = 0; i < v->net->batch; i++)
        sum += (double)pass->class_weights[v->net->labels[i]];
    return sum;
}

void dn_loss_score(const dn_visit *v, const dn_pass *pass, dn_result *result)
{
    const int classes = v->layer->outputs, images = v->net->batch;
    const dn_mix mix = dn_pass_mix(pass, v->net->spec);
    const dn_loss *const loss = v->net->loss;
    int correct = 0;
#pragma omp parallel for schedule(static) reduction(+ : correct)
    for (int i = 0; i < images; i++) {
        const dn_target t = target_of(v, pass, &mix, i);
        v->losses[i] = loss->value(&t, image_logits(v, i), classes);
        correct += loss->is_correct(&t, image_logits(v, i), classes);
    }
    *result = (dn_result){.correct = correct};
    for (int i = 0; i < images; i++)
        result->loss += v->losses[i];
    result->loss /= loss_divisor(v, pass);
}

void dn_loss_gradient(const dn_visit *v, const dn_pass *pass, float *rows, size_t stride)
{
    const int classes = v->layer->outputs, images = v->net->batch;
    const double divisor = loss_divisor(v, pass);
    const dn_mix mix = dn_pass_mix(pass, v->net->spec);
    const dn_loss *const loss = v->net->loss;
#pragma omp for schedule(static)
    for (int i = 0; i < images; i++) {
        const dn_target t = target_of(v, pass, &mix, i);
        loss->gradient(&t, image_logits(v, i), classes, divisor, rows + i, stride);
    }
#pragma omp for schedule(static)
    for (int o = 0; o < classes; o++)
        memset(rows + (size_t)o * stride + images, 0, (stride - (size_t)images) * sizeof *rows);
}
