#!/usr/bin/env bash
# The kernels on another processor: `generic`, the vector source in registers of 8 and of 16 floats
# and the products in bf16, without any instruction-set flag, compiled for aarch64 and tested on an
# emulated one. Only the compiler's own libraries are needed there: plain_blas/ replaces OpenBLAS.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
cd "$repo"

compiler=$(command -v aarch64-linux-gnu-gcc) ||
    skip "aarch64-linux-gnu-gcc is missing (packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) ||
    skip "qemu-aarch64 is missing (package qemu-user)"
root=/usr/aarch64-linux-gnu
[[ -e $root/include/stdlib.h ]] || skip "$root has no C library (package libc6-dev-arm64-cross)"

# compile OBJECT SOURCE OPTION...: in the background, as many at a time as there are processors. A
# background job cannot count failures: it leaves OBJECT.failed.
compile() {
    (($(jobs -rp | wc -l) < $(nproc))) || wait -n || true
    { limited "$compiler" -std=gnu11 -O3 -Wall -Wextra -Wno-psabi -Iinclude -Isrc -Isrc/kernels -Itests/kernels \
        -Itests/kernels/plain_blas -fopenmp -DDN_X86_TABLES=0 -DDN_WIDE=1 -DDN_NARROW=1 "${@:3}" -c "$2" \
        -o "$tmp/$1.o" 2>"$tmp/$1.error" || echo "$2" >"$tmp/$1.failed"; } &
}
level=-DDN_LEVEL=DN_LEVEL_GENERIC
compile narrow src/kernels/vector.c -ffp-contract=fast -DDN_VL=8 $level -DDN_ISA=narrow
compile wide src/kernels/vector.c -ffp-contract=fast -DDN_VL=16 $level -DDN_ISA=wide
compile dot_twin src/kernels/bf16.c -ffp-contract=fast -DDN_AMX=0 -DDN_ISA=dot_twin
compile amx_twin src/kernels/bf16.c -ffp-contract=fast -DDN_AMX=1 -DDN_ISA=amx_twin
for source in src/optimizers/*.c src/transforms/pixel_kernels.c; do
    compile "$(basename "$source" .c)" "$source" -ffp-contract=off -fno-math-errno -DDN_ISA=generic
done
for source in src/base/{status,words,math} src/kernels/{dispatch,generic,peaks} src/train/optimizer src/transforms/pixel_table src/layers/layout \
    tests/kernels/check_{kernels,products,operands,winograd,rows,stride,pixels} \
    tests/kernels/{expect,kernel_tables,guarded,bench_kernels,bench_stride,bench_winograd}; do
    compile "${source##*/}" "$source.c" -ffp-contract=off
done
wait
for failed in "$tmp"/*.failed; do
    [[ ! -e $failed ]] || fail "compiling $(<"$failed") for aarch64" "${failed%.failed}.error"
done
limited "$compiler" "$tmp"/*.o -fopenmp -lm -o "$tmp/check_kernels" || {
    fail "linking for aarch64"
    finish
}

unset DN_ISA # it would choose among tables that are not there
timeout --kill-after=10 600 "$qemu" -L "$root" "$tmp/check_kernels" >"$tmp/out" 2>&1 ||
    fail "check_kernels on aarch64 ended with status $?" "$tmp/out"
grep '^generic, narrow, wide, dot_twin, amx_twin: .* 0 failures' "$tmp/out" ||
    fail "expected \"generic, narrow, wide, dot_twin, amx_twin: ... 0 failures\" in" "$tmp/out"
finish
