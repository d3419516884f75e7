"""Solution of exercise 9: prefix beam search with a language model."""

from __future__ import annotations

import numpy as np

from given import BeamScorer, Hypothesis

NEVER = -np.inf


def kept_labels(frame: np.ndarray, cutoff: float, max_labels: int | None) -> list[int]:
    """Given."""
    if cutoff >= 1.0 and max_labels is None:
        return list(range(1, len(frame)))
    order = np.argsort(-frame, kind="stable")
    kept = order[: 1 + int(np.searchsorted(np.exp(frame[order]).cumsum(), cutoff))][:max_labels]
    return [int(label) for label in kept if label > 0]


def spread(beam: dict, frame: np.ndarray, labels: list[int]) -> dict:
    """One frame: prefix -> [log p_b, log p_nb] of all prefixes that the beam can become."""
    grown: dict = {}

    def add(prefix: tuple, place: int, mass: float) -> None:
        masses = grown.setdefault(prefix, [NEVER, NEVER])
        masses[place] = np.logaddexp(masses[place], mass)

    for prefix, (p_b, p_nb) in beam.items():
        both = np.logaddexp(p_b, p_nb)
        add(prefix, 0, both + frame[0])
        if prefix:
            add(prefix, 1, p_nb + frame[prefix[-1]])
        for label in labels:
            again = bool(prefix) and label == prefix[-1]
            add((*prefix, label), 1, (p_b if again else both) + frame[label])
    return grown


def prefix_beam_search(
    log_probs: np.ndarray, beam_width: int = 10, scorer: BeamScorer | None = None, alpha: float = 0.0, beta: float = 0.0,
    cutoff: float = 1.0, max_labels: int | None = None,
) -> list[Hypothesis]:  # fmt: skip
    """The likeliest label sequences of one utterance, best first."""
    known = {(): (scorer.start() if scorer else None, 0.0, 0)}  # prefix -> state, log_lm, words

    def language(prefix: tuple) -> tuple:
        if prefix not in known:  # its parent was in a beam, so the recursion is one step deep
            state, log_lm, words = language(prefix[:-1])
            if scorer:
                added, counted = scorer.scores(state, np.array(prefix[-1:]))  # one label asked, one answer
                log_lm, words = log_lm + float(added[0]), words + int(counted[0])
                state = scorer.advance(state, prefix[-1])
            known[prefix] = (state, log_lm, words)
        return known[prefix]

    def score(log_ctc: float, log_lm: float, words: int) -> float:
        # 0 * -inf would be nan: what is forbidden stays forbidden.
        return NEVER if log_lm == NEVER else float(log_ctc + alpha * log_lm + beta * words)

    beam = {(): (0.0, NEVER)}
    for frame in np.asarray(log_probs, dtype=np.float64):
        grown = spread(beam, frame, kept_labels(frame, cutoff, max_labels))
        rank = {prefix: score(np.logaddexp(*masses), *language(prefix)[1:]) for prefix, masses in grown.items()}
        best = sorted((prefix for prefix in grown if rank[prefix] > NEVER), key=rank.get, reverse=True)[:beam_width]
        beam = {prefix: grown[prefix] for prefix in best}
    found = []
    for prefix, masses in beam.items():
        state, log_lm, words = language(prefix)
        log_end, words_end = scorer.finish(state) if scorer else (0.0, 0)
        log_lm, words, log_ctc = log_lm + log_end, words + words_end, float(np.logaddexp(*masses))
        found.append(Hypothesis(prefix, score(log_ctc, log_lm, words), log_ctc, log_lm, words))
    return sorted((one for one in found if one.score > NEVER), key=lambda one: -one.score)


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
