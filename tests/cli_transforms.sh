#!/usr/bin/env bash
# Transforms against torchvision's functions with the same drawn numbers.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
find_python PIL numpy torch torchvision ||
    skip "found no python3 with PIL, numpy, torch and torchvision (Debian: python3-torchvision)"
limited "$python" "$here/transforms.py" "$build/tests/transform_dump" "$tmp"
