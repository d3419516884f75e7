"""Check of exercise 2: characters and the CTC collapse."""

from __future__ import annotations

from itertools import groupby, product

import hypothesis.strategies as st
import numpy as np
import torch

from ladder import Failed, Ladder
from sizes import for_sizes

ladder = Ladder(
    "exercise_02_characters",
    names=("CharEncoder", "greedy_decode"),
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
    check.equal("text of labels as they are", check.call(encoder.decode, [3, 0, 1, 1]), "caa")
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
    check.equal("encode, after other calls", check.call(encoder.encode, "ab"), [1, 2])


@ladder.step("traps: odd alphabets, long paths, other kinds of labels")
def more_traps(answer, check):
    capitals = answer.CharEncoder("AB")
    check.equal("labels of AB in the alphabet 'AB'", check.call(capitals.encode, "AB"), [1, 2])
    for text in ("a", "Ab"):
        check.raises("a small letter where the alphabet has only the capital", ValueError, capitals.encode, text)
    got = check.call(answer.CharEncoder("AB", unknown="drop").encode, "aAb")
    check.equal("labels of aAb in the alphabet 'AB' with unknown='drop'", got, [1])
    check.raises("İ, whose lower case is two characters", ValueError, answer.CharEncoder().encode, "İ")
    drop = answer.CharEncoder(unknown="drop")
    check.equal("labels with unknown='drop', spaces at both ends", check.call(drop.encode, " a "), [27, 1, 27])
    check.equal("labels with unknown='drop', two spaces", check.call(drop.encode, "a  1 b\n"), [1, 27, 27, 27, 2])
    check.equal("labels of spaces at both ends", check.call(answer.CharEncoder().encode, "  a "), [27, 27, 1, 27])
    check.equal("labels where everything is left out", check.call(drop.encode, "1234"), [])
    check.equal("text of labels, spaces at both ends", check.call(drop.decode, [27, 1, 27, 27]), " a  ")
    check.equal("text of a path, spaces at both ends", check.call(drop.ctc_decode, [27, 27, 1, 0, 27, 0, 27]), " a  ")
    lines = answer.CharEncoder("\n\t a")
    check.equal("text of a path, alphabet '\\n\\t a'", check.call(lines.ctc_decode, [1, 1, 0, 1, 2, 2, 3, 3, 4]), "\n\n\t a")
    odd = answer.CharEncoder("-_\0^].1😀")
    text = "-_\0^].1😀_--"
    check.equal("labels, alphabet '-_\\0^].1😀'", check.call(odd.encode, text), [1, 2, 3, 4, 5, 6, 7, 8, 2, 1, 1])
    check.equal("the text of these labels", check.call(odd.decode, [1, 2, 3, 4, 5, 6, 7, 8, 2, 1, 1]), text)
    check.equal("text of a path, alphabet '-_\\0^].1😀'", check.call(odd.ctc_decode, [1, 1, 0, 1, 2, 3, 3, 0, 8, 8]), "--_\0😀")
    long = [1, 1, 0, 2] * 2500
    check.equal("text of a path of 10000 frames", check.call(answer.CharEncoder("ab").ctc_decode, long), "ab" * 2500)
    check.equal("labels of 3000 characters", check.call(answer.CharEncoder("ab").encode, "ab" * 1500), [1, 2] * 1500)
    for alphabet, labels in (("abc", [3, 1, 2]), ("cba", [1, 3, 2]), ("xabc", [4, 2, 3])):
        encoder = answer.CharEncoder(alphabet)
        check.equal(f"labels of cab, alphabet {alphabet!r}", check.call(encoder.encode, "cab"), labels)
        for what in ("decode", "ctc_decode"):
            text = "".join(alphabet[label - 1] for label in (1, 3, 2))
            check.equal(f"{what} of 1, 3, 2, alphabet {alphabet!r}", check.call(getattr(encoder, what), [1, 3, 2]), text)


@ladder.also
def large_alphabets_and_other_containers(answer, check):
    hanzi = [chr(0x4E00 + place) for place in range(600)]
    encoder, labels = answer.CharEncoder(hanzi), [1, 255, 256, 257, 600]
    text = "".join(hanzi[label - 1] for label in labels)
    check.equal("labels, an alphabet of 600 characters", check.call(encoder.encode, text), labels)
    check.equal("text of these labels", check.call(encoder.decode, labels), text)
    path = torch.nn.functional.one_hot(torch.tensor([*labels, 600, 0, 600]), 601).double()[:, None]
    check.equal("text of the best path of 601 symbols", check.call(answer.greedy_decode, path, encoder), [text + hanzi[-1]])
    encoder = answer.CharEncoder("abc")
    for labels in ([4], [0, 4, 4], [1, -4]):
        for function in (encoder.decode, encoder.ctc_decode):
            check.raises("a label outside 0..3, alphabet 'abc'", ValueError, function, labels)
    path = [3, 3, 0, 3, 1, 1, 2]
    for kind in (np.array(path, dtype=np.uint8), torch.tensor(path, dtype=torch.int32), (label for label in path)):
        what = type(kind).__name__
        check.equal(f"text of a path that is a {what}", check.call(encoder.ctc_decode, kind), "ccab")
    check.equal("text of labels that are an array", check.call(encoder.decode, np.array(path, dtype=np.uint8)), "cccaab")
    check.equal("the alphabet of the encoder afterwards", encoder.alphabet, ["a", "b", "c"])


@ladder.step("traps: batches for greedy decoding")
def more_batches(answer, check):
    encoder = answer.CharEncoder("abc")
    paths = torch.tensor([[1, 1, 3], [3, 1, 1], [1, 1, 1]])
    log_probs = torch.nn.functional.one_hot(paths.t(), 4).double().mul(5).log_softmax(-1)
    lengths = torch.tensor([3, 3, 2])
    wanted = ["ac", "ca", "a"]
    check.equal(
        "texts where each path begins with the label that ended the path before",
        check.call(answer.greedy_decode, log_probs, encoder, lengths),
        wanted,
    )
    got = check.call(answer.greedy_decode, log_probs, encoder, lengths.int())
    check.equal("texts with lengths in int32", got, wanted)
    grown = log_probs.clone().requires_grad_()
    why = "log_probs from a network have requires_grad; before .numpy() they need .detach()"
    try:
        got = check.call(answer.greedy_decode, grown, encoder, lengths)
    except Failed as failed:
        failed.why = why
        raise
    check.equal("texts of log_probs with requires_grad", got, wanted)
    turned = log_probs.transpose(0, 2).contiguous().transpose(0, 2)
    check.equal("texts of a transposed tensor", check.call(answer.greedy_decode, turned, encoder, lengths), wanted)
    shifted = log_probs.float() - 1000.0
    check.equal("texts of values around -1000", check.call(answer.greedy_decode, shifted, encoder, lengths), wanted)
    impossible = torch.tensor([[[0.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0, 0.0]], [[0.0, 1.0, 0.0, 0.0]]]).log()
    check.equal(
        "text where all symbols but one have probability 0", check.call(answer.greedy_decode, impossible, encoder), ["aa"]
    )
    near = torch.tensor([[[0.0, -1e-12, -2e-12, -3.0]], [[-1e-12, 0.0, -1e-12, -3.0]]], dtype=torch.float64) - 1.0
    check.equal("text where the log-probabilities differ by 1e-12", check.call(answer.greedy_decode, near, encoder), ["a"])
    one = torch.tensor([[[0.1, 0.9]]] * 2).log()
    check.equal("text, alphabet of one letter", check.call(answer.greedy_decode, one, answer.CharEncoder("x")), ["x"])
    check.equal("texts of the first batch again", check.call(answer.greedy_decode, log_probs, encoder, lengths), wanted)


@ladder.also
def any_size(answer, check):
    @for_sizes(alphabet=st.lists(st.sampled_from("abcABCäß'- _\n0字😀"), min_size=1, max_size=9, unique=True), data=st.data())
    def labels(alphabet: list[str], data: st.DataObject) -> None:
        path = data.draw(st.lists(st.integers(0, len(alphabet)), max_size=12))
        encoder = answer.CharEncoder(alphabet)
        text = "".join(alphabet[label - 1] for label in path if label)
        check.equal(f"labels, alphabet {alphabet}", check.call(encoder.encode, text), [label for label in path if label])
        check.equal(f"text of labels as they are, alphabet {alphabet}", check.call(encoder.decode, path), text)
        spelt = "".join(alphabet[label - 1] for label, _ in groupby(path) if label)
        check.equal(f"text of a path, alphabet {alphabet}", check.call(encoder.ctc_decode, path), spelt)
        for label in (-1, len(alphabet) + 1):
            check.raises(f"a label outside 0..{len(alphabet)}", ValueError, encoder.decode, [*path, label])

    @for_sizes(frames=st.integers(1, 6), lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), vocab=st.integers(2, 5))
    def batches(frames: int, lengths: list[int], vocab: int) -> None:
        lengths, rng = [min(n, frames) for n in lengths], np.random.default_rng(frames + 10 * vocab)
        log_probs = torch.from_numpy(rng.normal(size=(frames, len(lengths), vocab))).log_softmax(-1)
        encoder, best = answer.CharEncoder("abcd"[: vocab - 1]), log_probs.numpy().argmax(-1).T
        wanted = ["".join("-abcd"[k] for k, _ in groupby(row[:n]) if k) for row, n in zip(best, lengths, strict=True)]
        got = check.call(answer.greedy_decode, log_probs, encoder, torch.tensor(lengths))
        check.equal(f"texts with lengths {lengths}", got, wanted)


def test_exercise(climb):
    climb(ladder)
