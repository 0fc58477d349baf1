# Each target does its own set-up, on a bare Debian or Ubuntu machine as root.
#
#   make demo          a cluster, the chart, a model, and its answer from inside the cluster
#   make test          every check and every test
#   make unit          the inner loop: no cluster, seconds
#   make e2e T=name    the tests on the running cluster whose name matches T
#   make vllm          the tests with a real vLLM, in an environment of its own (3 GB, minutes)
#   make generate      CRD, manifests and docs, from the code
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint generate unit e2e cluster cluster-down vllm

# Compiled tests and packages are kept, wherever that was turned off: it is half of the unit loop's time.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
SETUP := tools/bootstrap.sh >/dev/null

help:
	@sed -n '3,/^[^#]/{s/^#   //p}' Makefile

setup:
	@$(SETUP)

demo: setup
	@$(BIN)/python -m tools.demo

test: check unit cluster
	$(BIN)/pytest -n 3 --dist loadgroup -m '(slow or cluster) and not beside'
	$(BIN)/pytest -n 2 --dist loadgroup -m 'cluster and beside'

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tools.generate --check

unit: setup
	$(BIN)/pytest -q -n 2 -m 'not cluster and not slow'

cluster: setup
	@$(BIN)/devcluster up
	@$(BIN)/devcluster build --load

e2e: cluster
	$(BIN)/pytest -m cluster tests/e2e -k '$(T)'

generate: setup
	$(BIN)/python -m tools.generate

cluster-down:
	@$(BIN)/devcluster down

vllm: setup
	@model=$$($(BIN)/python -m tests.support.models)/HuggingFaceTB/SmolLM2-135M-Instruct && \
	  environment=$$(tools/vllm.sh) && \
	  PYTHONPATH=inference:devcluster LLAMA_TEST_MODEL=$$model \
	  $$environment/bin/python -m pytest -q -o filterwarnings=default -p no:cacheprovider tests/real_vllm
