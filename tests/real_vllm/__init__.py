"""A real vLLM: `make vllm` runs these in an environment of their own; elsewhere they are not collected."""
