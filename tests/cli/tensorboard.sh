#!/usr/bin/env bash
# --tensorboard: an event file for each start of a run, in which TensorBoard's own reader finds the
# numbers of metrics.jsonl; and weights that do not depend on it.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
records
readers=${DN_READERS_PYTHON:-} # a python3 with tensorboard, of PyPI
[[ -n $readers ]] || untried "TensorBoard's reader, for lack of DN_READERS_PYTHON"
cd "$tmp"
program=create_records works FASHION_MNIST --limit 16 --out small
data=small # epochs of 5 steps

# trained RANKS OUT OPTION...
trained() { train "$@" --eval-every 1 --epochs 3 --threads 1 || fail "train $*" "$2.log"; }
# files OUT COUNT: of event files.
files() {
    local found
    found=$(find "$1" -maxdepth 1 -name 'events.out.tfevents.*' | wc -l)
    ((found == $2)) || fail "$1: expected $2 event files, found $found" "$1.log"
}
# same OUT: the weights are those of the run without event files.
same() {
    [[ $(last_hash "$1") == "$(last_hash plain)" ]] || fail "$1: other weights" "$1.log"
}
# read OUT: TensorBoard finds what metrics.jsonl has, and nothing else.
reads() {
    [[ -z $readers ]] || limited "$readers" - "$1" >out 2>&1 <<'END' || fail "$1: its events" out
import json, math, re, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

expected = {}
for line in open(sys.argv[1] + "/metrics.jsonl"):
    record = json.loads(line)
    if record["kind"] not in ("interval", "epoch"):
        continue
    for key in record.keys() - {"kind", "epoch", "step", "weights_hash"}:
        score = re.fullmatch("(.*)_(loss|top1|top5|balanced|auroc)", key)
        tag = "/".join(score.groups()) if score else key if key == "lr" else record["kind"] + "/" + key
        if record[key] is not None:
            expected.setdefault(tag, []).append((record["step"], record[key]))
assert {"train/loss", "test/top1", "interval/images_per_s", "interval/sum_wait", "lr"} <= expected.keys()

events = EventAccumulator(sys.argv[1])
events.Reload()
assert set(events.Tags()["scalars"]) == expected.keys(), events.Tags()
for tag, values in expected.items():
    found = [(e.step, e.value) for e in events.Scalars(tag)]
    assert len(found) == len(values), (tag, found, values)
    for (step, value), (expected_step, number) in zip(found, values):
        assert step == expected_step and math.isclose(value, number, rel_tol=1e-7), (tag, found, values)
END
}

trained 1 plain
files plain 0
trained 2 events --tensorboard --max-steps 7
files events 1
reads events
printf '\x18\0\0\0\0\0' >>"$(echo events/events.*)" # what a kill may leave of a record
trained 3 events --tensorboard --max-steps 13
reads events
rm events/checkpoint-00000013.h5 # of steps 11 to 13 it has to be told again
trained 1 events --tensorboard
files events 3
reads events
same events

# A file or none, at each start anew
trained 2 mixed --tensorboard --max-steps 7
trained 2 mixed
files mixed 1
same mixed
trained 1 mixed --resume none --max-steps 2 --tensorboard
files mixed 1
files mixed/old-1 1
finish
