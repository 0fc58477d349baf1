#!/usr/bin/env bash
# Install the locked environment into .venv; a second run with nothing changed returns at once.
#
# torch comes from a find-links folder when one is at hand (TORCH_WHEELS, default ../shared/wheels): a CPU build
# saves four gigabytes of CUDA libraries. Otherwise it comes from the registry, as locked.
set -euo pipefail
cd "$(dirname "$0")/.."
TORCH_WHEELS=${TORCH_WHEELS:-../shared/wheels}
PYTHON=${PYTHON:-python3}

version=$(sed -n '/^name = "torch"$/{n;s/^version = "\(.*\)"$/\1/p}' uv.lock)
tag=$("$PYTHON" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
wheel=$(find "$TORCH_WHEELS" -maxdepth 1 -name "torch-$version*-$tag-*.whl" 2>/dev/null | sort | head -n 1 || true)

key=$(cat uv.lock ./*/pyproject.toml pyproject.toml tools/sync.sh | sha256sum | cut -c1-16)-$(basename "${wheel:-registry}")
stamp=.venv/.synced
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$key" ]; then
    exit 0
fi

if [ -z "$wheel" ]; then
    uv sync --frozen --python "$PYTHON"
else
    skip=(--no-install-package torch)
    for name in $(sed -n 's/^name = "\(nvidia-.*\|cuda-.*\|triton\)"$/\1/p' uv.lock); do
        skip+=(--no-install-package "$name")
    done
    uv sync --frozen --python "$PYTHON" --inexact "${skip[@]}"
    uv pip install --quiet --no-deps "$wheel"
fi
printf '%s' "$key" > "$stamp"
