"""Joins corpora into one, to train on all of them: python recipes/joined.py commands speech_commands fsdd

It writes commands/manifest.tsv, which lists the recordings where they are, and changes none of them. The splits of the first
corpus keep their names. The training splits of the others join its train; the name of their folder is added to their other
splits, such as ``test_fsdd``, so that each has its own error rates. The dev split is that of the first corpus alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pictures.terminal import Parser, script
from recipes.manifest import write_manifest
from speech.corpora import Corpus, read_corpus
from speech.preflight import check_problems

COLUMNS = ("path", "speaker", "split", "start", "duration", "transcript")


def joined_rows(folder: Path, corpora: dict[str, Corpus]) -> list[tuple[str, ...]]:
    """A line for each utterance of the named corpora, with paths relative to the folder; corpora never share a voice.

    Raises:
        ValueError: for an utterance that is one of several channels, which these columns can't express.
    """
    rows = []
    for number, (name, corpus) in enumerate(corpora.items()):
        for u in corpus.utterances:
            if u.channel is not None:
                raise ValueError(f"{u.path}: one channel of several; first write each channel to its own file")
            split = u.split if number == 0 or u.split == "train" else f"{u.split}_{name}"
            path = Path(os.path.relpath(u.path, folder)).as_posix()
            speaker, start = f"{name}/{u.speaker}" if u.speaker else "", f"{u.start:.6f}" if u.is_piece else ""
            rows.append((path, speaker, split, start, f"{u.seconds:.6f}", u.transcript))
    return rows


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where manifest.tsv is written")
    parser.add_argument("corpora", type=Path, nargs="+", help="in any layout that --data of train_minimal.py reads")
    args = parser.parse_args(argv)
    names = [path.resolve().name for path in args.corpora]
    if len(set(names)) < len(names):
        parser.error(f"two corpora have the same name, {', '.join(names)}: rename a folder")
    corpora = {name: read_corpus(path) for name, path in zip(names, args.corpora, strict=True)}
    for corpus in corpora.values():
        check_problems(corpus)
    args.folder.mkdir(parents=True, exist_ok=True)
    write_manifest(args.folder, COLUMNS, joined_rows(args.folder.resolve(), corpora))
    return 0


if __name__ == "__main__":
    sys.exit(main())
