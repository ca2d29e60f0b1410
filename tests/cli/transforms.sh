#!/usr/bin/env bash
# Transforms against torchvision's functions with the same drawn numbers.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy torch torchvision ||
    skip "found no python3 with PIL, numpy, torch and torchvision (Debian: python3-torchvision)"
mapfile -t steps < <("$build/dn_dist" train --help | sed -n '/^steps of --augment/,/^$/s/^  \([a-z-]\{1,\}\).*/\1/p')
((${#steps[@]} > 9)) || fail "train --help: expected the steps of --augment, found ${steps[*]}"
limited "$python" "$tests/oracles/transforms.py" "$build/tests/transform_dump" "$tmp" "${steps[@]}" || fail "transforms.py"
finish
