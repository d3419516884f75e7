"""Exercise 8: the CTC gradient.

Why it matters. The gradient is what the network is told: at each frame, more of these symbols and less of those. It is one
subtraction: what the network said minus what it should have said. "Should" is CTC's own best guess of which frame belongs to
which letter. This explains why every training begins with nothing but blanks, and why a trained network puts its letters
into single sharp frames.

Paper. The loss: arXiv Section 3.3, Eq. 9. Backward variables: Graves et al. 2006, Section 4.1, Eq. 9 to 11; how they join: Eq.
14.
Effort. 50 minutes, difficulty 3 of 3.
You may use. torch; extend_target and ctc_forward_variables (log alpha) are given. Not autograd and not torch's CTC loss.
Check it. python exercises/exercise_08_ctc_gradient.py

What if. Compute the gradient of "a" in 50 frames in which all symbols are equally likely. Which symbol is pushed up in the
first frame, and which in the 25th? What will the network put out after a few steps?
"""

from __future__ import annotations

import torch
from torch import Tensor

from given import ctc_forward_variables, extend_target


def ctc_backward_variables(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """log beta_t(s). beta_t(s) is the probability of all ways to go on from state s at frame t to the end, frame t included.

    ``beta_t(s) = (beta_{t+1}(s) + beta_{t+1}(s+1) + [may skip] beta_{t+1}(s+2)) y_t(l'_s)``: the forward recursion in a mirror.
    Here a path may skip from s to s + 2 if l'_{s+2} is a label and not the same as l'_s. At the utterance's last frame a path
    stands in the last label or in the last blank. There may be thousands of frames: use a loop, not recursion.

    Example, to do by hand first. Target "a", two frames, p(blank) = 0.6 and p(a) = 0.4 in both; states blank, a, blank. Last
    frame: 0, 0.4, 0.6. First: blank (0 + 0.4) * 0.6 = 0.24; a (0.4 + 0.6) * 0.4 = 0.40; last blank 0.6 * 0.6 = 0.36.

    >>> log_probs = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log()  # (T', B, V)
    >>> one = torch.tensor([1])
    >>> ctc_backward_variables(log_probs, one, torch.tensor([2]), one)[:, 0].exp()
    tensor([[0.2400, 0.4000, 0.3600],
            [0.0000, 0.4000, 0.6000]])

    Args:
        log_probs: (T', B, V) log-probabilities, symbol 0 the blank; -inf where a symbol has none.
        targets: (sum of target_lengths,) labels of all utterances, one after the other, each 1..V-1.
        output_lengths: (B,) integer output frames, at least 1.
        target_lengths: (B,) integer labels, may be 0.

    Returns:
        (T', B, S) log-probabilities, S = 2U + 1 of the longest target, dtype of log_probs; -inf for a state without any path,
        beyond an utterance's length and beyond its own states.
    """
    raise NotImplementedError


def ctc_gradient(log_probs: Tensor, targets: Tensor, output_lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Gradient of each utterance's CTC loss with respect to the inputs of the softmax: ``y_t(k) - posterior_t(k)``.

    ``posterior_t(k) = sum of alpha_t(s) beta_t(s) / (y_t(l'_s) p(l | x))`` over all states s whose symbol l'_s is k: the
    probability that frame t belongs to symbol k, once the text is known. alpha and beta both contain the factor of frame t,
    so it is divided out once. ``p(l | x) = sum over s of alpha_t(s) beta_t(s) / y_t(l'_s)``, the same at every frame t.

    Example, going on from above: alpha_1 = 0.6, 0.4, 0, so alpha beta / y at the first frame is 0.24, 0.40, 0; their sum is p =
    0.64. The posterior of the blank is 0.24 / 0.64 = 0.375, of a 0.625. The gradient is 0.6 - 0.375 = 0.225 and 0.4 - 0.625 =
    -0.225.

    >>> log_probs, one = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]]]).log(), torch.tensor([1])
    >>> ctc_gradient(log_probs, one, torch.tensor([2]), one)[:, 0]
    tensor([[ 0.2250, -0.2250],
            [ 0.2250, -0.2250]])

    Args:
        as ``ctc_backward_variables``. A state whose symbol has probability 0 has posterior 0 (-inf minus -inf would be nan).

    Returns:
        (T', B, V), dtype of log_probs, 0 beyond an utterance's length. Each utterance's own gradient: nothing is divided by B.

    Raises:
        ValueError: for an utterance that has no path at all (too few frames): it has no posterior.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
