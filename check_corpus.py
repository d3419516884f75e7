"""Prints what a corpus of speech holds and all of its problems: python check_corpus.py PATH."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pictures.terminal import Parser, script
from speech.corpora import CorpusError, read_corpus


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 if there are problems."""
    parser = Parser(description=__doc__.split(":")[0])
    parser.add_argument("path", help="folder, manifest or transcription file")
    path = parser.parse_args(argv).path
    try:
        corpus = read_corpus(path)
    except (OSError, CorpusError) as error:
        print(error)
        return 1
    print(corpus.summary(show=len(corpus.problems)))
    return 1 if corpus.problems or not corpus.utterances else 0


if __name__ == "__main__":
    sys.exit(main())
