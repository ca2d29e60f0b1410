/* Softmax cross-entropy, of images with one label each; see include/dn/loss.h. */
#include "dn/loss.h"
#include "dn/math.h"

static double weight(const dn_target *t, int class)
{
    return t->weights ? (double)t->weights[class] : 1;
}

static double value(const dn_target *t, const float *logits, int classes)
{
    double largest, mean = 0;
    const double normal = dn_log_sum_exp(logits, classes, &largest);
    for (int o = 0; o < classes && t->smoothing > 0; o++)
        mean += weight(t, o) * (logits[o] - largest - normal);
    double hard = t->share * weight(t, t->label) * (logits[t->label] - largest - normal);
    if (t->share < 1)
        hard += (1 - t->share) * weight(t, t->other) * (logits[t->other] - largest - normal);
    return -(1 - t->smoothing) * hard - t->smoothing * mean / classes;
}

/* The share of class `o` in the target. */
static double target_part(const dn_target *t, int o, int classes)
{
    const double hard = (o == t->label ? t->share : 0) + (o == t->other ? 1 - t->share : 0);
    return (1 - t->smoothing) * hard + t->smoothing / classes;
}

static void gradient(const dn_target *t, const float *logits, int classes, double divisor,
                     float *to, size_t stride)
{
    enum { BLOCK = 64 };
    double p[BLOCK], largest, all = t->weights ? 0 : 1; /* of the weighted target */
    const double normal = dn_log_sum_exp(logits, classes, &largest);
    for (int o = 0; o < classes && t->weights; o++)
        all += weight(t, o) * target_part(t, o, classes);
    for (int first = 0; first < classes; first += BLOCK) {
        const int end = classes - first < BLOCK ? classes : first + BLOCK;
        dn_exps(logits + first, end - first, largest, normal, p);
        for (int o = first; o < end; o++) {
            const double part = weight(t, o) * target_part(t, o, classes);
            to[(size_t)o * stride] = (float)((p[o - first] * all - part) / divisor);
        }
    }
}

static int is_correct(const dn_target *t, const float *logits, int classes)
{
    return dn_label_rank(logits, classes, t->share < 0.5 ? t->other : t->label) < 1;
}

static void probabilities(const float *logits, int classes, int first, int end, double *p)
{
    double largest;
    const double normal = dn_log_sum_exp(logits, classes, &largest);
    dn_exps(logits + first, end - first, largest, normal, p);
}

const dn_loss dn_cross_entropy = {.value = value,
                                  .gradient = gradient,
                                  .is_correct = is_correct,
                                  .probabilities = probabilities,
                                  .onnx = "Softmax"};
