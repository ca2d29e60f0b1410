#!/usr/bin/env bash
# The blocks of docs/shard-format.md, "With other programs", as they stand there; and the zstd filter
# as h5dump, h5repack and h5py use it.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
records
find_python h5py numpy PIL || skip "found no python3 with h5py, numpy and PIL (Debian: python3-h5py)"
for tool in h5dump h5repack h5diff zstd; do
    command -v "$tool" >/dev/null || skip "found no $tool (Debian: hdf5-tools, zstd)"
done
doc=$repo/docs/shard-format.md
cd "$tmp"
ln -s "$build" build
mkdir data
ln -s "$data" data/fashion_mnist

"$python" "$tests/oracles/folder.py" make "$tmp/made"
mv made/splits/train birds
program=create_records works FOLDER --source birds

# block LANGUAGE: the document's blocks of it, as one file.
block() {
    sed -n '/^## With other programs/,/^## What finds/p' "$doc" | sed -n "/^\`\`\`$1/,/^\`\`\`/p" | grep -v '^```'
}

block python >blocks.py
[[ $(grep -c '^with' blocks.py) == 2 ]] || fail "two blocks of Python" blocks.py
HDF5_PLUGIN_PATH=build/hdf5 limited "$python" -c 'from PIL import Image
Image.Image.show = lambda image: image.save("shown.png")
exec(open("blocks.py").read())' >out 2>&1 || fail "the blocks of Python" out
printed "(64, 1, 28, 28) .*'Ankle boot'" "what h5py reads of pixel shards"
program=create_records works inspect data/birds --sample 7 --png own.png
program=create_records works inspect data/fashion_mnist --sample 7 --png pixels.png

block sh >blocks.sh
limited bash -eu blocks.sh >dump 2>&1 || fail "the blocks of the shell" dump
export HDF5_PLUGIN_PATH=$build/hdf5
shard=data/fashion_mnist/fashion_mnist-train-00000-of-00004.h5
for copy in plain small; do
    limited h5diff "$copy.h5" "$shard" >out 2>&1 || fail "$copy.h5 differs from the shard" out
done
env -u HDF5_PLUGIN_PATH "$python" "$tests/oracles/outside_readers.py" pictures || fail "pictures"
limited "$python" "$tests/oracles/outside_readers.py" filter || fail "the filter"
finish
