"""Check of exercise 2: characters and the CTC collapse."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import torch

from ladder import Ladder

ladder = Ladder(
    "exercise_02_characters",
    names=("CharEncoder", "greedy_decode"),
    guard=("implementation.CharEncoder.encode", "implementation.CharEncoder.decode", "implementation.CharEncoder.ctc_decode"),
)

LETTERS = "abcdefghijklmnopqrstuvwxyz '"


def random_text(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(LETTERS), rng.integers(1, 20)))


@ladder.step("shape and dtype")
def types(answer, check):
    encoder = answer.CharEncoder("abc")
    labels = check.call(encoder.encode, "ab")
    check.that("the type of encode's result", isinstance(labels, list), type(labels).__name__, "list")
    kinds = {type(label).__name__ for label in labels}
    check.equal("the type of the labels", sorted(kinds), ["int"])
    text = check.call(encoder.decode, [1, 2])
    check.that("the type of decode's result", isinstance(text, str), type(text).__name__, "str")
    text = check.call(encoder.ctc_decode, [1, 2])
    check.that("the type of ctc_decode's result", isinstance(text, str), type(text).__name__, "str")
    texts = check.call(answer.greedy_decode, torch.zeros(4, 3, 4), encoder)
    check.that("the type of greedy_decode's result", isinstance(texts, list), type(texts).__name__, "list")
    check.equal("how many texts greedy_decode gives of T' = 4 frames, B = 3 utterances, V = 4 symbols", len(texts), 3)


@ladder.step("the worked example")
def worked_example(answer, check):
    encoder = answer.CharEncoder("abc")
    check.equal("labels", check.call(encoder.encode, "cab"), [3, 1, 2])
    check.equal("text of labels as they stand", check.call(encoder.decode, [3, 0, 1, 1]), "caa")
    check.equal("text of a path", check.call(encoder.ctc_decode, [3, 3, 0, 1, 1, 0, 1, 2]), "caab")
    log_probs = torch.tensor([[[0.2, 0.5, 0.3]], [[0.4, 0.6, 0.0]]]).log()
    check.equal("text of the best path", check.call(answer.greedy_decode, log_probs, answer.CharEncoder("ab")), ["a"])


@ladder.step("a table made by hand, on random texts and all short paths")
def oracle(answer, check):
    rng, encoder = np.random.default_rng(2), answer.CharEncoder()
    table = {char: label for label, char in enumerate(LETTERS, start=1)}
    for text in ["hello", "don't stop", *(random_text(rng) for _ in range(20))]:
        labels = [table[char] for char in text]
        check.equal("labels in the English alphabet", check.call(encoder.encode, text), labels)
        check.equal("the text of these labels", check.call(encoder.decode, labels), text)
    small = answer.CharEncoder("ba")
    for path in product(range(3), repeat=5):
        expected = "".join("-ba"[label] for label, _ in groupby(path) if label)
        check.equal("text of a path, alphabet 'ba'", check.call(small.ctc_decode, list(path)), expected)


@ladder.step("a property: however long letters are held, the text is the same")
def property_of_paths(answer, check):
    rng, encoder = np.random.default_rng(3), answer.CharEncoder()
    for text in ["hello all", "book keeper", *(random_text(rng) for _ in range(20))]:
        path: list[int] = [0] * int(rng.integers(0, 3))
        for place, label in enumerate(LETTERS.index(char) + 1 for char in text):
            between = int(rng.integers(0, 3)) + (place > 0 and text[place] == text[place - 1])
            path += [0] * between * (place > 0) + [label] * int(rng.integers(1, 4))
        check.equal(f"text of a path that spells {text!r}", check.call(encoder.ctc_decode, path), text)


@ladder.step("greedy decoding of a batch")
def greedy(answer, check):
    encoder = answer.CharEncoder("abc")
    paths = torch.tensor([[1, 1, 0, 1, 2], [3, 0, 0, 3, 3], [0, 0, 0, 0, 0]]).t()  # (T', B)
    log_probs = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    log_probs = log_probs.scatter(2, paths[:, :, None], 3.0).log_softmax(-1)
    check.equal("texts without lengths (all frames)", check.call(answer.greedy_decode, log_probs, encoder), ["aab", "cc", ""])
    got = check.call(answer.greedy_decode, log_probs, encoder, torch.tensor([5, 3, 2]))
    check.equal("texts with lengths 5, 3, 2", got, ["aab", "c", ""])
    got = check.call(answer.greedy_decode, log_probs, encoder, lengths=torch.tensor([1, 1, 1]))
    check.equal("texts with lengths 1, 1, 1", got, ["a", "c", ""])
    got = check.call(answer.greedy_decode, log_probs, encoder, torch.tensor([0, 4, 1]))
    check.equal("texts with lengths 0, 4, 1", got, ["", "cc", ""])
    one = torch.tensor([[[0.8, 0.1, 0.05, 0.05], [0.1, 0.2, 0.6, 0.1]]]).log()
    check.equal("texts of a single frame", check.call(answer.greedy_decode, one, encoder), ["", "b"])
    got = check.call(answer.greedy_decode, log_probs[:, 1:2], encoder, torch.tensor([5]))
    check.equal("a batch of one", got, ["cc"])
    wide = torch.full((3, 2, 29), -9.0)
    wide[:, 0, 28] = wide[:, 1, 27] = 0.0
    check.equal("the last symbols", check.call(answer.greedy_decode, wide, answer.CharEncoder()), ["'", " "])


@ladder.step("traps: nothing, unknown characters, wrong labels")
def traps(answer, check):
    encoder = answer.CharEncoder()
    check.equal("labels of an empty text", check.call(encoder.encode, ""), [])
    check.equal("text of no labels", check.call(encoder.decode, []), "")
    check.equal("text of an empty path", check.call(encoder.ctc_decode, []), "")
    check.equal("text of blanks only", check.call(encoder.ctc_decode, [0, 0, 0]), "")
    check.equal("text of a single frame", check.call(encoder.ctc_decode, [28]), "'")
    check.equal("labels of capital letters", check.call(encoder.encode, "Hi All"), [8, 9, 27, 1, 12, 12])
    both = answer.CharEncoder(["A", "a", "b"])
    check.equal("labels where the alphabet has both cases (A, a, b)", check.call(both.encode, "AaBb"), [1, 2, 3, 3])
    for text in ("route 66", "a\tb", "é", "?"):
        check.raises("a character outside the alphabet", ValueError, encoder.encode, text)
    got = check.call(answer.CharEncoder(unknown="drop").encode, "It's 5, ok?")
    check.equal("labels with unknown='drop'", got, [9, 20, 28, 19, 27, 27, 15, 11])
    for function in (encoder.decode, encoder.ctc_decode):
        for labels in ([1, 29], [-1], [2, -3, 2], [100, 1]):
            check.raises("a label outside 0..28", ValueError, function, labels)
    check.equal("decode of a tensor", check.call(encoder.decode, torch.tensor([8, 9, 9])), "hii")
    check.equal("ctc_decode of a tensor", check.call(encoder.ctc_decode, torch.tensor([8, 9, 9])), "hi")
    check.equal("decode of an iterator, which gives its labels once", check.call(encoder.decode, iter([8, 9, 9])), "hii")
    check.equal("ctc_decode of an iterator", check.call(encoder.ctc_decode, iter([8, 8, 0, 9])), "hi")
    check.equal("ctc_decode of a tuple, again", check.call(encoder.ctc_decode, (9, 9)), "i")
    check.equal("labels of ẞ, whose lower case is ß", check.call(answer.CharEncoder("abß").encode, "Aẞ"), [1, 3])
    check.equal("labels of Σ", check.call(answer.CharEncoder("ςσ").encode, "Σς"), [2, 1])
    why = "one character at a time: the lower case of İ is two characters, i and a dot, and not in the alphabet"
    got = check.call(answer.CharEncoder(unknown="drop").encode, "aİb")
    check.equal("labels with unknown='drop', İ among them", got, [1, 2], why)
    many = answer.CharEncoder("".join(chr(0x4E00 + i) for i in range(400)))
    for path in ([300, 300, 0, 300, 400, 400], [257, 257, 257]):
        got = check.call(many.ctc_decode, torch.tensor(path).tolist())
        wanted = "".join(many.alphabet[label - 1] for label, _ in groupby(path) if label)
        check.equal("text of a path, alphabet of 400 characters", got, wanted)
    check.equal("encode again, nothing kept from before", check.call(encoder.encode, "ab"), [1, 2])


def test_exercise(climb):
    climb(ladder)
