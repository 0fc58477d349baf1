"""How likely the model itself held tokens: log-probabilities, and the likeliest tokens beside them."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
from torch import Tensor

from llama_inference.values import Logprob


@dataclass(frozen=True, slots=True)
class Pick:
    """A token at a row of logits, and how many of the likeliest are told beside it."""

    row: int
    token: int
    top: int


def logprobs(logits: Tensor, picks: Seq[Pick]) -> list[Logprob]:
    """Return what each pick asks for; rows may be asked for several times.

    Args: logits float32 [n, vocabulary], as the network gives them.
    """
    if not picks:
        return []
    logs = torch.log_softmax(logits, dim=-1)
    rows = torch.tensor([pick.row for pick in picks], device=logs.device)
    tokens = torch.tensor([pick.token for pick in picks], device=logs.device)
    own: list[float] = logs[rows, tokens].tolist()
    most = min(max(pick.top for pick in picks), logs.shape[1])
    if not most:
        return [Logprob(pick.token, value) for pick, value in zip(picks, own, strict=True)]
    best = logs.topk(most)
    values: list[list[float]] = best.values.tolist()
    ids: list[list[int]] = best.indices.tolist()
    return [
        Logprob(pick.token, value, tuple(zip(ids[pick.row], values[pick.row], strict=True))[: pick.top])
        for pick, value in zip(picks, own, strict=True)
    ]
