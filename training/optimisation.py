"""Optimisers, and how the learning rate changes over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import LambdaLR

from implementation import DeepSpeech2

WEIGHT_DECAY = 1e-2  # of adamw [ours]


def make_optimizer(name: str, model: DeepSpeech2, lr: float) -> torch.optim.Optimizer:
    """Makes the optimiser: 'adamw', 'adam', or 'sgd' with Nesterov momentum 0.99 [paper, Section 6]."""
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr, momentum=0.99, nesterov=True)
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr, fused=True)
    if name != "adamw":
        raise ValueError(f"optimizer must be adamw, adam or sgd, not {name!r}")
    matrices = [p for p in model.parameters() if p.dim() > 1 and p.requires_grad]
    vectors = [p for p in model.parameters() if p.dim() <= 1 and p.requires_grad]  # gamma, beta, most biases: no decay
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr, fused=True)


def learning_rate_factor(schedule: str, step: float, total: int, per_epoch: int, warmup: int = 10_000) -> float:
    """The learning rate at a step, as a share of the highest rate.

    'onecycle': rises in the first 15 % of the steps, then falls to 0 along a half cosine [ours]. 'anneal': divided by 1.2
    after each epoch [paper, Section 6]. 'noam': rises linearly for ``warmup`` steps, at most a third of all, then falls
    as one over the square root of the step (Vaswani et al. 2017, Section 5.3). 'constant': 1.
    """
    if schedule == "onecycle":
        rise = max(1, round(0.15 * total))
        if step < rise:
            return 0.05 + 0.95 * step / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))
    if schedule == "anneal":
        return 1.2 ** -(step // per_epoch)
    if schedule == "noam":
        rise = max(1, min(warmup, total // 3))
        return min((step + 1) / rise, math.sqrt(rise / (step + 1)))
    if schedule == "constant":
        return 1.0
    raise ValueError(f"schedule must be onecycle, anneal, noam or constant, not {schedule!r}")


def make_scheduler(
    optimizer: torch.optim.Optimizer, schedule: str, lr: float, total: int, per_epoch: int, step: int = 0, warmup: int = 10_000,
    place: Callable[[int], float] = float,
) -> LambdaLR:  # fmt: skip
    """Sets the optimiser's learning rate at each step to ``lr`` times ``learning_rate_factor``, from ``step`` onwards.

    Its only state is the number of the step, so a resumed run makes a new one. ``place`` gives the place of a step in the
    schedule, because epochs may differ in their number of steps.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = lr
    return LambdaLR(
        optimizer, lambda number: learning_rate_factor(schedule, place(number), total, per_epoch, warmup), last_epoch=step - 1
    )
