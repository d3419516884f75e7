"""Check of exercise 10: edit distance, word error rate and the alignment."""

from __future__ import annotations

from functools import cache

import hypothesis.strategies as st
import jiwer
import numpy as np
from implementation import ErrorCounts

from ladder import Ladder
from sizes import for_sizes

READY = "write the table yourself"
ladder = Ladder(
    "exercise_10_error_rate",
    names=("edit_distance", "count_word_errors", "word_error_rate"),
    forbidden=dict.fromkeys(
        ("jiwer", "difflib", "SequenceMatcher", "Levenshtein", "count_character_errors", "_align", "_edit_table"), READY
    ),
)


def recursion(reference, hypothesis) -> int:
    """The distance as a recursion from the front."""

    @cache
    def distance(i: int, j: int) -> int:
        if i == len(reference) or j == len(hypothesis):
            return len(reference) - i + len(hypothesis) - j
        replaced = distance(i + 1, j + 1) + (reference[i] != hypothesis[j])
        return min(replaced, distance(i + 1, j) + 1, distance(i, j + 1) + 1)

    return distance(0, 0)


def random_text(rng: np.random.Generator, longest: int = 7) -> str:
    return " ".join(rng.choice(["a", "b", "ab", "ba", "abc"], rng.integers(0, longest)))


def consistent(check, counts, references: list[str], hypotheses: list[str]) -> None:
    """The alignment holds both texts, has the fewest errors, and the numbers are its own."""
    check.that("the type of the result", isinstance(counts, ErrorCounts), type(counts).__name__, "ErrorCounts")
    check.equal("the number of alignments, one per utterance", len(counts.alignment), len(references))
    kinds = {"hits": 0, "substitutions": 0, "deletions": 0, "insertions": 0}
    for pairs, reference, hypothesis in zip(counts.alignment, references, hypotheses, strict=True):
        pairs = [tuple(pair) for pair in pairs]
        check.equal(
            "the reference words of an alignment, in order", [ref for ref, _ in pairs if ref is not None], reference.split()
        )
        check.equal(
            "the hypothesis words of an alignment, in order", [hyp for _, hyp in pairs if hyp is not None], hypothesis.split()
        )
        check.that("that no pair is empty on both sides", (None, None) not in pairs, pairs, "pairs with at least one word")
        errors = sum(ref != hyp for ref, hyp in pairs)
        check.equal(
            f"the errors of the alignment {pairs}", errors, recursion(tuple(reference.split()), tuple(hypothesis.split()))
        )
        for ref, hyp in pairs:
            kinds["hits" if ref == hyp else "insertions" if ref is None else "deletions" if hyp is None else "substitutions"] += 1
    check.equal(
        f"the numbers of the alignment ({', '.join(kinds)})", [getattr(counts, kind) for kind in kinds], list(kinds.values())
    )
    for kind in kinds:
        check.equal(f"the type of {kind}", type(getattr(counts, kind)).__name__, "int")


@ladder.step("shape and dtype")
def types(answer, check):
    got = check.call(answer.edit_distance, "abc", "abd")
    why = "int(...) turns a NumPy number into a Python int"
    for pair in (("abc", "abd"), ("", ""), (["a"], []), ("", "ab"), ([1, 2], [1, 2]), ("a", "b"), ("a", "a")):
        got = check.call(answer.edit_distance, *pair)
        check.that("the type of the distance", type(got) is int, type(got).__name__, "int", why)
    counts = check.call(answer.count_word_errors, ["a b", "c"], ["a", "c"])
    check.that("the type of the counts", isinstance(counts, ErrorCounts), type(counts).__name__, "ErrorCounts")
    check.equal("the number of alignments of two utterances", len(counts.alignment), 2)
    for references, hypotheses in ((["a b", "c"], ["a", "d"]), ("a", "a"), ("", ""), ("", "a b"), ([], [])):
        rate = check.call(answer.word_error_rate, references, hypotheses)
        check.that("the type of the rate", isinstance(rate, float), type(rate).__name__, "float")


