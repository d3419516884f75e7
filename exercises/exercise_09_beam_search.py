"""Exercise 9: prefix beam search with a language model.

Why it matters. The network writes down what it hears, spelling mistakes included. A language model knows which words exist. In
Table 6 it halves the error rate of the shallow network. To use it while decoding, the search must score a text before its paths
are complete, and it must add up all paths of each text. The search below does both. The easiest mistake is to lose double
letters.

Paper. arXiv Section 3.8, Eq. 12, and Table 6; the search: Hannun et al. 2014, arXiv:1408.2873.
Effort. 50 minutes, difficulty 3 of 3.
You may use. Plain Python and NumPy; Hypothesis and kept_labels are given.
Check it. python exercises/exercise_09_beam_search.py

The language model. It has four methods. ``scorer.start()`` returns the state of the empty prefix, and
``scorer.advance(state, label)`` the state after one more label. ``scorer.scores(state, labels)`` returns two arrays: the
log-probability and the number of words that each label adds. ``scorer.finish(state)`` returns two such numbers for the end of
the text: add them to each prefix that is left after the last frame. log_lm and words of a prefix are the sums of what its
labels add.

What if. Run the example below with beam_width 1. Which text is found, and what happened to the paths of the other one? Which
text do you find with a language model and alpha = 100?
"""

from __future__ import annotations

import numpy as np

from given import BeamScorer, Hypothesis


def kept_labels(frame: np.ndarray, cutoff: float, max_labels: int | None) -> list[int]:
    """Given: the labels that may extend a prefix in this frame.

    It takes the fewest symbols, likeliest first, whose probabilities add up to ``cutoff``, and at most ``max_labels`` of them.
    It keeps the labels among them and leaves out the blank.
    """
    if cutoff >= 1.0 and max_labels is None:
        return list(range(1, len(frame)))
    order = np.argsort(-frame, kind="stable")
    kept = order[: 1 + int(np.searchsorted(np.exp(frame[order]).cumsum(), cutoff))][:max_labels]
    return [int(label) for label in kept if label > 0]


def prefix_beam_search(
    log_probs: np.ndarray, beam_width: int = 10, scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0,
    cutoff: float = 1.0, max_labels: int | None = None,
) -> list[Hypothesis]:  # fmt: skip
    """The likeliest label sequences of one utterance, best first.

    Each prefix (a tuple of labels) has two probabilities: p_b, of all its paths so far that end in a blank, and p_nb, of those
    that end in its last label. The empty prefix begins with p_b = 1, p_nb = 0. A frame with probabilities p passes them on:

    * blank: (p_b + p_nb) p(blank) goes to p_b of the same prefix;
    * its last label c once more: p_nb p(c) goes to p_nb of the same prefix, since c is only held;
    * any label c of ``kept_labels(frame, cutoff, max_labels)``: (p_b + p_nb) p(c) goes to p_nb of the prefix with c added.
      If c already is the last label, only p_b p(c) goes there: without a blank in between, c is held and not said again.

    A prefix may get probability from several prefixes: add it up. Then keep the ``beam_width`` prefixes with the highest score as
    the next beam. Work with logarithms (np.logaddexp). There may be thousands of frames: use a loop, not recursion.

    Example, to do by hand first. Two frames, p(blank) = 0.6 and p(a) = 0.4 in both. After the first frame "" has p_b = 0.6 and
    "a" has p_nb = 0.4. In the second frame "" keeps 0.6 * 0.6 = 0.36. "a" gets 0.6 * 0.4 from "", 0.4 * 0.4 because a is held,
    and 0.4 * 0.6 because a blank follows: together 0.64. "aa" needs p_b of "a", which is 0: its score is -inf, so leave it out.

    >>> found = prefix_beam_search(np.log([[0.6, 0.4], [0.6, 0.4]]))
    >>> [(hypothesis.labels, round(float(np.exp(hypothesis.score)), 2)) for hypothesis in found]
    [((1,), 0.64), ((), 0.36)]

    Args:
        log_probs: (T', V) log-probabilities; symbol 0 is the blank. The probabilities of each row sum to one. Some may be 0
            (-inf). T' may be 0.
        beam_width: number of prefixes kept after each frame.
        scorer: a language model, see the head of this file; None for none.
        alpha, beta: weights of log_lm and words; alpha is at least 0. What the language model forbids (-inf) stays forbidden
            at alpha = 0.
        cutoff, max_labels: for ``kept_labels``.

    Returns:
        a list of up to ``beam_width`` objects ``Hypothesis(labels, score, log_ctc, log_lm, words)``, the highest score first.
        labels is a tuple of int, log_ctc = log(p_b + p_nb), and ``score = log_ctc + alpha log_lm + beta words`` (Eq. 12). Leave
        out hypotheses with score -inf.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
