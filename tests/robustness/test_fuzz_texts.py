"""Manifests, transcripts, sentences and ARPA files that anyone may have written: a result, or an error that is documented."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from fuzzing import ANY_TEXT, CELLS, damaged, within_limits
from hypothesis import given
from hypothesis import strategies as st

from decoding.arpa import ArpaError
from decoding.kenlm_binary import KenlmError
from decoding.ngrams import NGramModel
from decoding.scorers import make_scorer, read_language_model
from helpers import ROOT, write_audio
from implementation import CharEncoder
from speech.alphabets import BigramEncoder, encoder_of
from speech.audio import BadAudio
from speech.corpora import CorpusError, read_corpus
from speech.datasets import read_utterance
from speech.preflight import encodable
from speech.sentences import in_alphabet, read_sentences
from speech.transcripts import named, normalise, unknown_characters


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With two recordings of a tenth of a second."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("a.wav", "b.wav"):
        write_audio(folder / name)
    return folder


# ---------------------------------------------------------------------------------------------
# Corpora
# ---------------------------------------------------------------------------------------------

COLUMNS = st.sampled_from(
    "path text transcript audio audio_filepath speaker split start end stop offset duration start_ms num_samples samples channel "
    "channel_selector from time segment extra PATH Transcript".split()
) | CELLS  # fmt: skip
JSON = st.recursive(
    CELLS | st.none() | st.booleans() | st.floats() | st.integers(-(10**30), 10**30) | st.sampled_from([0.01, 1, "a.wav"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(COLUMNS, inner, max_size=3), max_leaves=8,
)  # fmt: skip
ROWS = st.fixed_dictionaries({"path": st.sampled_from(["a.wav", "b.wav"]) | JSON, "text": CELLS | JSON}) | st.just({})


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A table with tabs or the like, in some encoding."""
    names = [*draw(st.sampled_from([["path", "text"], ["audio", "transcript"], ["text"]])), *draw(st.lists(COLUMNS, max_size=4))]
    rows = draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)) | st.lists(CELLS, max_size=5), max_size=6))
    mark, end = draw(st.sampled_from("\t\t,;|")), draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    text = end.join(mark.join(cells) for cells in [names, *rows])
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])), "replace")


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """Objects, one a line or in one list; some of them broken, one perhaps nested without end."""
    rows = [row | draw(st.dictionaries(COLUMNS, JSON, max_size=4)) for row in draw(st.lists(ROWS, max_size=5))]
    lines = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows]
    lines += draw(st.lists(st.sampled_from(["[" * 5000, '{"a":' * 5000, "9" * 5000, '{"path": ' + "9" * 5000 + "}", "{}", "["])))
    text = "[" + ",".join(lines) + "]" if draw(st.booleans()) else "\n".join(lines)
    return text.encode("utf-8", "surrogatepass")


def check_corpus(path: Path) -> None:
    """Reads a corpus as the scripts do, and all of its audio."""
    with within_limits(), contextlib.suppress(CorpusError):
        corpus = read_corpus(path)
        assert corpus.summary(len(corpus.problems)) and all(str(problem) for problem in corpus.problems)
        with contextlib.suppress(CorpusError):
            corpus.summary(roles=corpus.roles())
        good, _ = encodable(corpus.utterances, CharEncoder(unknown="drop"))
        for utterance in good:
            assert utterance.seconds > 0 and utterance.transcript
            with contextlib.suppress(BadAudio):
                assert len(read_utterance(utterance, 16000))


