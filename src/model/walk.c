/*
 * Runs the layers: forward in order, backward in reverse, the nets of a team in lockstep. A single
 * net is a team of one, alone in its norm group.
 */
#include <assert.h>
#include <omp.h>
#include <string.h>

#include "dn/tree.h"
#include "model/model.h"

static void run_forward(const dn_net *net, const dn_visit *v, const dn_pass *pass)
{
    dn_memory_guard(net, v);
    v->layer->kind->forward(v, pass);
}

/* Recomputes the input first, if necessary; its statistics are already known. */
static void run_backward(const dn_net *net, const dn_visit *v, const dn_pass *pass)
{
    if (v->before != NULL)
        run_forward(net, v->before, pass);
    dn_memory_guard(net, v);
    v->layer->kind->backward(v, pass);
}

/* Number of batches that share statistics; without an exchange, those of the team. */
static int group_size(const dn_team *team)
{
    return team->exchange != NULL ? team->nets[0]->view.norm_group : team->count;
}

/* Member m's sums of the layer's output channels, (outputs, 2). */
static const double *sums_of(const dn_team *team, const dn_layer *layer, int m)
{
    return team->nets[m]->maps[layer->out].sums + 2 * layer->first;
}

/* The first of the lead's rows(team.count, width) = the sum over the whole norm group. */
static void sum_over_group(const dn_team *team, size_t width)
{
    double *rows = team->nets[0]->group.rows;
    if (team->exchange != NULL)
        team->exchange(team->user, rows, width);
    else
        for (size_t i = 0; i < width; i++)
            rows[i] = dn_tree_sum(rows + i, team->count, (int)width);
}

/* Mean and variance over the norm group from each batch's mean and sum of squared deviations: first
 * the group's mean, then the squared deviations from that. */
static void group_statistics(const dn_team *team, const dn_visit *v)
{
    const dn_norm_group *group = &team->nets[0]->group;
    const size_t outputs = (size_t)v->layer->outputs;
    const double pixels = dn_map_pixels(v->out);
    for (int m = 0; m < team->count; m++)
        for (size_t c = 0; c < outputs; c++)
            group->rows[(size_t)m * outputs + c] = sums_of(team, v->layer, m)[2 * c];
    sum_over_group(team, outputs);
    for (size_t c = 0; c < outputs; c++)
        group->means[c] = group->rows[c] / group_size(team);
    for (int m = 0; m < team->count; m++)
        for (size_t c = 0; c < outputs; c++) {
            const double *moments = sums_of(team, v->layer, m) + 2 * c;
            const double delta = moments[0] - group->means[c];
            group->rows[(size_t)m * outputs + c] = moments[1] + pixels * delta * delta;
        }
    sum_over_group(team, outputs);
    dn_norm_statistics(v, group, group_size(team));
}

static void group_correction(const dn_team *team, const dn_visit *v)
{
    const dn_net *lead = team->nets[0];
    const size_t width = 2 * (size_t)v->layer->outputs;
    double *rows = lead->group.rows;
    for (int m = 0; m < team->count; m++)
        memcpy(rows + (size_t)m * width, sums_of(team, v->layer, m), width * sizeof *rows);
    sum_over_group(team, width);
    dn_norm_correction(v, &lead->group, group_size(team), lead->correction);
}

static dn_pass pass_of(const dn_pass *pass, int member)
{
    dn_pass own = *pass;
    own.virtual_rank += (uint64_t)member;
    return own;
}

static void mix_images(const dn_team *team, const dn_pass *pass)
{
    for (int m = 0; m < team->count; m++) {
        const dn_pass own = pass_of(pass, m);
        const dn_view *net = &team->nets[m]->view;
        const dn_mix mix = dn_pass_mix(&own, net->spec);
        dn_mix_images(&mix, net->images, net->batch, net->spec->channels, net->spec->height,
                      net->spec->width);
    }
}

/* Finishes the forward pass: all members share the group's statistics, but each has its own loss.
 */
static void finish_forward(const dn_team *team, const dn_pass *pass, dn_result *results)
{
    const dn_net *lead = team->nets[0];
    for (int m = 0; m < team->count; m++) {
        const dn_net *net = team->nets[m];
        const size_t first = net->view.gradient_count, end = net->view.leaf_count;
        if (net != lead)
            memcpy(net->view.leaf + first, lead->view.leaf + first, (end - first) * sizeof(float));
        const dn_pass own = pass_of(pass, m);
        if (results)
            dn_loss_score(&net->visits[net->layer_count - 1], &own, &results[m]);
    }
}

void dn_team_forward(const dn_team *team, const dn_pass *pass, dn_result *results)
{
    const dn_net *lead = team->nets[0];
    assert(team->count <= group_size(team));
    mix_images(team, pass);
    for (int i = 0; i < lead->layer_count; i++) {
        dn_layer *layer = &lead->layers[i];
        const double start = omp_get_wtime();
        for (int m = 0; m < team->count; m++) {
            const dn_pass own = pass_of(pass, m);
            run_forward(team->nets[m], &team->nets[m]->visits[i], &own);
        }
        if (layer->out >= 0)
            group_statistics(team, &lead->visits[i]);
        layer->forward_seconds += omp_get_wtime() - start;
    }
    finish_forward(team, pass, results);
}

void dn_team_backward(const dn_team *team, const dn_pass *pass)
{
    const dn_net *lead = team->nets[0];
    for (int t = lead->layer_count; t < 2 * lead->layer_count - lead->first_learnt; t++) {
        const dn_visit *v = &lead->visits[t];
        dn_layer *layer = &lead->layers[v->layer->index];
        const double start = omp_get_wtime();
        if (layer->out >= 0)
            group_correction(team, v);
        for (int m = 0; m < team->count; m++) {
            const dn_pass own = pass_of(pass, m);
            run_backward(team->nets[m], &team->nets[m]->visits[t], &own);
        }
        layer->backward_seconds += omp_get_wtime() - start;
        if (pass->ready != NULL)
            pass->ready(pass->user, dn_layer_leaf_end(lead, layer));
    }
}

void dn_net_forward_eval(dn_net *net)
{
    for (int i = 0; i < net->layer_count; i++) {
        const double start = omp_get_wtime();
        run_forward(net, &net->visits[i], NULL);
        net->layers[i].forward_seconds += omp_get_wtime() - start;
    }
}
