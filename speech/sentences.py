"""Sentences for a language model: of a text file, or the transcripts of a corpus."""

from __future__ import annotations

from pathlib import Path

from speech.corpora import read_corpus
from speech.preflight import check_problems


def read_sentences(path: Path | str, split: str = "train") -> list[str]:
    """Sentences in lower case, from a text file with one a line, or the transcripts of a corpus.

    Args:
        path: a text file in UTF-8, or what ``read_corpus`` takes: a folder, or a .tsv, .csv, .jsonl or .transcription.
        split: of the corpus; a text file has none.

    Raises:
        OSError, ValueError: if there is nothing to read or it is broken; with what is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a text file, or a corpus for its transcripts")
    if not path.is_dir() and path.suffix.lower() not in (".tsv", ".csv", ".jsonl", ".transcription"):
        data = path.read_bytes()
        try:
            return [" ".join(line.lower().split()) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            raise ValueError(f"{path}:{number}: not text in UTF-8; convert the file, or take the line out") from None
    corpus = read_corpus(path)
    check_problems(corpus)
    if not corpus.split(split):
        raise ValueError(f"{path} has no split {split!r}; it has {', '.join(sorted(corpus.splits))}")
    return [utterance.transcript.lower() for utterance in corpus.split(split)]
