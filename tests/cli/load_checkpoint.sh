#!/usr/bin/env bash
# A checkpoint loaded into PyTorch, which must come to the same logits.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python torch h5py numpy || skip "found no python3 with torch, h5py and numpy"
limited "$build/tests/test_checkpoint" "$tmp" >"$tmp/output" 2>&1 || {
    cat "$tmp/output"
    exit 1
}
limited "$python" "$tests/oracles/load_checkpoint.py" "$tmp"
