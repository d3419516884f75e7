"""Sentences for a language model: from a text file, or the transcripts of a corpus."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from implementation import CharEncoder
from speech.corpora import read_corpus
from speech.preflight import check_problems
from speech.transcripts import normalise, spelt, unknown_characters
from speech.utterances import text_code

_MOST_UNPACKED, _NOT_MUCH = 100, 2**26  # most bytes per byte of gzip (text gives 3 to 5); bytes that are read in any case


def read_sentences(path: Path | str, split: str = "train", transcript_column: str | None = None) -> list[str]:
    """Sentences in lower case, from a text file with one per line, or from the transcripts of a corpus.

    Args:
        path: a text file in UTF-8, or what ``read_corpus`` takes: a folder, or a .tsv, .csv, .jsonl, .json or .transcription.
        split: split of the corpus; a text file has none.
        transcript_column: as ``read_corpus`` takes it.

    Raises:
        OSError, ValueError: if there is nothing to read, or it is broken; the message says what is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a text file, or a corpus for its transcripts")
    if not path.is_dir() and path.suffix.lower() not in (".tsv", ".csv", ".jsonl", ".json", ".transcription"):
        lines = _text_lines(path)
        if "\\data\\" in lines and "\\1-grams:" in lines:
            raise ValueError(f"{path} is already a language model, an ARPA file, not a text to train one on")
        return lines
    corpus = read_corpus(path, transcript_column)
    check_problems(corpus)
    names = corpus.splits_for("train") if split == "train" else split.split(",")  # parts such as train-clean-100 are one
    if missing := set(names or [split]) - corpus.splits.keys():
        raise ValueError(f"{path} has no split {min(missing)!r}; it has {', '.join(sorted(corpus.splits))}")
    return [utterance.transcript.lower() for name in names for utterance in corpus.split(name)]


def _text_lines(path: Path) -> list[str]:
    """The lines of a text that are not blank, in lower case, without the marks <s> and </s> around them; gzip is unpacked."""
    data = path.read_bytes()
    try:
        data = _unpacked(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is compressed, but cannot be unpacked to its end ({error}); download it again") from None
    try:
        text = data.decode(text_code(data))
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{number}: not text in UTF-8; convert the file, or remove the line") from None
    if "\0" in text:
        raise ValueError(f"{path}: not a text, since it holds zero bytes; give a text file with one sentence per line")
    if not text.strip():
        raise ValueError(f"{path}: there is no text in it to train a language model on")
    lines = (re.sub(r"^\s*<s>\s|\s</s>\s*$", " ", line.lower()).split() for line in text.splitlines())
    return [" ".join(words) for words in lines if words]


def _unpacked(data: bytes) -> bytes:
    """The contents of a gzip file; ``OSError`` if they are far larger than any text of this file's size."""
    most = max(_NOT_MUCH, _MOST_UNPACKED * len(data))
    with gzip.open(io.BytesIO(data)) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise OSError(f"it unpacks to more than {_MOST_UNPACKED} times its size, which no text does")
    return text


def in_alphabet(sentences: Sequence[str], alphabet: str | Sequence[str] = "english") -> tuple[list[str], Counter[str]]:
    """Sentences in the characters of an alphabet, normalised like transcripts, without what it can't write.

    Args:
        sentences: texts.
        alphabet: as ``CharEncoder`` takes it.

    Returns:
        the sentences that are not empty, and how often each character was left out, punctuation not counted.

    Raises:
        ValueError: if more characters are left out than kept, since the alphabet must then be wrong.
    """
    encoder = CharEncoder(alphabet, unknown="drop")
    left_out = unknown_characters(sentences, encoder)
    texts = [text for sentence in sentences if (text := spelt(normalise(sentence, encoder), encoder))]
    kept = sum(len(text) - text.count(" ") for text in texts)
    if left_out.total() > kept:
        shown = alphabet if isinstance(alphabet, str) else "".join(alphabet[:60]) + "..." * (len(alphabet) > 60)
        raise ValueError(
            f"the alphabet {shown!r} can write only {kept} of the {kept + left_out.total()} characters of these texts; give the "
            "acoustic model's with --alphabet: mandarin, corpus, or all its characters; or 'any' to keep the texts as they are"
        )
    return texts, left_out
