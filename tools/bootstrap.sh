#!/usr/bin/env bash
# Bring a bare Debian or Ubuntu machine to where the project's own tools can run: Python ≥ 3.11, uv, .venv.
#
# Prints the folder that holds uv on its last line. Does nothing that is already done.
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=${LLAMA_OPERATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llama-operator}
export PYTHON=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }

need_python() { ! "$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if need_python || ! command -v git >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "Python 3.11 or newer with venv, and git, are needed: install them and run this again."
        exit 1
    fi
    say "installing python3, python3-venv and git"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv git ca-certificates >&2
    if need_python; then
        say "$("$PYTHON" --version) is too old: Python 3.11 or newer is needed (Debian 12, Ubuntu 24.04); set PYTHON to one."
        exit 1
    fi
fi

if command -v uv >/dev/null; then
    uv=$(dirname "$(command -v uv)")
else
    uv=$CACHE/uv/bin
    if [ ! -x "$uv/uv" ]; then
        say "installing uv into $CACHE/uv"
        "$PYTHON" -m venv "$CACHE/uv"
        "$uv/pip" install --quiet uv >&2
    fi
fi
PATH=$uv:$PATH tools/sync.sh >&2
printf '%s\n' "$uv"
