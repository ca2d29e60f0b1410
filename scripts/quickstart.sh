#!/usr/bin/env bash
# From a fresh clone to a trained DenseNet: installs what is missing, builds, makes the
# Fashion-MNIST records, trains on 2 MPI ranks, evaluates. When run again, it does only what is
# missing.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

data=data/fashion_mnist
out=runs/fashion-mnist-tiny
threads=$(($(nproc) > 1 ? $(nproc) / 2 : 1))
mpirun=(mpirun --oversubscribe --bind-to none -np 2)

packages "${build_packages[@]}"

say "Building into build/"
build build -DCMAKE_BUILD_TYPE=Release
mpi_settings

say "Making the records in $data"
[[ -f $data/dataset.json ]] || run build/create_records FASHION_MNIST

say "Training on 2 ranks"
run "${mpirun[@]}" build/dn_dist train --model fashion-mnist-tiny --data "$data" --out "$out" \
    --epochs 5 --threads "$threads"

checkpoint=$(find "$out" -name 'checkpoint-*.h5' | sort | tail -n 1)
say "Evaluating"
run "${mpirun[@]}" build/dn_dist eval --checkpoint "$checkpoint" --data "$data" --threads "$threads"

say "Done"
echo "checkpoint: $checkpoint"
echo "metrics:    $out/metrics.jsonl"
