/*
 * The operands of products that round to bf16: from a map and from rows of floats, in both forms,
 * against the rounded values, and with the zeros around them.
 */
#include "check_kernels.h"
#include "expect.h"

#include <math.h>

/* Element (row, pixel) of an operand. */
static float operand_at(const dn_guarded *m, dn_form form, int row, ptrdiff_t p)
{
    const int r = form == DN_PAIRED ? row / 2 : row;
    const uint16_t *halves = (const uint16_t *)dn_guarded_row(m, r);
    const union {
        uint32_t bits;
        float value;
    } x = {.bits = (uint32_t)(form == DN_PAIRED ? halves[2 * p + row % 2] : halves[p]) << 16};
    return x.value;
}

static int same(float a, float b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* All rows of `made`, of pixels n of which and of the one before and the pad are zeros. */
static void compare(const char *kernel, dn_form form, const dn_guarded *made, int rows, size_t n,
                    const dn_guarded *want)
{
    const int all = form == DN_PAIRED ? 2 * made->rows : made->rows;
    for (int r = 0; r < all; r++)
        for (ptrdiff_t p = -1; p < (ptrdiff_t)(n + DN_FORM_PAD); p++) {
            const int inside = r < rows && p >= 0 && p < (ptrdiff_t)n;
            const float expected = inside ? dn_nearest_bf16(dn_guarded_get(want, r, p)) : 0;
            const float found = operand_at(made, form, r, p);
            if (!same(expected, found)) {
                dn_trial_fail("%s, form %d, row %d, pixel %td: %g, not %g", kernel, form, r, p,
                              (double)found, (double)expected);
                return;
            }
        }
    if (!dn_guarded_intact(made))
        dn_trial_fail("%s, form %d: wrote outside its rows", kernel, form);
}

void dn_check_operands(const dn_kernels *k, const dn_padded *f, const dn_guarded *x,
                       const float *scale, const float *shift, const dn_guarded *want)
{
    const dn_operand_kernels *operands = k->products[DN_BF16].operands;
    const size_t n = dn_padded_floats(f);
    for (int form = 0; operands != NULL && form < DN_FORMS; form++) {
        dn_guarded made = dn_trial_operand_rows((dn_form)form, x->rows, n);
        operands->norm_relu((dn_form)form, x->rows, f, x->data, x->ld, scale, shift, made.data,
                            made.ld);
        compare("norm_relu", (dn_form)form, &made, x->rows, n, want);
        dn_guarded_blank(&made);
        operands->round((dn_form)form, x->rows, n, want->data, want->ld, made.data, made.ld);
        compare("round", (dn_form)form, &made, x->rows, n, want);
        dn_guarded_destroy(&made);
    }
}
