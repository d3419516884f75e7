"""Exercise 9: prefix beam search with a language model.

Why it matters. The network writes down what it hears, spelling mistakes included; a language model knows which words exist.
In Table 6 it halves the error rate of the shallow network. To use it while decoding, the search must score a text before its
paths are complete, and it must add up all paths of each text. The search below does both. Double letters are what it loses
most easily.

Paper. arXiv Section 3.8, Eq. 12, and Table 6; the search: Hannun et al. 2014, arXiv:1408.2873.
Effort. 50 minutes, difficulty 3 of 3.
You may use. Plain Python and NumPy; Hypothesis and kept_labels are given.
Check it. python exercises/exercise_09_beam_search.py

What if. Search with beam_width 1 in the first example below. Which text is found, and where did the paths of the other one
go? What does a language model with alpha = 100 find?
"""

from __future__ import annotations

import numpy as np

from given import BeamScorer, Hypothesis


def kept_labels(frame: np.ndarray, cutoff: float, max_labels: int | None) -> list[int]:
    """Given: the labels that may extend a prefix in this frame.

    Take the likeliest symbols, as few as together have the probability ``cutoff``, and at most ``max_labels`` of them. The
    labels among them, without the blank, are kept.
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

    Each prefix (a tuple of labels) carries two masses: p_b, of the paths so far that end in blank, and p_nb, of those that end
    in its last label. The empty prefix begins with p_b = 1, p_nb = 0. A frame with the probabilities p moves the masses of each:

    * blank: (p_b + p_nb) p(blank) goes to p_b of the same prefix;
    * its last label c, held: p_nb p(c) goes to p_nb of the same prefix;
    * any label c of ``kept_labels(frame, cutoff, max_labels)``: (p_b + p_nb) p(c) goes to p_nb of the prefix with c added.
      If c is the last label already, only p_b p(c) goes there: without a blank in between, c is held and not said again.

    A prefix may get mass from several sides: add it up. Then the ``beam_width`` prefixes with the highest score form the next
    beam; the others go. Work with logarithms (np.logaddexp). There may be thousands of frames: loop over them, no recursion.

    A language model has four methods. ``scorer.start()`` is the state of the empty prefix, ``scorer.advance(state, label)`` the
    next one. ``scorer.scores(state, labels)`` gives two arrays: the log-probability and the number of words that each label
    adds. ``scorer.finish(state)`` gives two such numbers for the end of the text: add them to each prefix that is left after
    the last frame. log_lm and words of a prefix are the sums of what its labels add.

    Example, to do by hand first. Two frames, p(blank) = 0.6 and p(a) = 0.4 in both. After the first: "" has p_b = 0.6, "a" p_nb
    = 0.4. In the second "" keeps 0.6 * 0.6 = 0.36; "a" gets 0.6 * 0.4 from "", holds 0.4 * 0.4, and ends in blank with 0.4 *
    0.6: together 0.64. "aa" would need p_b of "a", which is 0: its score is -inf, and it is left out.

    >>> found = prefix_beam_search(np.log([[0.6, 0.4], [0.6, 0.4]]))
    >>> [(hypothesis.labels, round(float(np.exp(hypothesis.score)), 2)) for hypothesis in found]
    [((1,), 0.64), ((), 0.36)]

    Args:
        log_probs: (T', V), symbol 0 the blank; each row sums to one, single probabilities may be 0 (-inf). T' may be 0.
        scorer: a language model; None for none.
        alpha, beta: weights of log_lm and words; alpha is at least 0. What the model forbids (-inf) stays so at alpha = 0.

    Returns:
        up to ``beam_width`` of ``Hypothesis(labels, score, log_ctc, log_lm, words)``, the highest score first; labels a tuple of
        int, log_ctc = log(p_b + p_nb), ``score = log_ctc + alpha log_lm + beta words`` (Eq. 12). None with score -inf.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
