"""Exercise 10: edit distance, word error rate and the alignment.

Why it matters. Every claim about a recogniser rests on this number. It can exceed 100 %. The mean of the utterances' rates
is not the rate of the corpus. Empty references leave it undefined. A mistake here makes a bad model look good, and nothing
crashes. The alignment shows what went wrong.

Paper. All results tables of the paper are word error rates (for Mandarin character error rates); see arXiv Section 6. The paper
does not define them: this is the usual definition (Levenshtein distance).
Effort. 35 minutes, difficulty 2 of 3.
You may use. Plain Python (NumPy if you like); ErrorCounts is given. Not jiwer, difflib and the like.
Check it. python exercises/exercise_10_error_rate.py

What if. Take two utterances: one of 1 word that is wrong, and one of 9 words that are right. What is the word error rate of
the corpus, and what is the mean of the two rates? Which one would you rather report if all your errors were in short
utterances?
"""

from __future__ import annotations

from collections.abc import Sequence

from given import ErrorCounts


def edit_distance(reference: Sequence, hypothesis: Sequence) -> int:
    """Levenshtein distance: fewest substitutions, deletions and insertions that turn one sequence into the other.

    Example, to do by hand first: "saw" becomes "was" by 2 substitutions (s w, w s; the a stays). d[i][j] is the distance of
    the first i items of one to the first j of the other. The first row is 0 1 2 3, and so is the first column. Each other
    field is the smallest of three: the field above + 1, the field to the left + 1, and the field diagonally above, + 0 if
    the items are equal and + 1 if not:

               w  a  s
            0  1  2  3
        s   1  1  2  2
        a   2  2  1  2
        w   3  2  2  2

    >>> edit_distance("saw", "was")
    2

    Args:
        reference, hypothesis: strings, lists of words, or other sequences, whose items can be compared with == (but perhaps
            not hashed). They may have thousands of items: use loops, not recursion.

    Returns:
        an int (Python's own, not NumPy's).
    """
    raise NotImplementedError


def count_word_errors(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Word errors of one text (a str) or of a corpus (a sequence of str, list or tuple); words are separated by white space.
    A text may have thousands of words.

    Example, by hand: three of four words are right, one is missing.

    >>> counts = count_word_errors("the cat sat down", "the cat down")
    >>> counts.hits, counts.substitutions, counts.deletions, counts.insertions
    (3, 0, 1, 0)
    >>> counts.alignment
    [[('the', 'the'), ('cat', 'cat'), ('sat', None), ('down', 'down')]]

    Returns:
        ``ErrorCounts(hits, substitutions, deletions, insertions, alignment)``: the four numbers summed over the corpus;
        ``alignment`` holds one list for each utterance, of pairs (reference word, hypothesis word) in order, None on the left
        for an insertion and on the right for a deletion. If several alignments have the fewest errors, any of them will do.
        The four numbers are those of the alignment that you return.

    Raises:
        ValueError: if there are not as many hypotheses as references.
    """
    raise NotImplementedError


def word_error_rate(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> float:
    """Word errors per reference word over the whole corpus, 0.05 for 5 %.

    All errors of the corpus, divided by all its reference words. It can exceed 1. With no reference word at all: the number of
    insertions, as a float.

    >>> word_error_rate(["a", "b c d"], ["x", "b c d"])
    0.25
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