@ladder.step("the worked examples")
def worked_example(answer, check):
    check.equal("the distance", check.call(answer.edit_distance, "saw", "was"), 2)
    counts = check.call(answer.count_word_errors, "the cat sat down", "the cat down")
    numbers = [counts.hits, counts.substitutions, counts.deletions, counts.insertions]
    check.equal("hits, substitutions, deletions, insertions", numbers, [3, 0, 1, 0])
    check.equal("the alignment", counts.alignment, [[("the", "the"), ("cat", "cat"), ("sat", None), ("down", "down")]])
    check.number("the rate", check.call(answer.word_error_rate, ["a", "b c d"], ["x", "b c d"]), 0.25)


@ladder.step("a table made by hand")
def table(answer, check):
    known = [
        ("", "", 0),
        ("abc", "", 3),
        ("", "ab", 2),
        ("abc", "abc", 0),
        ("abc", "axc", 1),
        ("abc", "ac", 1),
        ("ac", "abc", 1),
        ("abc", "bc", 1),
        ("abc", "xabc", 1),
        ("kitten", "sitting", 3),
        ("saturday", "sunday", 3),
        ("ab", "ba", 2),
        ("aab", "abb", 1),
        ("abcd", "dcba", 4),
    ]
    for reference, hypothesis, distance in known:
        got = check.call(answer.edit_distance, reference, hypothesis)
        check.equal("the distance", got, distance)


@ladder.also
def table_of_words(answer, check):
    rows = [
        ("a b c", "a b c", (3, 0, 0, 0)),
        ("a b c", "a x c", (2, 1, 0, 0)),
        ("a b c", "a c", (2, 0, 1, 0)),
        ("a c", "a b c", (2, 0, 0, 1)),
        ("a b", "", (0, 0, 2, 0)),
        ("", "a b", (0, 0, 0, 2)),
        ("", "", (0, 0, 0, 0)),
        ("no", "yes", (0, 1, 0, 0)),
        ("b c", "a b c d", (2, 0, 0, 2)),
        ("on one", "one on", None),
    ]
    for reference, hypothesis, numbers in rows:
        counts = check.call(answer.count_word_errors, reference, hypothesis)
        if numbers:
            got = (counts.hits, counts.substitutions, counts.deletions, counts.insertions)
            check.equal("hits, substitutions, deletions, insertions", got, numbers)
        consistent(check, counts, [reference], [hypothesis])
    for reference, hypothesis, rate in (("a b", "a b c", 0.5), ("a b", "a", 0.5), ("a b c d", "x", 1.0), ("a", "b c d", 3.0),
                                         ("a b", "c d e f g", 2.5), ("a", "bcd", 1.0),
                                         ("a b c", "", 1.0), ("a b", "x a y b z", 1.5)):  # fmt: skip
        check.number("the rate", check.call(answer.word_error_rate, reference, hypothesis), rate)


@ladder.step("a recursion and jiwer on random corpora")
def oracle(answer, check):
    rng = np.random.default_rng(10)
    for _ in range(40):
        reference, hypothesis = ("".join(rng.choice(list("abc"), rng.integers(0, 8))) for _ in range(2))
        check.equal("the distance", check.call(answer.edit_distance, reference, hypothesis), recursion(reference, hypothesis))
    for _ in range(25):
        size = int(rng.integers(1, 5))
        references, hypotheses = ([random_text(rng) for _ in range(size)] for _ in range(2))
        references[0] = references[0] or "a"  # jiwer wants a word
        counts = check.call(answer.count_word_errors, references, hypotheses)
        consistent(check, counts, references, hypotheses)
        check.number(
            "the rate against jiwer",
            check.call(answer.word_error_rate, references, hypotheses),
            jiwer.wer(references, hypotheses),
        )


