/*
 * The loss: softmax cross-entropy with smoothed labels, two labels for mixed images, and class
 * weights; and the number of correct predictions. In double, one image at a time; the sum over the
 * batch is in the order of its images.
 */
#include <string.h>

#include "dn/math.h"
#include "layers/layer.h"

static const float *image_logits(const dn_visit *v, int image)
{
    return v->net->logits + (size_t)image * (size_t)v->layer->outputs;
}

/* The target of an image: (1 - smoothing) * (share * label + (1 - share) * other) + smoothing /
 * classes. */
typedef struct target {
    int label, other;
    double share, smoothing;
} target;

dn_mix dn_pass_mix(const dn_pass *pass, const dn_spec *spec)
{
    return dn_mix_draw(&pass->mixing, pass->seed, pass->step, pass->virtual_rank, spec->height,
                       spec->width);
}

static target target_of(const dn_visit *v, const dn_pass *pass, const dn_mix *mix, int image)
{
    return (target){.label = v->net->labels[image],
                    .other = v->net->labels[dn_mix_partner(image, v->net->batch)],
                    .share = (double)mix->share,
                    .smoothing = (double)pass->label_smoothing};
}

static double class_weight(const dn_pass *pass, int class)
{
    return pass->class_weights != NULL ? (double)pass->class_weights[class] : 1;
}

/* Weighted cross-entropy. */
static double image_loss(const float *logits, int classes, const target *t, const dn_pass *pass)
{
    double largest, mean = 0;
    const double normal = dn_log_sum_exp(logits, classes, &largest);
    for (int o = 0; o < classes && t->smoothing > 0; o++)
        mean += class_weight(pass, o) * (logits[o] - largest - normal);
    double hard = t->share * class_weight(pass, t->label) * (logits[t->label] - largest - normal);
    if (t->share < 1)
        hard +=
            (1 - t->share) * class_weight(pass, t->other) * (logits[t->other] - largest - normal);
    return -(1 - t->smoothing) * hard - t->smoothing * mean / classes;
}

/* The divisor of the sum of losses: PyTorch divides by the labels' weights, but by the number of
 * images if targets are probabilities. A pass over part of a larger batch provides its share of
 * that batch's weights. */
static double loss_divisor(const dn_visit *v, const dn_pass *pass)
{
    const int is_mixed = pass->mixing.mixup > 0 || pass->mixing.cutmix > 0;
    double sum = 0;
    if (pass->class_weights == NULL || is_mixed)
        return v->net->batch;
    if (pass->label_weights > 0)
        return pass->label_weights;
    for (int i = 0; i < v->net->batch; i++)
        sum += class_weight(pass, v->net->labels[i]);
    return sum;
}

void dn_loss_score(const dn_visit *v, int count, const dn_pass *pass, dn_result *result)
{
    const int classes = v->layer->outputs;
    const dn_pass plain = {0}, *own = pass != NULL ? pass : &plain;
    const dn_mix mix = dn_pass_mix(own, v->net->spec);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++) {
        const target t = target_of(v, own, &mix, i);
        v->losses[i] = image_loss(image_logits(v, i), classes, &t, own);
    }
    *result = (dn_result){0};
    for (int i = 0; i < count; i++) {
        const target t = target_of(v, own, &mix, i);
        const int label = t.share < 0.5 ? t.other : t.label;
        result->loss += v->losses[i];
        result->correct += dn_label_rank(image_logits(v, i), classes, label) < 1;
    }
    if (pass != NULL)
        result->loss /= loss_divisor(v, pass);
}

/* The share of class `o` in the target. */
static double target_part(const target *t, int o, int classes)
{
    const double hard = (o == t->label ? t->share : 0) + (o == t->other ? 1 - t->share : 0);
    return (1 - t->smoothing) * hard + t->smoothing / classes;
}

void dn_loss_gradient(const dn_visit *v, const dn_pass *pass, float *rows, size_t stride)
{
    const int classes = v->layer->outputs, images = v->net->batch;
    const double divisor = loss_divisor(v, pass);
    const dn_mix mix = dn_pass_mix(pass, v->net->spec);
#pragma omp for schedule(static)
    for (int i = 0; i < images; i++) {
        const target t = target_of(v, pass, &mix, i);
        const float *logits = image_logits(v, i);
        double largest, all = pass->class_weights != NULL ? 0 : 1; /* of the weighted target */
        const double normal = dn_log_sum_exp(logits, classes, &largest);
        for (int o = 0; o < classes && pass->class_weights != NULL; o++)
            all += class_weight(pass, o) * target_part(&t, o, classes);
        for (int o = 0; o < classes; o++) {
            const double part = class_weight(pass, o) * target_part(&t, o, classes);
            rows[(size_t)o * stride + (size_t)i] =
                (float)((dn_exp(logits[o] - largest - normal) * all - part) / divisor);
        }
    }
#pragma omp for schedule(static)
    for (int o = 0; o < classes; o++)
        memset(rows + (size_t)o * stride + images, 0, (stride - (size_t)images) * sizeof *rows);
}
