/* `dn_dist eval`: the scores of a checkpoint on a split: in all, per class and per image. */
#include "commands/commands.h"
#include "commands/trained.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/confusion.h"
#include "commands/consistency.h"
#include "commands/csv.h"
#include "commands/eval_images.h"
#include "commands/from_options.h"
#include "commands/memory.h"
#include "dn/file.h"
#include "dn/json.h"
#include "dn/run_folder.h"
#include "dn/terminal.h"
#include "report/worst.h"
#include "training/auroc.h"
#include "training/evaluate.h"

enum {
    TEN_CROPS = 10,
    SHOWN_MATRIX = 20, /* most classes whose matrix is printed */
    CLASS_COLUMNS = 24 /* width of a class name */
};

typedef struct results {
    const dn_options *options;
    const dn_eval_images *set;
    const dn_source *images; /* those of `set` */
    const dn_evaluation *evaluation;
    const char *folder;       /* the run's folder if these are its own data; or empty */
    const char *const *names; /* (classes) */
    int classes;
    dn_results of; /* the images; on rank 0 of all */
    dn_scores scores;
    dn_confusion confusion;
    double calibration; /* expected calibration error, percent */
} results;

/* ---- printing ---- */

static json_t *to_json(const results *r)
{
    const dn_options *const o = r->options;
    json_t *const classes = json_array();
    json_t *const confusion = r->confusion.cell ? json_array() : NULL;
    for (int c = 0; c < r->classes; c++) {
        const dn_class_scores s = dn_score_class(&r->confusion, c);
        json_array_append_new(
            classes,
            json_pack("{s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "name", r->names[c], "known",
                      (json_int_t)s.counts.known, "images", (json_int_t)s.counts.images,
                      "predicted", (json_int_t)s.counts.predicted, "correct",
                      (json_int_t)s.counts.correct, "recall", dn_json_number(s.recall), "precision",
                      dn_json_number(s.precision), "f1", dn_json_number(s.f1), "auroc",
                      dn_json_number(s.auroc)));
    }
    for (int64_t i = 0; i < r->confusion.cells; i++) {
        const dn_confusion_cell *const c = &r->confusion.cell[i];
        json_array_append_new(confusion,
                              json_pack("[i,i,I]", c->label, c->predicted, (json_int_t)c->count));
    }
    return json_pack("{s:s,s:s,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:i,s:o,s:o,s:o*}", "split",
                     dn_split_name((dn_split_id)o->split), "weights",
                     o->weights == DN_WEIGHTS_AVERAGE ? "average" : "trained", "multi_label",
                     r->scores.has_sets, "top1", dn_json_number(r->scores.top1), "top5",
                     dn_json_number(r->scores.top5), "balanced", dn_json_number(r->scores.balanced),
                     "macro_f1", dn_json_number(dn_score_classes(&r->confusion).f1), "auroc",
                     dn_json_number(r->scores.auroc), "loss", dn_json_number(r->scores.loss),
                     "images", (json_int_t)r->images->count, "crops", r->evaluation->crops,
                     "calibration_error", dn_json_number(r->calibration), "classes", classes,
                     "confusion_cells", confusion);
}

/* Adds to each sample its index in the split, and its file if the records name it. */
static dn_status name_files(const results *r, json_t *samples)
{
    dn_file_names names = {0};
    dn_status status = DN_OK;
    json_t *sample;
    size_t i;
    json_array_foreach(samples, i, sample)
    {
        const char *name = NULL;
        const int64_t index =
            dn_eval_images_index(r->set, json_integer_value(json_object_get(sample, "index")));
        if (status == DN_OK)
            status = dn_shards_file_name(r->set->split.shards, index, &names, &name);
        json_object_set_new(sample, "index", json_integer(index));
        if (name)
            json_object_set_new(sample, "file", dn_json_path(name));
    }
    dn_file_names_free(&names);
    return status;
}

/* Writes the evaluation for reports into the run's folder. */
static dn_status write_evaluation(const results *r)
{
    char path[PATH_MAX];
    json_t *const all = to_json(r), *const names = json_array(), *worst = NULL;
    for (int c = 0; c < r->classes; c++)
        json_array_append_new(names, json_string(r->names[c]));
    json_object_set_new(all, "class_names", names);
    json_object_set_new(all, "checkpoint", dn_json_path(r->options->checkpoint));
    json_object_set_new(all, "data", dn_json_path(r->options->data));
    dn_status status = dn_worst_samples(&worst, r->images, r->evaluation->transforms, &r->of);
    if (status == DN_OK)
        status = name_files(r, worst);
    json_object_set_new(all, "worst", worst);
    if (status == DN_OK)
        status = dn_join_path(path, r->folder, DN_EVALUATION_NAME);
    if (status == DN_OK)
        return dn_json_save(all, path, JSON_REAL_PRECISION(9));
    json_decref(all);
    return status;
}

