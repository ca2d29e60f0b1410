/* `dn_dist export`: a checkpoint's weights as safetensors, or its net as ONNX. */
#include "commands/commands.h"
#include "commands/trained.h"

#include <string.h>

#include "dn/file.h"
#include "dn/weights.h"
#include "dn/words.h"

/* *format = that of --format, or of the file name's extension. */
static dn_status find_format(const dn_options *o, const char *out, dn_format *format)
{
    *format = (dn_format)o->format;
    if (*format == DN_FORMAT_AUTO && dn_ends_in(out, ".onnx"))
        *format = DN_FORMAT_ONNX;
    if (*format == DN_FORMAT_AUTO && dn_ends_in(out, ".safetensors"))
        *format = DN_FORMAT_SAFETENSORS;
    DN_CHECK(
        *format != DN_FORMAT_AUTO, DN_EINVAL,
        "%s: found no .safetensors or .onnx at its end, expected one, or --format; PyTorch loads "
        "safetensors",
        out);
    DN_CHECK(*format == DN_FORMAT_ONNX || !o->fold, DN_EINVAL,
             "--fold-batch-norm: found --format safetensors, expected onnx");
    return DN_OK;
}

/* safetensors have JSON after eight bytes; ONNX has the producer's name after the version. */
static dn_status check_out(const char *out, dn_format format)
{
    return format == DN_FORMAT_ONNX
               ? dn_file_check_kind(out, "ONNX file of dn_dist", 2, "\x12\adn_dist")
               : dn_file_check_kind(out, "safetensors file", 8, "{");
}

static dn_status export(dn_options *o)
{
    const char *const out = o->word_count == 1 ? o->words[0] : "";
    dn_trained trained = {0};
    dn_net *net = NULL;
    dn_format format;
    dn_status status;
    DN_CHECK(out[0], DN_EINVAL,
             "found %d files to write, expected one, such as weights.safetensors", o->word_count);
    DN_TRY(find_format(o, out, &format));
    DN_TRY(check_out(out, format));
    DN_TRY_OR_DONE(dn_trained_open(&trained, o));
    DN_TRY_OR_DONE(dn_trained_data(&trained, o));
    o->batch_size = 1;
    const int is_known = strcmp(o->eval_transform, "auto") != 0;
    const dn_data_info *const data = &trained.data->info;
    DN_TRY_OR_DONE(dn_trained_net(&trained, o, data, &net));
    const dn_view view = dn_net_view(net);
    const dn_weights_about about = {.step = trained.state.step,
                                    .data = trained.data,
                                    .eval_transform = is_known ? o->eval_transform : NULL,
                                    .weights =
                                        o->weights == DN_WEIGHTS_AVERAGE ? "average" : "trained"};
    DN_TRY_OR_DONE(format == DN_FORMAT_ONNX ? dn_onnx_save(out, net, &about, o->opset, o->fold)
                                            : dn_safetensors_save(out, net, &about));
    dn_info("%s: %s of step %lld from %s%s, %zu parameters", out, view.spec->name,
            (long long)trained.state.step, o->checkpoint, dn_trained_weights(&trained, o),
            view.parameter_count);
done:
    dn_net_destroy(&net);
    dn_trained_close(&trained);
    return status;
}

dn_status dn_export(const dn_comm *comm, dn_options *options)
{
    return DN_ON_RANK_0(comm, export(options));
}
