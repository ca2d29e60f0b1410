/* Optimizers: their rows in every table, one step of a tensor that ends anywhere. */
#include "check_kernels.h"
#include "dn/optimizer.h"
#include "expect.h"

#include <math.h>

/* Fills the matrix, of parameters and the optimizer's states, from `seed`. */
static void fill(dn_guarded *to, size_t n, uint64_t seed)
{
    dn_guarded_fill(to, n, seed);
    for (int row = 1; row < to->rows; row++)
        for (size_t i = 0; i < n; i++)
            to->data[(size_t)row * to->ld + i] = fabsf(to->data[(size_t)row * to->ld + i]);
}

/* All tables must come to the bits of `generic`. The vectors are as long as the matrix's rows and
 * what lies between them, of which the tensor takes the first n floats. */
static void check_row(int index, size_t n)
{
    const uint64_t seed = dn_trial_seed();
    const dn_optimizer *row = dn_optimizer_get(dn_kernels_get(0), index);
    dn_guarded to = dn_trial_matrix(1 + DN_OPTIMIZER_STATES, 0, n);
    dn_guarded gradients = dn_trial_filled(1, 0, n, n);
    dn_expect e = dn_expect_create(row->name, to.rows, 0, n);
    const dn_tensor tensor = {.kind = DN_CONV_WEIGHT, .count = n};
    const dn_update u = {.settings = {.rate = 0.1,
                                      .weight_decay = 0.3,
                                      .momentum = 0.9,
                                      .nesterov = dn_trial_draw(0, 1),
                                      .beta1 = 0.9,
                                      .beta2 = 0.99,
                                      .eps = 1e-8},
                         .step = dn_trial_draw(1, 1000),
                         .count = to.ld,
                         .parameters = to.data,
                         .states = to.data + to.ld,
                         .gradients = gradients.data,
                         .gradient_scale = 1 / 3.0f,
                         .tensors = &tensor,
                         .tensor_count = 1};
    dn_trial_describe("%zu parameters, step %d, nesterov %d", n, (int)u.step, u.settings.nesterov);
    fill(&to, n, seed);
    row->update(&u);
    for (int r = 0; r < to.rows; r++)
        for (size_t i = 0; i < n; i++)
            dn_expect_point(&e, r, i, (double)dn_guarded_row(&to, r)[i], 0);
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        fill(&to, n, seed);
        dn_optimizer_get(k, index)->update(&u);
        dn_expect_verify(&e, k, &to);
    }
    DN_GUARDED_DESTROY(&to, &gradients);
    dn_expect_destroy(&e);
}

void dn_check_update(size_t n)
{
    for (int i = 0; dn_optimizer_name(i); i++)
        check_row(i, n);
}
