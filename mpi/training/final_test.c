/* The scores of the test images at the end of a run that validation images judge; see run.h. */
#include <stdlib.h>

#include "dn/file.h"
#include "dn/run_folder.h"
#include "training/rescue.h"
#include "training/run_parts.h"

/* Rank 0: reads the weights of best.h5, by which the run was judged, into the net. */
static dn_status read_best(const dn_run *r)
{
    char path[PATH_MAX];
    dn_checkpoint state;
    dn_checkpoint_file *file = NULL;
    DN_TRY(dn_join_path(path, r->folder, DN_CHECKPOINT_BEST));
    dn_status status = dn_checkpoint_open(&file, path, &state);
    if (status == DN_OK)
        status = r->step.optimizer.average != NULL ? dn_checkpoint_load_average(file, r->net)
                                                   : dn_checkpoint_load(file, r->net, NULL);
    dn_checkpoint_close(&file);
    return status;
}

/* Puts the weights of best.h5 into the net of each rank. The rescue must not save them as the run's
 * last ones. */
static dn_status take_best(dn_run *r)
{
    const dn_view net = dn_net_view(r->net);
    dn_rescue_stop(&r->step.settings.rescue);
    dn_saver_destroy(&r->saver);
    DN_TRY(DN_ON_RANK_0(r->comm, read_best(r)));
    dn_comm_broadcast(r->comm, net.parameters, net.parameter_count * sizeof(float));
    dn_comm_broadcast(r->comm, net.running, net.running_count * sizeof(float));
    return DN_OK;
}

/* Scores the last weights, or their averages. */
static dn_status evaluate_last(dn_run *r, dn_named_scores *scores)
{
    if (r->step.optimizer.average == NULL)
        return dn_run_evaluate(r, &r->test.images, scores);
    dn_status status = dn_average_begin(r);
    if (status == DN_OK)
        status = dn_run_evaluate(r, &r->test.images, scores);
    dn_average_end(r);
    return status;
}

int dn_run_has_test(const dn_run *r)
{
    return r->validation != &r->test.images && r->settings.eval_every > 0;
}

dn_status dn_run_test(dn_run *r)
{
    dn_metrics_best best;
    const int has_best = dn_run_best(r, &best);
    dn_named_scores test = {.name = r->step.optimizer.average != NULL ? "ema_test" : "test"};
    if (!dn_run_has_test(r))
        return DN_OK;
    dn_status status = has_best ? take_best(r) : DN_OK;
    if (status == DN_OK)
        status = has_best ? dn_run_evaluate(r, &r->test.images, &test) : evaluate_last(r, &test);
    if (status == DN_OK)
        status = dn_comm_agree(r->comm, dn_metrics_test(r->metrics, r->done,
                                                        has_best ? (int64_t)best.epoch : 0, &test));
    free(test.class_auroc);
    if (status == DN_OK || status == DN_STOPPED)
        return status;
    dn_warn("the test images were not scored: %s; 'dn_dist eval %s' scores them", dn_message(),
            r->folder);
    return DN_OK;
}