@ladder.step("properties of a distance")
def properties(answer, check):
    rng = np.random.default_rng(11)
    for _ in range(30):
        one, other, third = (random_text(rng).split() for _ in range(3))
        distance = check.call(answer.edit_distance, one, other)
        check.equal("the distance the other way round", check.call(answer.edit_distance, other, one), distance)
        check.equal("the distance of both turned round", check.call(answer.edit_distance, one[::-1], other[::-1]), distance)
        longer = check.call(answer.edit_distance, [*one, "x"], [*other, "x"])
        check.equal("the distance with one more equal word at the end", longer, distance)
        around = check.call(answer.edit_distance, one, third) + check.call(answer.edit_distance, third, other)
        check.that("that no detour is shorter", distance <= around, distance, f"at most {around}")
    references, hypotheses = ["a b c", "b", "c a"], ["a c", "b b", "c a"]
    rate = check.call(answer.word_error_rate, references, hypotheses)
    check.number("the rate of the corpus twice over", check.call(answer.word_error_rate, references * 2, hypotheses * 2), rate)


@ladder.step("traps: nothing, more than everything, white space, missing partners, long texts")
def traps(answer, check):
    rates = [
        ("", "", 0.0),
        ("", "a", 1.0),
        ("", "a b c", 3.0),
        ("a", "b c d", 3.0),
        ("a", "", 1.0),
        ("a b", "a b", 0.0),
        ([], [], 0.0),
        (["", ""], ["", "x y"], 2.0),
        (["", "a"], ["b", "a"], 1.0),
        (["a b c d", "e"], ["a b c d", "x y"], 0.4),
        ("a", "a a a", 2.0),
    ]
    for references, hypotheses, rate in rates:
        got = check.call(answer.word_error_rate, references, hypotheses)
        check.number("the rate", got, rate)
    for reference, hypothesis in ((" a  b\n", "a b"), ("a\tb", "a b "), ("\n", "")):
        counts = check.call(answer.count_word_errors, reference, hypothesis)
        consistent(check, counts, [reference], [hypothesis])
        check.number("the rate, white space apart", check.call(answer.word_error_rate, reference, hypothesis), 0.0)
    for reference, hypothesis in ((["a", "b"], ["a"]), (["a"], ["a", "b"]), ("a", []), ([], ["a"])):
        for function in (answer.count_word_errors, answer.word_error_rate):
            check.raises("another number of hypotheses than of references", ValueError, function, reference, hypothesis)
    check.equal(
        "the distance between two lists of words",
        check.call(answer.edit_distance, "the cat sat".split(), "the bat sat down".split()),
        2,
    )
    check.equal("the distance between two lists of numbers", check.call(answer.edit_distance, [1, 2, 3, 4], [2, 3, 5]), 2)
    check.equal("the distance between two tuples", check.call(answer.edit_distance, (1, 2), (1,)), 1)
    check.equal("the distance of words that are neighbours", check.call(answer.edit_distance, ["ab", "c"], ["a", "bc"]), 2)
    check.equal("the distance, capitals", check.call(answer.edit_distance, "Ab", "ab"), 1)
    check.equal("the distance of an empty list", check.call(answer.edit_distance, [], ["a"]), 1)


