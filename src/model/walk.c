/*
 * The walks over the nodes: forward in order, backward in reverse, the nets of a team side by side.
 *
 * A single net is a team of one, alone in its norm group.
 */
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

/* The first net's rows(norm_group, 2 * outputs) = the sums of the node's output of all batches. */
static void gather_sums(const dn_team *team, const dn_node *node)
{
    const dn_net *lead = team->nets[0];
    const size_t width = 2 * (size_t)node->outputs;
    for (int m = 0; m < team->count; m++)
        memcpy(lead->rows + (size_t)(team->first + m) * width,
               team->nets[m]->maps[node->out].sums + 2 * node->first, width * sizeof *lead->rows);
    if (team->exchange != NULL)
        team->exchange(team->user, lead->rows, width);
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
        if (node->out >= 0) {
            gather_sums(team, node);
            dn_map_statistics(lead, node);
        }
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
        if (node->out >= 0) {
            gather_sums(team, node);
            dn_map_correction(lead, node);
        }
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