static void print_percent(const char *name, double percent)
{
    if (isnan(percent))
        printf("%s      -  ", name);
    else
        printf("%s %6.2f %%", name, percent);
}

static void print_auroc(const char *name, double auroc)
{
    if (isnan(auroc))
        printf("%s    -", name);
    else
        printf("%s %.4f", name, auroc);
}

static void print_matrix(const results *r)
{
    const dn_confusion_cell *next = r->confusion.cell, *const end = next + r->confusion.cells;
    printf("confusion matrix, a row a class, a column a prediction\n");
    for (int c = 0; c < r->classes; c++) {
        printf("%5d", c);
        for (int p = 0; p < r->classes; p++) {
            const int is_next = next < end && next->label == c && next->predicted == p;
            printf(" %6" PRId64, is_next ? next->count : 0);
            next += is_next;
        }
        printf("\n");
    }
}

static void print_classes(const results *r)
{
    for (int c = 0; c < r->classes; c++) {
        const dn_class_scores s = dn_score_class(&r->confusion, c);
        const int rest = CLASS_COLUMNS - dn_text_columns(r->names[c]);
        printf("%5d %s%*s %7" PRId64 " images:", c, r->names[c], rest > 0 ? rest : 0, "",
               s.counts.images);
        print_percent(" recall", s.recall);
        print_percent("  precision", s.precision);
        print_percent("  F1", s.f1);
        print_auroc("  AUROC", s.auroc);
        printf("\n");
    }
    const dn_class_scores mean = dn_score_classes(&r->confusion);
    printf("mean of the classes: recall %.2f %%, precision %.2f %%, F1 %.2f %%", mean.recall,
           mean.precision, mean.f1);
    print_auroc(", AUROC", r->scores.auroc);
    printf("\n");
    if (!r->of.probabilities)
        printf("AUROC is computed for at most %d probabilities, images x classes\n",
               DN_MOST_PROBABILITIES);
    if (!r->confusion.cell)
        return;
    if (r->classes > SHOWN_MATRIX)
        printf("confusion matrix of %d classes: --json\n", r->classes);
    else
        print_matrix(r);
}

static dn_status print_results(const results *r)
{
    if (r->options->json)
        return dn_json_save(to_json(r), NULL, JSON_REAL_PRECISION(9));
    char text[DN_SCORES_TEXT];
    dn_scores_text(&r->scores, r->classes, ", ", text);
    printf("%" PRId64 " images: %s, loss %.4f\n", r->images->count, text, r->scores.loss);
    if (!isnan(r->calibration))
        printf("expected calibration error %.2f %% (%d bins)\n", r->calibration,
               DN_CALIBRATION_BINS);
    if (r->evaluation->crops > 1)
        printf("mean logits of %d crops\n", r->evaluation->crops);
    if (r->options->per_class)
        print_classes(r);
    return DN_OK;
}

/* The columns of probabilities are called p:CLASS. */
static void print_heads(const results *r, FILE *file)
{
    fprintf(file, "index,label,predicted,probability,loss,file");
    for (int c = 0; c < r->classes && r->of.probabilities; c++) {
        char head[PATH_MAX];
        snprintf(head, sizeof head, "p:%s", r->names[c]);
        fprintf(file, ",");
        dn_csv_field(file, head);
    }
    fprintf(file, "\n");
}

/* Prints the label, the prediction and its probability. Of sets, which have no probability, the
 * classes are joined by '|', with '?' before unknown ones. */
static void print_prediction(const results *r, int64_t i, FILE *file)
{
    const dn_sample *const s = &r->of.samples[i];
    if (!r->images->label_sets) {
        fprintf(file, "%d,%d,%.9g", r->images->labels[i], s->predicted, s->probability);
        return;
    }
    for (int is_predicted = 0; is_predicted < 2; is_predicted++) {
        const char *between = "";
        for (int c = 0; c < r->classes; c++) {
            const dn_presence has = is_predicted
                                        ? (dn_presence)dn_is_predicted(&r->of, r->images, i, c)
                                        : dn_image_presence(r->images, i, c);
            if (has == DN_ABSENT)
                continue;
            fprintf(file, "%s%s%d", between, has == DN_UNKNOWN ? "?" : "", c);
            between = "|";
        }
        fprintf(file, ",");
    }
}

