/* The lines that `predict` prints for an image, on standard output. Not collective. */
#ifndef DN_COMMANDS_PREDICTION_H
#define DN_COMMANDS_PREDICTION_H

/* A class with its probability, from 0 to 1. */
typedef struct dn_choice {
    double class, probability; /* only doubles, as ranks send them as an array of doubles */
} dn_choice;

/* A line for each of choice(top), the most likely first; names(classes). */
void dn_prediction_csv(const char *path, const dn_choice *choice, int top,
                       const char *const *names);

/* One line for a reader. */
void dn_prediction_text(const char *path, const dn_choice *choice, int top,
                        const char *const *names);

/* One object, without a newline; with `fault` in place of classes unless it is NULL. */
void dn_prediction_json(const char *path, const dn_choice *choice, int top,
                        const char *const *names, const char *fault);

#endif
