/* Binary cross-entropy, of images with a set of classes each; see include/dn/loss.h. */
#include "dn/data_info.h"
#include "dn/loss.h"
#include "dn/math.h"

/* log(1 + exp(x)) */
static double softplus(float x)
{
    double largest;
    const double normal = dn_log_sum_exp((const float[]){0, x}, 2, &largest);
    return largest + normal;
}

static double sigmoid(float x)
{
    return dn_exp(x - softplus(x));
}

static dn_presence presence(const dn_target *t, int label, int o, int classes)
{
    return t->sets[(size_t)label * (size_t)classes + (size_t)o];
}

/* 1 if each label that counts knows class `o`. */
static int is_known(const dn_target *t, int o, int classes)
{
    return (t->share == 0 || presence(t, t->label, o, classes) != DN_UNKNOWN) &&
           (t->share == 1 || presence(t, t->other, o, classes) != DN_UNKNOWN);
}

/* The target of the known class `o`, 0 to 1. */
static double target_of(const dn_target *t, int o, int classes)
{
    const double hard = (presence(t, t->label, o, classes) == DN_PRESENT ? t->share : 0) +
                        (presence(t, t->other, o, classes) == DN_PRESENT ? 1 - t->share : 0);
    return (1 - t->smoothing) * hard + t->smoothing / 2;
}

/* The weighted part of the target that is for class `o`. */
static double positive_part(const dn_target *t, int o, double target)
{
    return t->weights ? (double)t->weights[o] * target : target;
}

static double value(const dn_target *t, const float *logits, int classes)
{
    double sum = 0;
    for (int o = 0; o < classes; o++) {
        if (!is_known(t, o, classes))
            continue;
        const double target = target_of(t, o, classes);
        const double positive = positive_part(t, o, target);
        const double against = softplus(logits[o]); /* -log(1 - probability) */
        sum += positive * (against - logits[o]) + (1 - target) * against;
    }
    return sum / classes;
}

static void gradient(const dn_target *t, const float *logits, int classes, double divisor,
                     float *to, size_t stride)
{
    for (int o = 0; o < classes; o++) {
        const double target = target_of(t, o, classes);
        const double positive = positive_part(t, o, target);
        const double slope = sigmoid(logits[o]) * (positive + 1 - target) - positive;
        to[(size_t)o * stride] = is_known(t, o, classes) ? (float)(slope / classes / divisor) : 0;
    }
}

static int is_correct(const dn_target *t, const float *logits, int classes)
{
    const int label = t->share < 0.5 ? t->other : t->label;
    int right = 1;
    for (int o = 0; o < classes; o++) {
        const dn_presence is_in = presence(t, label, o, classes);
        right &= is_in == DN_UNKNOWN || (is_in == DN_PRESENT ? logits[o] > 0 : logits[o] <= 0);
    }
    return right;
}

static void probabilities(const float *logits, int classes, int first, int end, double *p)
{
    (void)classes;
    for (int o = first; o < end; o++)
        p[o - first] = sigmoid(logits[o]);
}

const dn_loss dn_binary_cross_entropy = {.value = value,
                                         .gradient = gradient,
                                         .is_correct = is_correct,
                                         .probabilities = probabilities,
                                         .over_images = 1,
                                         .onnx = "Sigmoid"};
