"""Wrong answers of exercise 10. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

TABLE, RATE, COUNTS = (
    "the table in the docstring of edit_distance",
    "docstring of word_error_rate",
    "docstring of count_word_errors",
)

MUTANTS = [
    Mutant(
        "a substitution costs two",
        "Replacing an item is one edit, not a deletion and an insertion.",
        TABLE,
        (
            ("table[i - 1][j - 1] + (ref != hyp)", "table[i - 1][j - 1] + 2 * (ref != hyp)"),
            ("table[i - 1][j - 1] + (reference[i", "table[i - 1][j - 1] + 2 * (reference[i"),
        ),
    ),
    Mutant(
        "insertions are free",
        "Each extra item of the hypothesis is an error as well: the cell to the left + 1.",
        TABLE,
        (
            ("row[j - 1] + 1, ", "row[j - 1], "),
            ("table = [list(range(len(hypothesis) + 1))]", "table = [[0] * (len(hypothesis) + 1)]"),
        ),
    ),
    Mutant(
        "deletions are free",
        "Each item that the hypothesis leaves out is an error as well: the cell above + 1.",
        TABLE,
        (
            ("table[i - 1][j] + 1, row", "table[i - 1][j], row"),
            ("        row = [i]\n", "        row = [0]\n"),
            ("table[i][j] == table[i - 1][j] + 1", "table[i][j] == table[i - 1][j]"),
        ),
    ),
    Mutant(
        "the first row is zero",
        "Turning nothing into j items takes j insertions. So the first row is 0 1 2 3, and so is the first column.",
        TABLE,
        (("table = [list(range(len(hypothesis) + 1))]", "table = [[0] * (len(hypothesis) + 1)]"),),
    ),
    Mutant(
        "items are compared place by place",
        "If you compare place by place, one missing word at the beginning makes all later words wrong. The edit distance may shift words against each other if that is cheaper.",
        TABLE,
        (
            (
                "    return edit_table(reference, hypothesis)[-1][-1]",
                "    return sum(a != b for a, b in zip(reference, hypothesis)) + abs(len(reference) - len(hypothesis))",
            ),
            (
                "        pairs = align(reference.split(), hypothesis.split())",
                "        from itertools import zip_longest\n        pairs = list(zip_longest(reference.split(), hypothesis.split()))",
            ),
        ),
    ),
    Mutant(
        "words are compared as sets",
        "The order and the number of words matter: this is a distance between sequences.",
        TABLE,
        (
            (
                "    return edit_table(reference, hypothesis)[-1][-1]",
                "    return max(len(set(reference) - set(hypothesis)), len(set(hypothesis) - set(reference)))",
            ),
        ),
    ),
    Mutant(
        "the mean of the utterances' rates",
        "Divide the errors of the whole corpus by the words of the whole corpus. Otherwise a short utterance counts as much as a long one.",
        RATE,
        (
            (
                "    counts = count_word_errors(references, hypotheses)\n    words",
                "    if not isinstance(references, str) and len(references) > 1:\n        return sum(map(word_error_rate, references, hypotheses)) / len(references)\n    counts = count_word_errors(references, hypotheses)\n    words",
            ),
        ),
    ),
    Mutant(
        "divided by the words of the hypothesis",
        "The rate is per reference word. Otherwise extra words in a hypothesis would lower it.",
        RATE,
        (
            (
                "words = counts.hits + counts.substitutions + counts.deletions",
                "words = counts.hits + counts.substitutions + counts.insertions",
            ),
        ),
    ),
    Mutant(
        "the rate stops at one",
        "With more insertions than words the rate exceeds 100 %, and that is right.",
        RATE,
        (
            (
                "    return (counts.substitutions + counts.deletions + counts.insertions) / max(1, words)",
                "    return min(1.0, (counts.substitutions + counts.deletions + counts.insertions) / max(1, words))",
            ),
        ),
    ),
    Mutant(
        "insertions do not count in the rate",
        "Substitutions, deletions and insertions are all errors.",
        RATE,
        (("(counts.substitutions + counts.deletions + counts.insertions) /", "(counts.substitutions + counts.deletions) /"),),
    ),
    Mutant(
        "an empty reference divides by zero, or gives 0",
        "If there is no reference word at all, the rate is the number of insertions.",
        RATE,
        ((" / max(1, words)", " / words if words else 0.0"),),
    ),
    Mutant(
        "insertions and deletions are swapped",
        "A deletion is a reference word that is missing in the hypothesis (None on the right), an insertion is an extra word (None on the left).",
        COUNTS,
        (
            ("counts.insertions += ref is None", "counts.deletions += ref is None"),
            ("counts.deletions += hyp is None", "counts.insertions += hyp is None"),
        ),
    ),
    Mutant(
        "the alignment is backwards",
        "If you walk back from the end of the table, you get the pairs from last to first. Reverse them.",
        COUNTS,
        (("return pairs[::-1]", "return pairs"),),
    ),
    Mutant(
        "characters instead of words",
        "Word errors compare words. Split the texts at white space first.",
        COUNTS,
        (("align(reference.split(), hypothesis.split())", "align(list(reference), list(hypothesis))"),),
    ),
    Mutant(
        "words are split at single spaces",
        "Two spaces, tabs or a line end are white space too, with no word in between. Use text.split() without an argument.",
        COUNTS,
        (("align(reference.split(), hypothesis.split())", 'align(reference.split(" "), hypothesis.split(" "))'),),
    ),
    Mutant(
        "only a list counts as a corpus",
        "Any sequence of texts is a corpus, also a tuple. Check whether it is a str, not whether it is a list.",
        COUNTS,
        (
            (
                "[references] if isinstance(references, str) else references",
                "references if isinstance(references, list) else [references]",
            ),
            (
                "[hypotheses] if isinstance(hypotheses, str) else hypotheses",
                "hypotheses if isinstance(hypotheses, list) else [hypotheses]",
            ),
        ),
    ),
    Mutant(
        "words are split at some kinds of white space only",
        "White space is more than space, tab and line end. Other systems use \\r\\n, and Japanese has a wide space. text.split() knows them all.",
        COUNTS,
        (
            (
                "align(reference.split(), hypothesis.split())",
                'align(*([word for word in " ".join(" ".join(text.split("\\n")).split("\\t")).split(" ") if word] for text in (reference, hypothesis)))',
            ),
        ),
    ),
    Mutant(
        "surplus texts on either side are ignored",
        "Each reference needs its hypothesis. A list that is too short or too long is the caller's mistake: raise ValueError.",
        COUNTS,
        (
            ('        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses")', "        pass"),
            ("hypotheses, strict=True)", "hypotheses)"),
        ),
    ),
    Mutant(
        "a single text is taken for a list of letters",
        "A str is one text. Iterating over it gives its characters.",
        COUNTS,
        (
            ("references = [references] if isinstance(references, str) else references", "references = list(references)"),
            ("hypotheses = [hypotheses] if isinstance(hypotheses, str) else hypotheses", "hypotheses = list(hypotheses)"),
        ),
    ),
    Mutant(
        "the same items are cut off at both ends",
        "The common beginning and the common end of two texts may overlap. In banana and bana the beginning takes all of bana, so nothing is left for the end.",
        "docstring of edit_distance",
        (
            (
                "    return edit_table(reference, hypothesis)[-1][-1]\n",
                "    p = 0\n    while p < min(len(reference), len(hypothesis)) and reference[p] == hypothesis[p]:\n        p += 1\n    s = 0\n    while s < min(len(reference), len(hypothesis)) and reference[-1 - s] == hypothesis[-1 - s]:\n        s += 1\n    r, h = reference[p : len(reference) - s], hypothesis[p : len(hypothesis) - s]\n    return edit_table(r, h)[-1][-1]\n",
            ),
        ),
    ),
]
