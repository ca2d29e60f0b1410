/*
 * Losses: what an image's logits are worth, given its label. A loss is a file in src/layers; a net
 * has one (dn_net_options). `value` and `gradient` use all members of the target (`sets` if labels
 * are sets), is_correct the labels and `share`. In double and by dn/math.h, so that the bits do not
 * depend on the machine. Not collective.
 */
#ifndef DN_LOSS_H
#define DN_LOSS_H

#include <stddef.h>
#include <stdint.h>

/* What an image is to be taken for. The label counts `share`, the other one the rest. */
typedef struct dn_target {
    int label, other;
    double share;         /* 1 unless the image is mixed with another */
    double smoothing;     /* of labels, 0 to 1 */
    const float *weights; /* (classes) of the loss; NULL: all 1 */
    const uint8_t *sets;  /* (label_sets, classes) dn_presence (dn/data_info.h) in the sets that
                             labels number; NULL: labels are classes */
} dn_target;

typedef struct dn_loss {
    /* The image's loss, by natural logarithms. */
    double (*value)(const dn_target *target, const float *logits, int classes);

    /* to[o * stride] = the derivative by logit `o`, divided by `divisor`. */
    void (*gradient)(const dn_target *target, const float *logits, int classes, double divisor,
                     float *to, size_t stride);

    /* 1 if the logits tell the label with the larger share. */
    int (*is_correct)(const dn_target *target, const float *logits, int classes);

    /* p(end - first) = the probabilities of the classes [first, end). */
    void (*probabilities)(const float *logits, int classes, int first, int end, double *p);

    int over_images;  /* a batch's loss is the mean 1: over its images, 0: over its labels' class
                         weights, as PyTorch's */
    const char *onnx; /* ONNX's operator for the probabilities */
} dn_loss;

/* Softmax cross-entropy. The target is (1 - smoothing) * (share * label + (1 - share) * other) +
 * smoothing / classes; each class counts with its weight. Correct: the label's logit is the
 * largest.
 */
extern const dn_loss dn_cross_entropy;

/* Binary cross-entropy of a sigmoid for each class, mean over the classes, for labels that are sets
 * of classes. The target of a class is (1 - smoothing) * (share * is in label + (1 - share) * is in
 * other) + smoothing / 2; its positive part counts with the class's weight, as PyTorch's
 * pos_weight. A class that is unknown in a label that counts adds 0, as with PyTorch's weight 0.
 * Correct: of the classes that the set knows, the logits of just those in it are positive. */
extern const dn_loss dn_binary_cross_entropy;

#endif