static dn_status print_samples(const results *r, FILE *file)
{
    dn_file_names names = {0};
    dn_status status = DN_OK;
    print_heads(r, file);
    for (int64_t i = 0; i < r->images->count && status == DN_OK; i++) {
        const char *name;
        const int64_t index = dn_eval_images_index(r->set, i);
        fprintf(file, "%" PRId64 ",", index);
        print_prediction(r, i, file);
        fprintf(file, ",%.9g,", r->of.samples[i].loss);
        status = dn_shards_file_name(r->set->split.shards, index, &names, &name);
        if (status == DN_OK && name)
            dn_csv_field(file, name);
        for (int c = 0; c < r->classes && r->of.probabilities; c++)
            fprintf(file, ",%.9g", r->of.probabilities[i * r->classes + c]);
        fprintf(file, "\n");
    }
    dn_file_names_free(&names);
    return status;
}

static dn_status write_samples(const results *r, const char *path)
{
    char *text = NULL;
    size_t size;
    FILE *const file = open_memstream(&text, &size);
    DN_CHECK(file, DN_ENOMEM, "%s: out of memory", path);
    dn_status status = print_samples(r, file);
    if (fclose(file) != 0 && status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", path);
    if (status == DN_OK)
        status = dn_file_write(path, text, size);
    free(text);
    return status;
}

/* Non-finite logits do not determine a class. */
static dn_status check_samples(const results *r)
{
    for (int64_t i = 0; i < r->images->count; i++)
        DN_CHECK(isfinite(r->of.samples[i].loss), DN_EDIVERGED,
                 "image %" PRId64 " of %" PRId64 ", counted from 0: the net gives no finite loss "
                 "for it",
                 i, r->images->count);
    return DN_OK;
}

/* Rank 0 prints and writes the results. */
static dn_status report(results *r)
{
    const dn_options *const o = r->options;
    DN_TRY(check_samples(r));
    r->calibration = dn_calibration_error(r->images, &r->of);
    dn_status status = dn_confusion_count(&r->confusion, r->images, &r->of);
    if (status == DN_OK)
        status = print_results(r);
    if (status == DN_OK && o->per_sample[0])
        status = write_samples(r, o->per_sample);
    if (status == DN_OK && o->per_sample[0] && !o->json)
        printf("%s: a line for each image\n", o->per_sample);
    if (status == DN_OK && r->folder[0] && write_evaluation(r) != DN_OK)
        dn_warn("%s", dn_message());
    dn_confusion_free(&r->confusion);
    return status;
}

/* ---- the command ---- */

/* transforms(TEN_CROPS) = --eval-transform with crops 0 to 9 of ten-crop in place of its
 * center-crop. */
static dn_status make_crops(const dn_options *options, const dn_data_info *data,
                            dn_transform *transforms)
{
    static const char name[] = "center-crop:";
    dn_options o = *options;
    const char *const at = strstr(options->eval_transform, name);
    DN_CHECK(at, DN_EINVAL,
             "--crops 10: found --eval-transform %s, expected one with %sSIZE, such as "
             "resize:256,center-crop:224",
             options->eval_transform, name);
    const char *const size = at + strlen(name);
    const int digits = (int)strcspn(size, ",");
    for (int i = 0; i < TEN_CROPS; i++) {
        snprintf(o.eval_transform, sizeof o.eval_transform, "%.*sten-crop:%.*s:crop=%d%s",
                 (int)(at - options->eval_transform), options->eval_transform, digits, size, i,
                 size + digits);
        DN_TRY(dn_options_transform(&o, DN_TEST, data, &transforms[i]));
    }
    return DN_OK;
}

/* The folder recorded in the checkpoint may have been moved. */
static dn_status check_folder(const dn_trained *trained, const dn_options *o)
{
    if (dn_options_given(o, "data"))
        return DN_OK;
    DN_CHECK(trained->state.folder[0], DN_EINVAL,
             "--data: found none, expected records to evaluate %s on", o->checkpoint);
    return dn_learnt_folder(&trained->state);
}

/* run = "" if the images are not the run's own: its report shows only an evaluation of those. Rank
 * 0. */
static dn_status check_data(dn_trained *trained, const dn_options *o, const dn_manifest *data,
                            char *run)
{
    DN_TRY(dn_trained_learnt(trained));
    DN_TRY(dn_trained_check(trained, data, o));
    const dn_manifest *const learnt = trained->data; /* NULL: safetensors of another program */
    if ((learnt && dn_manifest_is_same(learnt, data)) || run[0] == '\0')
        return DN_OK;
    if (!o->json)
        dn_info("%s is not what %s learnt from: no " DN_EVALUATION_NAME " for its report", o->data,
                run);
    run[0] = '\0';
    return DN_OK;
}

/* transforms = those from the images to the net's input. Not collective. */
static dn_status make_transforms(dn_transform *transforms, dn_options *o, const dn_data_info *data)
{
    DN_TRY(dn_options_transform(o, DN_TEST, data, &transforms[0]));
    return o->crops ? make_crops(o, data, transforms) : DN_OK;
}

/* *net = the checkpoint's net with its weights, for batches of at most all images. Collective. */
static dn_status load_net(dn_net **net, const dn_comm *comm, dn_transform *transforms,
                          const dn_trained *trained, dn_options *o, const dn_source *images)
{
    if (o->batch_size > images->count)
        o->batch_size = (int)images->count;
    DN_TRY(dn_comm_agree(comm, make_transforms(transforms, o, &images->info)));
    DN_TRY(dn_trained_net_all(trained, comm, o, &images->info, &transforms[0], net));
    if (!o->json)
        dn_info("%s from %s%s, kernels %s", dn_net_view(*net).spec->name, o->checkpoint,
                dn_trained_weights(trained, o), dn_net_view(*net).kernels->products[o->dtype].name);
    return DN_OK;
}

static dn_status evaluate(const dn_comm *comm, dn_net *net, const dn_eval_images *c,
                          const dn_transform *transforms, const dn_options *o, const char *folder)
{
    const dn_source *const images = c->images;
    const dn_evaluation evaluation = {.comm = comm,
                                      .net = net,
                                      .images = images,
                                      .io_threads = c->split.io_threads,
                                      .transforms = transforms,
                                      .crops = o->crops ? TEN_CROPS : 1};
    results r = {.options = o,
                 .set = c,
                 .images = images,
                 .evaluation = &evaluation,
                 .folder = folder,
                 .names = dn_shards_manifest(c->split.shards)->class_names,
                 .classes = dn_net_view(net).spec->classes};
    dn_status status = dn_evaluate_samples(&evaluation, &r.of, &r.scores);
    if (status == DN_OK)
        status = DN_ON_RANK_0(comm, report(&r));
    dn_results_free(&r.of);
    return status;
}

/* Bytes of a rank's results: the samples and probabilities of its images; on rank 0 those of all
 * and the confusion matrix, as numbers and as JSON. */
static double result_bytes(const dn_comm *comm, const dn_net *net, const dn_eval_images *c)
{
    enum { JSON_CELL_BYTES = 256 };
    const double images = (double)c->images->count, classes = dn_net_view(net).spec->classes;
    const double cells = fmin(images, classes * classes);
    const double matrix =
        c->images->label_sets ? 0 : images * sizeof(dn_confusion_cell) + cells * JSON_CELL_BYTES;
    const double kept = (double)dn_images_of(comm, net, c->images).results;
    return kept * (double)dn_result_bytes(c->images) + (comm->rank == 0 ? matrix : 0);
}

dn_status dn_eval(const dn_comm *comm, dn_options *o)
{
    dn_net *net = NULL;
    dn_eval_images images = {0};
    dn_trained trained = {0};
    dn_transform transforms[TEN_CROPS];
    char run[DN_PATH_SIZE] = "";
    dn_status status;
    DN_CHECK(o->word_count == 0, DN_EINVAL, "found '%s', expected one checkpoint or run",
             o->words[0]);
    if (dn_is_folder(o->checkpoint) && o->split == DN_TEST) /* the split that reports show */
        strcpy(run, o->checkpoint); /* before dn_trained_open replaces it by a file in it */
    DN_TRY_OR_DONE(
        DN_ON_RANK_0(comm, dn_file_check_kind(o->per_sample, "such CSV file", 0, "index,label,")));
    DN_TRY_OR_DONE(dn_trained_open_all(&trained, comm, o));
    DN_TRY_OR_DONE(dn_comm_agree(comm, check_folder(&trained, o)));
    DN_TRY_OR_DONE(dn_eval_images_open(&images, comm, &trained, o));
    DN_TRY_OR_DONE(
        DN_ON_RANK_0(comm, check_data(&trained, o, dn_shards_manifest(images.split.shards), run)));
    DN_TRY_OR_DONE(load_net(&net, comm, transforms, &trained, o, images.images));
    DN_TRY_OR_DONE(dn_same_kernels(comm, net, o->dtype));
    DN_TRY_OR_DONE(dn_check_memory(comm, net, (dn_bytes){.fixed = result_bytes(comm, net, &images)},
                                   "the results of all images"));
    DN_TRY_OR_DONE(evaluate(comm, net, &images, transforms, o, run));
done:
    dn_net_destroy(&net);
    dn_eval_images_close(&images);
    dn_trained_close(&trained);
    return status;
}