@ladder.also
def long_and_moved(answer, check):
    rng = np.random.default_rng(12)
    one = rng.integers(0, 5, 300).tolist()
    other = [item for item in one if rng.random() > 0.1] + [9, 9]
    check.equal("the distance of 300 items", check.call(answer.edit_distance, one, other), len(one) - len(other) + 4)
    counts = check.call(answer.count_word_errors, "Hello hello", "hello hello")
    check.equal("substitutions, capitals", counts.substitutions, 1)
    counts = check.call(answer.count_word_errors, ("a b", "c"), ("a", "c"))
    check.equal("hits of tuples of texts", counts.hits, 2)
    counts = check.call(answer.count_word_errors, ["a"], ["a"])
    check.equal("hits, after other calls", counts.hits, 1)
    for reference, hypothesis in (("a b c", "b c a"), ("a b c d e", "x a b c d"), ("a b a b a b", "b a b a b a")):
        counts = check.call(answer.count_word_errors, reference, hypothesis)
        consistent(check, counts, [reference], [hypothesis])
        check.number("the rate of as many words, moved by one", check.call(answer.word_error_rate, [reference], [hypothesis]),
                     2 / len(reference.split()))  # fmt: skip
    check.equal("the distance of a text moved by one", check.call(answer.edit_distance, "abcdefghij", "bcdefghija"), 2)
    for reference, hypothesis, distance in (("banana", "bana", 2), ("bana", "banana", 2), ("aba", "a", 2), ("a", "aaaa", 3),
                                            ("abab", "ab", 2), ("ababab", "abab", 2), ("abcab", "ab", 3)):  # fmt: skip
        why = "the common beginning and the common end may overlap: no item counts twice"
        got = check.call(answer.edit_distance, reference, hypothesis)
        check.equal("the distance if the common beginning and end overlap", got, distance, why)
        counts = check.call(answer.count_word_errors, " ".join(reference), " ".join(hypothesis))
        consistent(check, counts, [" ".join(reference)], [" ".join(hypothesis)])
    many = list(range(150))
    for moved in (1, 3, 75):
        got = check.call(answer.edit_distance, many, many[moved:] + many[:moved])
        check.equal(f"the distance of 150 numbers, the first {moved} moved to the end", got, 2 * moved)
    got = check.call(answer.edit_distance, [-1] * 120 + many, many + [-2] * 120)
    check.equal("the distance of a text moved by 120", got, 240)
    word = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    got = check.call(answer.edit_distance, "0" * 20 + word, word + "1" * 20)
    check.equal("the distance of a text moved by 20", got, 40)
    got = check.call(answer.edit_distance, [1, 2], ["1", 2])
    check.equal("the distance where a number meets its text, which is not equal to it", got, 1)
    got = check.call(answer.edit_distance, [[1], [2, 3]], [[1], [2], [2, 3]])
    check.equal("the distance of lists of lists, which can be compared with == but not hashed", got, 1)
    for function in (answer.count_word_errors, answer.word_error_rate):
        check.call(function, ["a  b ", " c"], ["a\tb", "c  c"])  # the lists stay as they are


@ladder.step("traps: long, tuples of texts, white space of all kinds, odd words")
def more_traps(answer, check):
    for reference, hypothesis, distance in (("a" * 300, "", 300), ("", "a" * 70_000, 70_000), ("a" * 70_000, "", 70_000)):
        check.equal("the distance of a long text and none", check.call(answer.edit_distance, reference, hypothesis), distance)
    check.equal("the distance of 300 a and 280 b", check.call(answer.edit_distance, "a" * 300, "b" * 280), 300)
    for one, other in (("a" * 1500, "ab"), ("ab", "a" * 1500)):
        check.equal("the distance of 1500 a and ab", check.call(answer.edit_distance, one, other), 1499)
    counts = check.call(answer.count_word_errors, "a " * 1500, "a b")
    numbers = [counts.hits, counts.substitutions, counts.deletions, counts.insertions]
    check.equal("hits, substitutions, deletions, insertions of 1500 words", numbers, [1, 1, 1498, 0])
    many, few = list(range(6000)), list(range(5980, 6000))
    for one, other in ((many, few), (few, many)):
        check.equal("the distance of 0 .. 5999 and the last 20 of them", check.call(answer.edit_distance, one, other), 5980)
    check.equal("the distance of 300 equal items", check.call(answer.edit_distance, "ab" * 150, "ab" * 150), 0)
    for references, hypotheses in ((("a b", "c"), ("a", "b c")), (("a b", "c"), ["a", "b c"]), (["a b", "c"], ("a", "b c"))):
        counts = check.call(answer.count_word_errors, references, hypotheses)
        consistent(check, counts, list(references), list(hypotheses))
        check.number("the rate, tuples of texts", check.call(answer.word_error_rate, references, hypotheses), 2 / 3)
    for reference, hypothesis in (
        ("a b", "a b\r\n"),
        ("a\u3000b", "a b"), ("a b", "a\u00a0b"), ("a\vb\f", "a b"), ("a\u2003b\u2028", "a b"), (" \u3000", ""),
    ):  # fmt: skip
        counts = check.call(answer.count_word_errors, reference, hypothesis)
        consistent(check, counts, [reference], [hypothesis])
        rate = check.call(answer.word_error_rate, reference, hypothesis)
        check.number("the rate, white space of all kinds apart (str.split() knows it)", rate, 0.0)


