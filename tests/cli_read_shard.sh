#!/usr/bin/env bash
# The Fashion-MNIST records as h5py reads them, by docs/shard-format.md alone.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
records
find_python h5py numpy && command -v zstd >/dev/null ||
    skip "found no zstd or python3 with h5py and numpy (Debian: python3-h5py)"
limited "$python" "$here/read_shard.py" "$data"
