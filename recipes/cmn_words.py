"""From a clone of audio-cmn, makes the manifest for the README's Mandarin words by one voice, with exactly the split used there.

    git clone https://github.com/hugolpz/audio-cmn cmn_words
    python recipes/cmn_words.py cmn_words

It writes cmn_words/manifest.tsv beside the recordings and changes none of them. cmn_words.tsv beside this file lists the words,
their split and their pinyin. The results were measured on clips without the silence at both ends; these are whole.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pictures.terminal import Parser, script
from recipes.manifest import read_list, write_manifest

LIST = Path(__file__).with_suffix(".tsv")
FOLDER = "96k/hsk"


def word_rows(clone: Path) -> list[tuple[str, ...]]:
    """Path, speaker, split, transcript and pinyin of each word.

    Raises:
        ValueError: if recordings are missing.
    """
    rows = [(f"{FOLDER}/cmn-{word}.mp3", "yue_tan", split, word, pinyin) for word, split, pinyin in read_list(LIST)]
    missing = [path for path, *_ in rows if not (clone / path).is_file()]
    if missing:
        raise ValueError(f"{clone}: {len(missing)} of the {len(rows)} words used are missing, such as {missing[0]}; "
                         "is it a clone of audio-cmn?")  # fmt: skip
    return rows


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help=f"folder of the clone, which holds {FOLDER}")
    clone = parser.parse_args(argv).clone
    write_manifest(clone, ("path", "speaker", "split", "transcript", "pinyin"), word_rows(clone))
    return 0


if __name__ == "__main__":
    sys.exit(main())