@ladder.also
def odd_words_and_items(answer, check):
    for reference, hypothesis in (
        ("None a", "a"), ("a", "None a"), ("- * a", "a <eps>"),
        ("*** a", "a ***"), ("0 1", "1"), ("É é", "É e\u0301"), ("a, b.", "a b"),
    ):  # fmt: skip
        counts = check.call(answer.count_word_errors, reference, hypothesis)
        consistent(check, counts, [reference], [hypothesis])
        words = reference.split()
        rate = check.call(answer.word_error_rate, reference, hypothesis)
        check.number("the rate of odd words", rate, recursion(words, hypothesis.split()) / len(words))
    for reference, hypothesis, distance in (
        ([None, 1], [1], 1),
        ("a b", "ab", 1),
        (" ", "", 1),
        ("the cat", "a cat", 3),
        ("abc", ["a", "b", "c"], 0), ([0, 1], [False, True], 0), (range(5), [0, 1, 3, 4], 1),
        ([0], [None], 1),
        (["", "a"], ["a"], 1), ([1000, 2000], [int("1000"), int("2001")], 1), ([1.0, 2.0], [1, 2], 0), ("😀é", "😀e", 1),
    ):  # fmt: skip
        check.equal("the distance of other items", check.call(answer.edit_distance, reference, hypothesis), distance)


@ladder.also
def alignments(answer, check):
    counts = check.call(answer.count_word_errors, "", "")
    check.equal("the alignment of nothing and nothing", [list(pairs) for pairs in counts.alignment], [[]])
    counts = check.call(answer.count_word_errors, [], [])
    check.equal("the alignments of no utterance", list(counts.alignment), [])
    first, second = (check.call(answer.count_word_errors, text, "a") for text in ("a b", "c"))
    check.equal(
        "the alignment of a result after another call", [list(pairs) for pairs in first.alignment], [[("a", "a"), ("b", None)]]
    )
    check.equal("the alignment of the other call", [list(pairs) for pairs in second.alignment], [[("c", "a")]])
    counts = check.call(answer.count_word_errors, "a", ["a"])
    check.equal("hits of a text against a list of one", counts.hits, 1)


@ladder.also
def any_size(answer, check):
    @for_sizes(40, reference=st.text("ab", max_size=8), hypothesis=st.text("abc", max_size=8))
    def distances(reference: str, hypothesis: str) -> None:
        got = check.call(answer.edit_distance, reference, hypothesis)
        check.equal("the distance", got, recursion(reference, hypothesis))

    texts = st.lists(st.text("ab ", max_size=7), max_size=3)

    @for_sizes(references=texts, hypotheses=texts)
    def corpora(references: list[str], hypotheses: list[str]) -> None:
        pairs = list(zip(references, hypotheses, strict=False))
        references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        counts = check.call(answer.count_word_errors, references, hypotheses)
        consistent(check, counts, references, hypotheses)
        errors, words = counts.substitutions + counts.deletions + counts.insertions, " ".join(references).split()
        rate = check.call(answer.word_error_rate, references, hypotheses)
        check.number("the rate", rate, errors / max(1, len(words)))


def test_exercise(climb):
    climb(ladder)
