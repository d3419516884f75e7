"""Prints what a speech corpus holds and all of its problems: python check_corpus.py PATH."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pictures.terminal import Parser, script
from speech.corpora import CorpusError, read_corpus


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Returns exit code 1 if there are problems, or if a named split is missing."""
    parser = Parser(description=__doc__.split(":")[0])
    parser.add_argument("path", help="folder, manifest or transcription file")
    parser.add_argument("--transcript-column", metavar="NAME", help="column that holds the transcripts, as in train_minimal.py")
    parser.add_argument("--train", metavar="NAMES", help="splits to train on, as in train_minimal.py, such as a,b")
    parser.add_argument("--dev", metavar="NAME", help="split to choose the best weights on")
    parser.add_argument("--test", metavar="NAMES", help="splits to test on")
    args = parser.parse_args(argv)
    train, test = ([name.strip() for name in names.split(",")] if names else [] for names in (args.train, args.test))
    roles, wrong = None, ""
    try:
        corpus = read_corpus(args.path, args.transcript_column)
    except (OSError, CorpusError) as error:
        print(error)
        return 1
    try:
        roles = corpus.roles(train, args.dev, test)
    except CorpusError as error:
        wrong = str(error)
    print(corpus.summary(len(corpus.problems), roles), *[wrong] * bool(wrong), sep="\n")
    named = train or test or args.dev
    return 1 if corpus.problems or not corpus.utterances or (wrong and named) else 0


if __name__ == "__main__":
    sys.exit(main())
