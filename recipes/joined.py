"""Joins corpora into one, to train on all of them: python recipes/joined.py commands speech_commands fsdd

It writes commands/manifest.tsv, which names the recordings where they lie, and changes none of them. The splits of the first
corpus keep their names. What the others have to train on is trained on too; the name of their folder is put behind the names of
their other splits, such as ``test_fsdd``, so that each has error rates of its own. dev is that of the first corpus alone.
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
    """A line for each utterance of the corpora by name, paths relative to the folder; voices of two corpora are never one.

    Raises:
        ValueError: for an utterance of one channel of several, which these columns can't tell.
    """
    rows = []
    for number, (name, corpus) in enumerate(corpora.items()):
        for u in corpus.utterances:
            if u.channel is not None:
                raise ValueError(f"{u.path}: one channel of several; write each channel to a file of its own first")
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
        parser.error(f"two of the corpora are called the same, {', '.join(names)}: rename a folder")
    corpora = {name: read_corpus(path) for name, path in zip(names, args.corpora, strict=True)}
    for corpus in corpora.values():
        check_problems(corpus)
    args.folder.mkdir(parents=True, exist_ok=True)
    write_manifest(args.folder, COLUMNS, joined_rows(args.folder.resolve(), corpora))
    return 0


if __name__ == "__main__":
    sys.exit(main())
