/* How near a bench comes to the machine's roofs (dn/peaks.h): by phase, and the layers that lose
 * most. Not collective. */
#ifndef DN_ROOFLINE_H
#define DN_ROOFLINE_H

#include <jansson.h>

#include "dn/net.h"
#include "dn/peaks.h"

/* Prints what the net's layers took since dn_net_phase_reset, `steps` training steps ago; or, where
 * `report` is not NULL, adds it there as "roofline". DN_ENOMEM. */
dn_status dn_roofline_report(const dn_net *net, const dn_peaks *peaks, int steps, json_t *report);

#endif