def check_manifest(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    check_corpus(folder / name)


@given(data=tables() | st.binary(max_size=200) | tables().flatmap(lambda table: damaged([table])))
@pytest.mark.parametrize("name", ["m.tsv", "m.csv"])
def test_tables(folder, name, data):
    check_manifest(folder, name, data)


@given(data=json_lines() | st.binary(max_size=200) | json_lines().flatmap(lambda lines: damaged([lines])))
@pytest.mark.parametrize("name", ["m.jsonl", "m.json"])
def test_json(folder, name, data):
    check_manifest(folder, name, data)


LISTS = {
    "kaldi/wav.scp": b"r1 a.wav\nr2 b.wav\n", "kaldi/text": b"u1 hello\nu2 moon\n",
    "kaldi/segments": b"u1 r1 0 0.05\nu2 r2 0.01 -1\n", "kaldi/reco2file_and_channel": b"r1 a A\n",
    "sphinx/etc/m_train.transcription": b"<s> hello </s> (a)\n<s> moon </s> (b)\n", "sphinx/etc/m_train.fileids": b"a\nb\n",
    "librispeech/1-2.trans.txt": b"a HELLO\nb MOON\n", "pairs/a.txt": b"hello\n",
}  # fmt: skip
LINES = st.lists(st.lists(CELLS | st.sampled_from("a b u1 r1 0 <s> </s> (a) ((( 1e308".split()), max_size=5), max_size=4)


@pytest.mark.parametrize("name", LISTS)
@given(content=st.data())
def test_lists_of_other_layouts(folder, name, content):
    for listed, lines in LISTS.items():
        (folder / listed).parent.mkdir(parents=True, exist_ok=True)
        (folder / listed).write_bytes(lines)
    kind = folder / name.split("/")[0]
    for recording in ("a.wav", "b.wav"):
        (kind / recording).write_bytes((folder / recording).read_bytes())
    lines = LINES.map(lambda lines: "\n".join(map(" ".join, lines)).encode("utf-8", "surrogatepass"))
    (folder / name).write_bytes(content.draw(lines | damaged([LISTS[name]])))
    check_corpus(kind)


# ---------------------------------------------------------------------------------------------
# Transcripts
# ---------------------------------------------------------------------------------------------

ALPHABETS = ["english", "abc ", "ab'\"é-", "你好 ", "가ᄀ", ["a", "b", " ", "ab"]]


@given(st.sampled_from(ALPHABETS), st.sampled_from(["error", "drop"]), ANY_TEXT | CELLS | st.text(max_size=200))
def test_transcripts(alphabet, unknown, text):
    with within_limits():
        encoder = encoder_of(CharEncoder().alphabet if alphabet == "english" else alphabet, unknown)
        plain = normalise(text, encoder)
        assert normalise(plain, encoder) == plain and plain == " ".join(plain.split())
        counts = unknown_characters([text], encoder)
        assert isinstance(named(counts), str)
        try:
            written = encoder.decode(encoder.encode(plain))
        except ValueError:
            assert counts or " " in plain
        else:
            assert set(written) <= set("".join(encoder.alphabet)) and (
                written == plain.lower() or unknown == "drop" or not counts
            )
        with contextlib.suppress(ValueError):
            BigramEncoder.learn([text], "abc ", unknown=unknown)


# ---------------------------------------------------------------------------------------------
# Sentences and language models
# ---------------------------------------------------------------------------------------------

TEXTS = ["<s> the cat sat </s>\nthe moon\n".encode(code) for code in ("utf-8", "utf-16", "utf-16-le", "utf-8-sig")]


@given(st.binary(max_size=100) | damaged([*TEXTS, gzip.compress(TEXTS[0])]) | CELLS.map(lambda t: t.encode("utf-8", "replace")))
def test_sentences(folder, data):
    (folder / "text.txt").write_bytes(data)
    with within_limits(), contextlib.suppress(ValueError, OSError):
        sentences = read_sentences(folder / "text.txt")
        texts, _ = in_alphabet(sentences)
        for unit in ("word", "character"):
            model = NGramModel.train(texts, order=4, unit=unit)
            assert math.isfinite(model.score("the cat"))


ARPA = [path.read_bytes() for path in sorted((ROOT / "tests/decoding/kenlm_files").glob("*.arpa"))]
ARPA += [gzip.compress(ARPA[0]), ARPA[0].replace(b"\t", b" "), ARPA[0].replace(b"\n", b"\r\n")]


@st.composite
def arpa_files(draw: st.DrawFn) -> bytes:
    """Fields and marks of ARPA files in some order."""
    marks = "\\data\\ ngram 1=2 2=1 =9 \\1-grams: \\2-grams: \\3-grams: \\end\\ -1 0 -99 -inf nan 1e308 1".split()
    fields = st.sampled_from(marks + "<s> </s> <unk> <UNK> <space> a b é".split()) | CELLS
    lines = draw(st.lists(st.lists(fields, max_size=4), max_size=12))
    text = "\n".join(draw(st.sampled_from("\t ")).join(line) for line in lines)
    head = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t<s>\t-1e5\n-1\t</s>\n" if draw(st.booleans()) else ""
    return (head + text).encode("utf-8", "surrogatepass")


@given(damaged(ARPA) | arpa_files() | st.binary(max_size=100))
def test_arpa_files(folder, data):
    (folder / "lm.arpa").write_bytes(data)
    check_language_model(folder / "lm.arpa")


def check_language_model(path: Path, units: Sequence[str | None] = (None, "word", "character")) -> None:
    """Reads a language model and asks it, and scorers of it."""
    with within_limits(), contextlib.redirect_stderr(io.StringIO()):
        try:
            model = read_language_model(path)
            assert not math.isnan(model.score(" ".join(sorted(model.vocabulary)[:5])))
        except (ArpaError, KenlmError) as said:
            assert str(said).startswith(str(path)) and "\n" not in str(said)
            return
        for unit in units:
            with contextlib.suppress(ValueError):
                scorer = make_scorer(path, CharEncoder(), unit)
                state = scorer.advance(scorer.start(), 1)
                assert not math.isnan(scorer.finish(state)[0])
