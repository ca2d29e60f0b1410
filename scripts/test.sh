#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: scripts/test.sh [CMAKE-OPTION...].
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages "${build_packages[@]}" "${test_packages[@]}"
build build -DCMAKE_BUILD_TYPE=Release "$@"
status=0
ctest --no-tests=error --test-dir build --output-on-failure -L unit -j "$(nproc)" || status=$?
ctest --no-tests=error --test-dir build --output-on-failure -LE unit || status=$?
exit $status
