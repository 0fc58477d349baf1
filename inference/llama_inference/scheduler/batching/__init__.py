"""Continuous batching, pure: who is admitted, who reads, who decodes, who gives way. No torch, no clock, no thread."""
