#!/usr/bin/env bash
# Decoding and resizing against PIL.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy || skip "found no python3 with PIL and numpy (Debian: python3-pil)"
limited "$python" "$tests/oracles/images.py" "$build/tests/image_to_ppm" "$tmp"
