"""Solution of exercise 8: the CTC gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from given import ctc_forward_variables, extend_target

NEVER = float("-inf")


def ctc_backward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log beta_t(s), (T', B, S)."""
    log_probs = log_probs.detach()
    betas = torch.full((*log_probs.shape[:2], 2 * int(target_lengths.max()) + 1), NEVER, dtype=log_probs.dtype)
    for b, labels in enumerate(targets.split(target_lengths.tolist())):
        states = extend_target(labels.tolist())
        y = log_probs[:, b, states]  # (T', S)
        # Asked of the state that is entered, s + 2.
        skip = torch.tensor(
            [entered != 0 and entered != left for left, entered in zip(states, [*states[2:], 0, 0], strict=False)]
        )
        beta, last = betas[:, b, : len(states)], int(output_lengths[b]) - 1
        beta[last, -2:] = y[last, -2:]
        for t in range(last - 1, -1, -1):
            after = pad(beta[t + 1], (0, 2), value=NEVER)
            ways = torch.stack((after[:-2], after[1:-1], after[2:].where(skip, NEVER)))
            beta[t] = torch.logsumexp(ways, 0) + y[t]
    return betas


def ctc_gradient(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """``y - posterior``, (T', B, V)."""
    log_probs = log_probs.detach()
    both = ctc_forward_variables(log_probs, targets, output_lengths, target_lengths)
    both = both + ctc_backward_variables(log_probs, targets, output_lengths, target_lengths)
    gradient = torch.zeros_like(log_probs)
    for b, labels in enumerate(targets.split(target_lengths.tolist())):
        states, frames = extend_target(labels.tolist()), int(output_lengths[b])
        y = log_probs[:frames, b, states]
        joint = both[:frames, b, : len(states)] - y  # both count frame t
        joint = joint.masked_fill(y == NEVER, NEVER)  # -inf - -inf would be nan
        total = torch.logsumexp(joint[0], 0)  # log p(l | x)
        if total == NEVER:
            raise ValueError(f"utterance {b} has no path: {len(labels)} labels, {frames} frames")
        gradient[:frames, b] = log_probs[:frames, b].exp()
        # index_add_ sums where a symbol has several states, as the blank always has; gradient[:, b, states] -= would keep one.
        gradient[:frames, b].index_add_(1, torch.tensor(states), -(joint - total).exp())
    return gradient


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
