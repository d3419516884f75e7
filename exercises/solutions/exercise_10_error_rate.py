"""Solution of exercise 10: edit distance, word error rate and the alignment."""

from __future__ import annotations

from collections.abc import Sequence

from given import ErrorCounts


def edit_table(reference: Sequence, hypothesis: Sequence) -> list[list[int]]:
    """Distances of all pairs of prefixes."""
    table = [list(range(len(hypothesis) + 1))]
    for i, ref in enumerate(reference, start=1):
        row = [i]
        for j, hyp in enumerate(hypothesis, start=1):
            row.append(min(table[i - 1][j] + 1, row[j - 1] + 1, table[i - 1][j - 1] + (ref != hyp)))
        table.append(row)
    return table


def edit_distance(reference: Sequence, hypothesis: Sequence) -> int:
    """The last field of the table."""
    return edit_table(reference, hypothesis)[-1][-1]


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Pairs, from the end of the table back to its beginning."""
    table, i, j = edit_table(reference, hypothesis), len(reference), len(hypothesis)
    pairs: list[tuple[str | None, str | None]] = []
    while i or j:
        # From which neighbour did the cheapest way come? Ties go to hits and substitutions; any choice would do.
        if i and j and table[i][j] == table[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif i and table[i][j] == table[i - 1][j] + 1:
            i -= 1
            pairs.append((reference[i], None))
        else:
            j -= 1
            pairs.append((None, hypothesis[j]))
    return pairs[::-1]


def count_word_errors(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Word errors, counted on the alignment so that both agree."""
    references = [references] if isinstance(references, str) else references
    hypotheses = [hypotheses] if isinstance(hypotheses, str) else hypotheses
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses")
    counts = ErrorCounts()
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        pairs = align(reference.split(), hypothesis.split())
        counts.alignment.append(pairs)
        for ref, hyp in pairs:
            counts.insertions += ref is None
            counts.deletions += hyp is None
            counts.hits += ref == hyp
            counts.substitutions += ref is not None and hyp is not None and ref != hyp
    return counts


def word_error_rate(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> float:
    """Errors of the corpus by words of the corpus."""
    counts = count_word_errors(references, hypotheses)
    words = counts.hits + counts.substitutions + counts.deletions
    return (counts.substitutions + counts.deletions + counts.insertions) / max(1, words)


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
