"""Golden prompts: what a loaded model must answer, and how, before it is let near callers."""
