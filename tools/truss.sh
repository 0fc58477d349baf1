#!/usr/bin/env bash
# Install the genuine truss and what its server needs into an environment of its own, and print its folder; nothing
# happens when it is there.
#
# Beside .venv, since truss wants an older FastAPI. Pinned with hashes by tests/support/truss/requirements.lock, which
# this makes: uv pip compile --generate-hashes --no-annotate --python-version 3.11 -o requirements.lock requirements.in
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=${LLAMA_OPERATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llama-operator}
PYTHON=${PYTHON:-python3}
LOCK=tests/support/truss/requirements.lock

key=$(cat tools/truss.sh "$LOCK" | sha256sum | cut -c1-16)
environment=$CACHE/truss-$key
mkdir -p "$CACHE"
exec 9>"$CACHE/truss.lock"
flock 9
if [ ! -e "$environment/.complete" ]; then
    PATH=$(tools/bootstrap.sh):$PATH
    printf 'installing truss into %s\n' "$environment" >&2
    rm -rf "$environment"
    uv venv --quiet --python "$PYTHON" "$environment"
    uv pip install --quiet --compile-bytecode --python "$environment/bin/python" --require-hashes -r "$LOCK" >&2
    touch "$environment/.complete"
fi
printf '%s\n' "$environment"
