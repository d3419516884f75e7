"""Exercise 7: the CTC forward recursion.

Why it matters. Nobody tells the network at which frame a letter is spoken. So CTC adds up the probabilities of all alignments.
For 500 frames and 50 letters there are more alignments than atoms in the universe. The recursion computes this sum in 500
times 101 steps. The same recursion also explains the rest of CTC: too few frames, infinite losses, double letters.

Paper. arXiv Section 3.3, Eq. 9; the recursion is Graves et al. 2006, Section 4.1, with Eq. 5 (definition) and Eq. 8 (the sum).
Effort. 50 minutes, difficulty 3 of 3.
You may use. torch and plain Python. Do not use torch's CTC loss. You need no gradient here: that is exercise 8.
Check it. python exercises/exercise_07_ctc_forward.py

What if. Let a and b have the same probability in every frame. Compare the losses of "aa" and "ab" in 2 frames and in 3.
Which loss is infinite, which is larger, and why?
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def extend_target(target: Sequence[int]) -> list[int]:
    """The extended target l': a blank (0) at both ends and between all labels. U labels give S = 2U + 1 states.

    >>> extend_target([3, 1])
    [0, 3, 0, 1, 0]
    """
    raise NotImplementedError


def ctc_forward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log alpha_t(s). alpha_t(s) is the total probability of all paths over the first t frames that spell the extended target
    up to state s and end in this state.

    ``alpha_t(s) = (alpha_{t-1}(s) + alpha_{t-1}(s-1) + [may skip] alpha_{t-1}(s-2)) y_t(l'_s)``, where a path may skip from
    s - 2 straight to s only if l'_s is a label and differs from l'_{s-2}. At the first frame a path is in the first blank or in
    the first label.

    The probabilities of a long utterance are far below the smallest number that a float can hold. So work with logarithms
    throughout (torch.logsumexp, torch.logaddexp). Write log 0 as -inf: no finite number is small enough to stand for it. An
    utterance may have thousands of frames: use a loop over them, not recursion.

    Example, to do by hand first. Target "a", two frames, p(blank) = 0.6 and p(a) = 0.4 in both. The states are blank, a, blank.
    First frame: 0.6, 0.4 and 0. Second frame: first blank 0.6 * 0.6 = 0.36; a (0.4 + 0.6) * 0.4 = 0.40; last blank
    (0 + 0.4) * 0.6 = 0.24.

    >>> log_probs = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log()  # (T', B, V)
    >>> one = torch.tensor([1])
    >>> ctc_forward_variables(log_probs, one, torch.tensor([2]), one)[:, 0].exp()
    tensor([[0.6000, 0.4000, 0.0000],
            [0.3600, 0.4000, 0.2400]])

    Args:
        log_probs: (T', B, V) log-probabilities, with or without requires_grad. Symbol 0 is the blank. A symbol of probability
            0 has -inf.
        targets: (sum of target_lengths,) labels of all utterances, one utterance after the other, each label from 1 to V - 1.
        output_lengths: (B,) integers, the number of output frames of each utterance, at least 1.
        target_lengths: (B,) integers, the number of labels of each utterance, 0 or more.

    Returns:
        (T', B, S) log-probabilities with the dtype of log_probs, where S belongs to the longest target; -inf for a state that
        no path reaches. Frames beyond an utterance's own length and states beyond its own 2U + 1 may hold anything.
    """
    raise NotImplementedError


def ctc_loss_by_recursion(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """The CTC loss, ``-log sum over l in Align(x, y) of prod_t p(l_t | x)`` (Eq. 9). A path may end in the last label or in the
    blank after it.

    The example from above continued: 0.40 + 0.24 = 0.64, and -log 0.64 = 0.446.

    >>> log_probs, one = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log(), torch.tensor([1])
    >>> ctc_loss_by_recursion(log_probs, one, torch.tensor([2]), one)
    tensor([0.4463])

    Args:
        those of ``ctc_forward_variables``.

    Returns:
        (B,) losses in nats, one per utterance, with the dtype of log_probs; inf for an utterance with too few frames for its
        labels.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
