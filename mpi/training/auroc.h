/* Areas under ROC curves, one class against the rest. Not collective. */
#ifndef DN_AUROC_H
#define DN_AUROC_H

#include "dn/source.h"
#include "dn/status.h"

/* Most probabilities, images x classes, that are kept for the curves: 64 MiB. */
enum { DN_MOST_PROBABILITIES = 1 << 23 };

/* 1 if the probabilities of these images are few enough to be kept. */
int dn_has_auroc(const dn_source *images);

/* auroc(classes) = for each class, the chance that an image of it has a greater probability of the
 * class than an image of another (equal ones count half), from 0 to 1: the exact area, as that of
 * scikit-learn's roc_auc_score, over the images that are known to have the class or not. NaN for a
 * class with none or all of these, or if a probability is NaN. probabilities(images->count,
 * classes). DN_ENOMEM. */
dn_status dn_class_auroc(const dn_source *images, const double *probabilities, double *auroc);

/* The mean of auroc(classes) over the classes that have one; NaN if none has. */
double dn_mean_auroc(const double *auroc, int classes);

#endif
