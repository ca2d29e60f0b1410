#!/usr/bin/env bash
# From a fresh clone to a trained DenseNet: installs what is missing, builds, makes the
# Fashion-MNIST records, trains on 2 MPI ranks, evaluates. When run again, it does only what is
# missing.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

data=data/fashion_mnist
out=runs/first
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

say "Evaluating"
run "${mpirun[@]}" build/dn_dist eval "$out" --threads "$threads"

say "Done: the run is in $out"
