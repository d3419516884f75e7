"""Makes the manifest for the README's Mandarin sentences from AISHELL-1, with exactly the split used there.

    python recipes/aishell_zh.py data_aishell

Unpacking data_aishell.tgz from openslr.org/33 gives data_aishell. In its folder wav, unpack two more archives:
S0150.tar.gz and S0252.tar.gz. The script writes data_aishell/manifest.tsv and changes no recording. aishell_zh.tsv beside this
file lists the sentences used from these two speakers, their split and their pinyin. The results were measured on the same audio
compressed as Opus at 28 kbit/s.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pictures.terminal import Parser, script
from recipes.manifest import read_list, write_manifest

LIST = Path(__file__).with_suffix(".tsv")


def sentence_rows(folder: Path) -> list[tuple[str, ...]]:
    """Path, speaker, split, transcript and pinyin of each sentence.

    Raises:
        ValueError: if recordings are missing.
    """
    listed = read_list(LIST)
    files = {file.stem: file for speaker in ("S0150", "S0252") for file in folder.rglob(f"{speaker}/*.wav")}
    missing = [name for name, *_ in listed if name not in files]
    if missing:
        raise ValueError(f"{folder}: {len(missing)} of the {len(listed)} recordings used are missing, such as "
                         f"{missing[0]}.wav; unpack wav/S0150.tar.gz and wav/S0252.tar.gz from AISHELL-1")  # fmt: skip
    return [(files[name].relative_to(folder).as_posix(), files[name].parent.name, *rest) for name, *rest in listed]


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the unpacked corpus, which holds wav/train/S0150")
    folder = parser.parse_args(argv).folder
    write_manifest(folder, ("path", "speaker", "split", "transcript", "pinyin"), sentence_rows(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
