"""The native engine: a Llama's decoding steps for many requests at once.

`engine.Engine` carries out one `plan.StepPlan` after the other; who runs when is decided in `scheduler.batching`.
"""
