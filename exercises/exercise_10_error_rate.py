"""Exercise 10: edit distance, word error rate and the alignment.

Why it matters. Every claim about a recogniser rests on the word error rate. This rate can exceed 100 %. The rate of a
corpus is not the mean of its utterances' rates. If there is no reference word, the rate is undefined. A mistake here makes a
bad model look good, and nothing crashes. The alignment shows which words went wrong.

Paper. All tables of results give word error rates (character error rates for Mandarin); see arXiv Section 6. The paper does not
define them. This is the usual definition, by Levenshtein distance.
Effort. 35 minutes, difficulty 2 of 3.
You may use. Plain Python (NumPy if you like); ErrorCounts is given. Do not use jiwer, difflib or the like.
Check it. python exercises/exercise_10_error_rate.py

What if. Take two utterances: one has 1 word, and it is wrong; the other has 9 words, and all are right. What is the word error
rate of the corpus, and what is the mean of the two rates? Which of the two would you rather report if all your errors were in
short utterances?
"""

from __future__ import annotations

from collections.abc import Sequence

from given import ErrorCounts


def edit_distance(reference: Sequence, hypothesis: Sequence) -> int:
    """Levenshtein distance: the smallest number of substitutions, deletions and insertions that turn one sequence into the
    other.

    Example, to do by hand first: "saw" becomes "was" by 2 substitutions (s to w, and w to s; the a stays). d[i][j] is the
    distance from the first i items of one to the first j items of the other. The first row is 0 1 2 3, and so is the first
    column. Each other cell is the smallest of three numbers: the cell above + 1, the cell to the left + 1, and the cell
    diagonally above to the left, + 0 if the two items are equal and + 1 if not. The answer is the last cell:

               w  a  s
            0  1  2  3
        s   1  1  2  2
        a   2  2  1  2
        w   3  2  2  2

    >>> edit_distance("saw", "was")
    2

    Args:
        reference, hypothesis: strings, lists of words, or other sequences. Their items can be compared with ==, but perhaps not
            hashed. There may be thousands of items: use loops, not recursion.

    Returns:
        an int (Python's own, not NumPy's).
    """
    raise NotImplementedError


def count_word_errors(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Counts the word errors of one text (a str) or of a corpus (a list or tuple of str). Words are separated by white space. A
    text may have thousands of words.

    Example, to do by hand first: three of four words are right, and one is missing.

    >>> counts = count_word_errors("the cat sat down", "the cat down")
    >>> counts.hits, counts.substitutions, counts.deletions, counts.insertions
    (3, 0, 1, 0)
    >>> counts.alignment
    [[('the', 'the'), ('cat', 'cat'), ('sat', None), ('down', 'down')]]

    Returns:
        ``ErrorCounts(hits, substitutions, deletions, insertions, alignment)``. The four numbers are sums over the corpus.
        ``alignment`` holds one list per utterance, with pairs (reference word, hypothesis word) in order. An insertion has None
        on the left, a deletion has None on the right. If several alignments have the fewest errors, any of them will do. The
        four numbers must be those of the alignment that you return.

    Raises:
        ValueError: if there are not as many hypotheses as references.
    """
    raise NotImplementedError


def word_error_rate(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> float:
    """Word errors per reference word over the whole corpus, 0.05 for 5 %.

    Divide all errors of the corpus by all its reference words. The rate can exceed 1. If there is no reference word at all,
    return the number of insertions, as a float.

    >>> word_error_rate(["a", "b c d"], ["x", "b c d"])
    0.25
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
