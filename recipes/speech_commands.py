"""Makes the manifest for the README's spoken commands from the public download, with exactly the clips and split used there.

    wget http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz
    mkdir speech_commands && tar -xzf speech_commands_v0.02.tar.gz -C speech_commands
    python recipes/speech_commands.py speech_commands

It writes speech_commands/manifest.tsv beside the recordings and changes none of them. speech_commands.tsv beside this file
lists the 4,157 clips that are used, by voice; the download has many more.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pictures.terminal import Parser, script
from recipes.manifest import write_manifest

LIST = Path(__file__).with_suffix(".tsv")
MOST_MISSING = 0.06  # share of the clips: 237 are from version 0.01, and version 0.02 may lack some of these


def command_rows(file: Path = LIST) -> list[tuple[str, ...]]:
    """Path, speaker, split and transcript of each clip, in the order of the list."""
    lines = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    takes = [(voice, split, *take.split(":")) for voice, split, listed in lines[1:] for take in listed.split()]
    return [
        (f"{word}/{voice}_nohash_{number}.wav", voice, split, word)
        for voice, split, word, numbers in takes
        for number in numbers.split(",")
    ]


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the unpacked download, which holds yes/, no/ and so on")
    folder = parser.parse_args(argv).folder
    rows = command_rows()
    missing = [row[0] for row in rows if not (folder / row[0]).is_file()]
    if len(missing) > MOST_MISSING * len(rows):
        raise ValueError(f"{folder}: {len(missing)} of the {len(rows)} clips used are missing, such as {missing[0]}; "
                         "is Speech Commands unpacked there?")  # fmt: skip
    if missing:
        print(f"note: {len(missing)} of the {len(rows)} clips used are missing and are left out, such as {missing[0]}")
    write_manifest(folder, ("path", "speaker", "split", "transcript"), [row for row in rows if row[0] not in set(missing)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
