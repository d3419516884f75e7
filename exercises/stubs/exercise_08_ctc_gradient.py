"""Exercise 8: the CTC gradient.

Why it matters. The gradient tells the network, at each frame, which symbols should get more probability and which less. It is
one subtraction: what the network said minus what it should have said. What it should have said is CTC's own estimate of which
frame belongs to which letter. This explains why a network in training first outputs nothing but blanks, and why a trained
network outputs each letter in one sharp frame.

Paper. The loss: arXiv Section 3.3, Eq. 9. Backward variables: Graves et al. 2006, Section 4.1, Eq. 9 to 11; how to combine
alpha and beta: Eq. 14.
Effort. 50 minutes, difficulty 3 of 3.
You may use. torch; extend_target and ctc_forward_variables (log alpha) are given. Do not use autograd or torch's CTC loss.
Check it. python exercises/exercise_08_ctc_gradient.py

What if. Compute the gradient for the text "a" and 50 frames in which all symbols are equally likely. Which symbol is pushed up
in the first frame, and which in the 25th? What will the network output after a few steps?
"""

from __future__ import annotations

import torch
from torch import Tensor

from given import ctc_forward_variables, extend_target


def ctc_backward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log beta_t(s). beta_t(s) is the total probability of all paths from state s at frame t to the end, frame t included.

    ``beta_t(s) = (beta_{t+1}(s) + beta_{t+1}(s+1) + [may skip] beta_{t+1}(s+2)) y_t(l'_s)``. This is the forward recursion
    mirrored. Here a path may skip from s to s + 2 only if l'_{s+2} is a label and differs from l'_s. At the utterance's last
    frame a path is in the last label or in the last blank. There may be thousands of frames: use a loop, not recursion.

    Example, to do by hand first. Target "a", two frames, p(blank) = 0.6 and p(a) = 0.4 in both. The states are blank, a, blank.
    Last frame: 0, 0.4, 0.6. First frame: first blank (0 + 0.4) * 0.6 = 0.24; a (0.4 + 0.6) * 0.4 = 0.40; last blank
    0.6 * 0.6 = 0.36.

    >>> log_probs = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log()  # (T', B, V)
    >>> one = torch.tensor([1])
    >>> ctc_backward_variables(log_probs, one, torch.tensor([2]), one)[:, 0].exp()
    tensor([[0.2400, 0.4000, 0.3600],
            [0.0000, 0.4000, 0.6000]])

    Args:
        log_probs: (T', B, V) log-probabilities. Symbol 0 is the blank. A symbol of probability 0 has -inf.
        targets: (sum of target_lengths,) labels of all utterances, one utterance after the other, each label from 1 to V - 1.
        output_lengths: (B,) integers, the number of output frames of each utterance, at least 1.
        target_lengths: (B,) integers, the number of labels of each utterance, 0 or more.

    Returns:
        (T', B, S) log-probabilities with the dtype of log_probs, where S = 2U + 1 belongs to the longest target. They are -inf
        for a state that no path reaches, for frames beyond an utterance's length, and for states beyond its own 2U + 1.
    """
    raise NotImplementedError


def ctc_gradient(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Gradient of each utterance's CTC loss with respect to the inputs of the softmax: ``y_t(k) - posterior_t(k)``.

    ``posterior_t(k) = sum of alpha_t(s) beta_t(s) / (y_t(l'_s) p(l | x))``, over all states s whose symbol l'_s is k. This is the
    probability that frame t belongs to symbol k, given the text. alpha and beta both contain the factor y_t(l'_s) of frame t, so
    divide by it once. ``p(l | x) = sum over s of alpha_t(s) beta_t(s) / y_t(l'_s)``, the same at every frame t.

    The example from above continued: alpha_1 = 0.6, 0.4, 0, so alpha beta / y at the first frame is 0.24, 0.40, 0. Their sum is
    p = 0.64. The posterior of the blank is 0.24 / 0.64 = 0.375, and that of a is 0.40 / 0.64 = 0.625. The gradient is
    0.6 - 0.375 = 0.225 for the blank and 0.4 - 0.625 = -0.225 for a.

    >>> log_probs, one = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log(), torch.tensor([1])
    >>> ctc_gradient(log_probs, one, torch.tensor([2]), one)[:, 0]
    tensor([[ 0.2250, -0.2250],
            [ 0.2250, -0.2250]])

    Args:
        those of ``ctc_backward_variables``. A state whose symbol has probability 0 has posterior 0 (-inf minus -inf would give
            nan).

    Returns:
        (T', B, V) with the dtype of log_probs, 0 beyond an utterance's length. Each utterance has its own gradient: do not
        divide by B.

    Raises:
        ValueError: if an utterance has no path at all, because it has too few frames. Then there is no posterior.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
