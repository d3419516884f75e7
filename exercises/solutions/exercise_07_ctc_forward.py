"""Solution of exercise 7: the CTC forward recursion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

NEVER = float("-inf")


def extend_target(target: Sequence[int]) -> list[int]:
    """Blanks at both ends and between all labels."""
    extended = [0]
    for label in target:
        extended += [int(label), 0]
    return extended


def ctc_forward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log alpha_t(s), (T', B, S)."""
    log_probs = log_probs.detach()  # value only: writing in place would break the graph
    alphas = torch.full((*log_probs.shape[:2], 2 * int(target_lengths.max()) + 1), NEVER, dtype=log_probs.dtype)
    for b, labels in enumerate(targets.split(target_lengths.tolist())):
        states = extend_target(labels.tolist())
        y = log_probs[:, b, states]  # (T', S)
        skip = torch.tensor([s >= 2 and label != 0 and label != states[s - 2] for s, label in enumerate(states)])
        alpha = alphas[:, b, : len(states)]
        alpha[0, :2] = y[0, :2]
        for t in range(1, int(output_lengths[b])):
            before = pad(alpha[t - 1], (2, 0), value=NEVER)  # so that s - 1 and s - 2 exist for every s
            ways = torch.stack((before[2:], before[1:-1], before[:-2].where(skip, NEVER)))
            alpha[t] = torch.logsumexp(ways, 0) + y[t]
    return alphas


def ctc_loss_by_recursion(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """``-log(alpha_T(S) + alpha_T(S - 1))`` of each utterance."""
    alphas = ctc_forward_variables(log_probs, targets, output_lengths, target_lengths)
    losses = []
    for b, (frames, labels) in enumerate(zip(output_lengths.tolist(), target_lengths.tolist(), strict=True)):
        # max: an empty target has no label to end in, only the one blank.
        losses.append(-torch.logsumexp(alphas[frames - 1, b, max(0, 2 * labels - 1) : 2 * labels + 1], 0))
    return torch.stack(losses)


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
