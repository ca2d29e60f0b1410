/* The roofline model of a bench: how close phases and layers come to the machine's peaks
 * (dn/peaks.h). Not collective. */
#ifndef DN_ROOFLINE_H
#define DN_ROOFLINE_H

#include <jansson.h>

#include "dn/net.h"
#include "dn/peaks.h"

/* Prints the times of the net's phases and slowest layers in the `steps` training steps since
 * dn_net_phase_reset; or, if `report` is not NULL, adds them there as "roofline". DN_ENOMEM. */
dn_status dn_roofline_report(const dn_net *net, const dn_peaks *peaks, int steps, json_t *report);

#endif
