/*
 * The walks over the nodes: forward in order, backward in reverse, the nets of a team side by side.
 *
 * A single net is a team of one, alone in its norm group.
 */
#include "dn/tree.h"
#include "layers.h"
#include "plan.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

static void node_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_memory_visit(net, (int)(node - net->nodes));
    switch (node->kind) {
    case DN_NODE_STEM:
        dn_stem_forward(net, node, pass);
        break;
    case DN_NODE_STEM_POOL:
        dn_stem_pool_forward(net, node, pass);
        break;
    case DN_NODE_CONV:
        dn_conv_forward(net, node, pass);
        break;
    case DN_NODE_TRANSITION:
        dn_transition_forward(net, node, pass);
        break;
    case DN_NODE_HEAD:
        dn_head_forward(net, node, pass);
        break;
    }
}

static void node_backward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    dn_memory_visit(net, 2 * net->node_count - 1 - (int)(node - net->nodes));
    switch (node->kind) {
    case DN_NODE_HEAD:
        dn_head_backward(net, node, pass->label_smoothing);
        break;
    case DN_NODE_TRANSITION:
        dn_transition_backward(net, node);
        break;
    case DN_NODE_CONV:
        if (net->maps[node->in].recomputed)
            dn_conv_forward(net, dn_node_before(node), pass); /* its statistics stand already */
        dn_conv_backward(net, node, pass);
        break;
    case DN_NODE_STEM_POOL:
        dn_stem_pool_backward(net, node);
        break;
    case DN_NODE_STEM:
        dn_stem_backward(net, node);
        break;
    }
}

/* What member `m` has of the node's output: (outputs, 2). */
static const double *sums_of(const dn_team *team, const dn_node *node, int m)
{
    return team->nets[m]->maps[node->out].sums + 2 * node->first;
}

/* The first of the lead's rows(team.count, width) = the sum of those of the whole norm group. */
static void sum_over_group(const dn_team *team, size_t width)
{
    double *rows = team->nets[0]->rows;
    if (team->exchange != NULL)
        team->exchange(team->user, rows, width);
    else
        for (size_t i = 0; i < width; i++)
            rows[i] = dn_tree_sum(rows + i, team->count, (int)width);
}

/* Mean and variance of the norm group from each batch's mean and sum of squares about it: first
 * the group's mean, then the squares about that. */
static void group_statistics(const dn_team *team, const dn_node *node)
{
    dn_net *lead = team->nets[0];
    const size_t outputs = (size_t)node->outputs;
    const double pixels = dn_map_pixels(&lead->maps[node->out]);
    double *rows = lead->rows, *means = lead->means;
    for (int m = 0; m < team->count; m++)
        for (size_t c = 0; c < outputs; c++)
            rows[(size_t)m * outputs + c] = sums_of(team, node, m)[2 * c];
    sum_over_group(team, outputs);
    for (size_t c = 0; c < outputs; c++)
        means[c] = rows[c] / lead->options.norm_group;
    for (int m = 0; m < team->count; m++)
        for (size_t c = 0; c < outputs; c++) {
            const double *moments = sums_of(team, node, m) + 2 * c;
            const double delta = moments[0] - means[c];
            rows[(size_t)m * outputs + c] = moments[1] + pixels * delta * delta;
        }
    sum_over_group(team, outputs);
    dn_map_statistics(lead, node, means, rows);
}

static void group_correction(const dn_team *team, const dn_node *node)
{
    dn_net *lead = team->nets[0];
    const size_t width = 2 * (size_t)node->outputs;
    for (int m = 0; m < team->count; m++)
        memcpy(lead->rows + (size_t)m * width, sums_of(team, node, m), width * sizeof *lead->rows);
    sum_over_group(team, width);
    dn_map_correction(lead, node, lead->rows);
}

static dn_pass pass_of(const dn_pass *pass, int member)
{
    dn_pass own = *pass;
    own.virtual_rank += (uint64_t)member;
    return own;
}

void dn_team_forward(const dn_team *team, const dn_pass *pass, dn_result *results)
{
    dn_net *lead = team->nets[0];
    assert(team->first + team->count <= lead->options.norm_group);
    for (int i = 0; i < lead->node_count; i++) {
        const dn_node *node = &lead->nodes[i];
        const double start = omp_get_wtime();
        for (int m = 0; m < team->count; m++) {
            const dn_pass own = pass_of(pass, m);
            node_forward(team->nets[m], &team->nets[m]->nodes[i], &own);
        }
        if (node->out >= 0)
            group_statistics(team, node);
        lead->nodes[i].forward_seconds += omp_get_wtime() - start;
    }
    for (int m = 0; m < team->count; m++) {
        dn_net *net = team->nets[m];
        if (net != lead)
            memcpy(net->leaf + net->parameter_count, lead->leaf + lead->parameter_count,
                   net->statistics_count * sizeof *net->leaf);
        dn_head_score(net, net->options.batch, pass->label_smoothing, &results[m]);
        results[m].loss /= net->options.batch;
    }
}

void dn_team_backward(const dn_team *team, const dn_pass *pass)
{
    dn_net *lead = team->nets[0];
    for (int i = lead->node_count - 1; i >= 0; i--) {
        const dn_node *node = &lead->nodes[i];
        const double start = omp_get_wtime();
        if (node->out >= 0)
            group_correction(team, node);
        for (int m = 0; m < team->count; m++) {
            const dn_pass own = pass_of(pass, m);
            node_backward(team->nets[m], &team->nets[m]->nodes[i], &own);
        }
        lead->nodes[i].backward_seconds += omp_get_wtime() - start;
        if (pass->ready != NULL)
            pass->ready(pass->user, dn_node_leaf_end(lead, node));
    }
}

void dn_net_forward_train(dn_net *net, const dn_pass *pass, dn_result *result)
{
    dn_team_forward(&(dn_team){.nets = &net, .count = 1}, pass, result);
}

void dn_net_backward(dn_net *net, const dn_pass *pass)
{
    dn_team_backward(&(dn_team){.nets = &net, .count = 1}, pass);
}

void dn_net_forward_eval(dn_net *net, int count, dn_result *result)
{
    for (int i = 0; i < net->node_count; i++) {
        const double start = omp_get_wtime();
        node_forward(net, &net->nodes[i], NULL);
        net->nodes[i].forward_seconds += omp_get_wtime() - start;
    }
    dn_head_score(net, count, 0, result);
}
