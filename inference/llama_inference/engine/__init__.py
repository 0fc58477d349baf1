"""From a repository's name to weights on a device: resolve, download, cache, load; and the start-up report.

Modules that import torch, transformers or huggingface_hub are imported by the engine thread only: the event loop
must answer probes from the first second on.
"""
