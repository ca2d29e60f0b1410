/* The pixel loops that go with a kernel table; see pixel_kernels.h. */
#include "transforms/pixel_kernels.h"

#include "dn/resize.h"

/* pixel_kernels.c, per dn_level. */
extern const dn_pixel_kernels dn_pixels_generic, dn_pixels_avx2, dn_pixels_avx512;

static const dn_pixel_kernels *const tables[] = {
    &dn_pixels_generic,
#if DN_X86_TABLES
    &dn_pixels_avx2,
    &dn_pixels_avx512,
#endif
};

const dn_pixel_kernels *dn_pixel_kernels_of(const dn_kernels *kernels)
{
    return tables[kernels->level];
}
