/* What a visit gets of its layer and maps: the arguments of each layer's runs. */
#include "model/model.h"

dn_visit dn_visit_of(const dn_net *net, int layer, int time)
{
    const dn_layer *l = &net->layers[layer];
    const int is_late = time >= net->layer_count;
    const int is_fp32 = l->out < 0 || l->kind->winograd; /* the classifier's are few */
    const dn_dtype products = is_fp32 ? DN_FP32 : net->options.dtype;
    dn_visit v = {.layer = l,
                  .time = time,
                  .backward = time == 2 * net->layer_count - 1 - layer,
                  .net = &net->view,
                  .products = &net->view.kernels->products[products],
                  .on_maps = &net->view.kernels->on_maps[net->options.dtype],
                  .threads = net->threads,
                  .losses = net->losses,
                  .correction = net->correction,
                  .scratch = net->scratch,
                  .scratch_floats = net->scratch_floats};
    if (l->in >= 0) {
        v.in = &net->maps[l->in];
        v.x = is_late ? v.in->backward_data : v.in->data;
        v.dx = v.in->gradient;
    }
    if (l->out >= 0) {
        v.out = &net->maps[l->out];
        v.y = is_late ? v.out->backward_data : v.out->data;
        v.dy = v.out->gradient;
    }
    dn_visit_cut(&v);
    return v;
}

dn_visit dn_visit_at(const dn_net *net, int time)
{
    const int end = 2 * net->layer_count - 1;
    return dn_visit_of(net, time < net->layer_count ? time : end - time, time);
}

size_t dn_visits_scratch(const dn_net *net)
{
    dn_carver c = {0};
    for (int t = 0; t <= dn_net_last_time(net); t++) {
        const dn_visit v = dn_visit_at(net, t);
        dn_carve_anew(&c);
        v.layer->kind->scratch(&v, &c);
    }
    return dn_row_stride(c.most / sizeof(float));
}
