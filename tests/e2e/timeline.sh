#!/usr/bin/env bash
# The timeline of a run on two ranks: valid JSON with every kind of span, no overlapping spans in a
# row, and buckets in flight during the backward pass. And the bench on two ranks, one of them late:
# its delay counts as imbalance, not communication, whichever rank it is.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
records

# traced NAME BATCHES OPTION...: five steps of BATCHES batches in all on each rank.
traced() {
    train 2 "$tmp/$1" --max-steps 5 --eval-every 1 --timeline "$tmp/$1.json" "${@:3}" ||
        fail "$1: training with a timeline" "$tmp/$1.log"
    python3 - "$tmp/$1.json" "$2" <<'END' || fail "$1: the timeline"
import collections, json, sys

events = json.load(open(sys.argv[1]))["traceEvents"]
batches = int(sys.argv[2])
spans = [e for e in events if e["ph"] == "X"]
names = collections.Counter((e["pid"], e["name"]) for e in spans)
for rank in 0, 1:
    for name, count in ("load", batches), ("forward", batches), ("backward", batches), ("update", 5), ("wait", 5), ("checkpoint", 1):
        assert names[rank, name] == count, (rank, name, names[rank, name])
    assert names[rank, "bucket"] >= 10, names
    rows = {e["tid"]: e["args"]["name"] for e in events if e["pid"] == rank and e["name"] == "thread_name"}
    assert set(rows.values()) == {"computation", "waiting", "communication"}, rows
    for row in rows:
        own = sorted((e["ts"], e["ts"] + e["dur"]) for e in spans if e["pid"] == rank and e["tid"] == row)
        assert all(b[0] >= a[1] - 1 for a, b in zip(own, own[1:])), (rank, row)
    backward = [e for e in spans if e["pid"] == rank and e["name"] == "backward"]
    first = [e for e in spans if e["pid"] == rank and e["name"] == "bucket" and e["args"]["bucket"] == 0]
    for bucket in first:
        assert any(b["ts"] <= bucket["ts"] <= b["ts"] + b["dur"] for b in backward), bucket
END
}
traced timeline 20
traced sync-bn 5 --sync-bn --virtual-ranks 2

# Open MPI 5's mpirun dies of two programs in one job, so a shell makes one rank the late one.
bench=("$build/dn_dist" bench --model densenet-40-12 --threads 1 --steps 3 --json)
is_imbalance() { # FILE...
    python3 - "$@" <<'END'
import json, sys

runs = [json.load(open(path)) for path in sys.argv[1:]]
for run in runs if runs[0]["isa"] != "generic" else ():
    phases = run["phases_s"]
    assert phases["imbalance"] > run["step_s"] / 4, run
    assert phases["imbalance"] > 2 * phases["communication"]["exposed"], run
END
}
for batch in 2 8 32; do # later and later, whatever else delays the ranks
    for late in 0 1; do
        on_ranks 2 env LATE="$late" bash -c \
            '[[ $OMPI_COMM_WORLD_RANK != "$LATE" ]] || set -- "$@" --isa generic; exec "$@"' \
            rank "${bench[@]}" --batch-size $batch >"$tmp/$late.json" 2>"$tmp/error" ||
            fail "bench with a late rank $late" "$tmp/error"
    done
    ! is_imbalance "$tmp/1.json" "$tmp/0.json" 2>"$tmp/error" || break
done
is_imbalance "$tmp/1.json" "$tmp/0.json" || fail "the bench's imbalance" "$tmp/1.json" "$tmp/0.json"

# A trace appears when its command has ended; where that fails, an earlier one stays
cp "$tmp/timeline.json" "$tmp/kept.json"
if train 2 "$tmp/failed" --max-steps 1 --data "$tmp/nowhere" --timeline "$tmp/timeline.json"; then
    fail "training on nothing was accepted"
fi
cmp -s "$tmp/timeline.json" "$tmp/kept.json" || fail "a failed run: expected the earlier trace" "$tmp/failed.log"
[[ ! -e $tmp/timeline.json.partial ]] || fail "a failed run: left a part of its trace"
if train 2 "$tmp/failed" --max-steps 1 --data "$tmp/nowhere" --timeline "$tmp/none.json"; then
    fail "training on nothing was accepted"
fi
[[ ! -e $tmp/none.json ]] || fail "a failed run: found a trace, expected none"

if train 2 "$tmp/refused" --max-steps 1 --timeline "$tmp/no/such/folder.json"; then
    fail "a timeline in no folder was accepted"
fi
grep -q -- "folder.json: cannot write: no folder " "$tmp/refused.log" ||
    fail "the message of a timeline that cannot be written" "$tmp/refused.log"
finish
