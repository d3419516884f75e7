"""From a clone of DSPSpeech-20, makes the manifest for the README's Mandarin words, with exactly the split used there.

    git clone https://github.com/zhongyuchen/DSPSpeech-20 dsp20_zh
    python recipes/dsp20_zh.py dsp20_zh

It writes dsp20_zh/manifest.tsv beside the recordings and changes none of them. dsp20_zh.tsv beside this file lists what was
used: three takes of each of the twelve Chinese words by 29 of the 34 speakers, and which piece of each recording. Speakers have
numbers there, not the clone's names; the script recognises them by their recordings. With --all it uses all recordings of
these words, about 8,160, uncut and with another split: of every ten speakers, one goes to test and one to dev.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pictures.terminal import Parser, script
from recipes.manifest import piece_start, piece_times, read_list, write_manifest

LIST = Path(__file__).with_suffix(".tsv")
WORDS = (  # by their numbers in file names; 12 to 19 are English
    ("数字", "shu4 zi4"), ("语音", "yu3 yin1"), ("语言", "yu3 yan2"), ("识别", "shi2 bie2"), ("中国", "zhong1 guo2"),
    ("总工", "zong3 gong1"), ("北京", "bei3 jing1"), ("背景", "bei4 jing3"), ("上海", "shang4 hai3"), ("商行", "shang1 hang2"),
    ("复旦", "fu4 dan4"), ("饭店", "fan4 dian4"),
)  # fmt: skip
DEV, TEST = ("s07", "s08", "s09"), ("s01", "s03", "s05")  # speakers of the list; all others are train
STEP = 160  # samples: the pieces were cut at multiples of 10 ms


@dataclass(frozen=True)
class Piece:
    """A line of the list: a piece of a take, ``samples`` long; ``head`` is the CRC-32 of its first 1600 samples."""

    speaker: str
    word: int
    take: int
    samples: int
    head: int

    @property
    def split(self) -> str:
        return "dev" if self.speaker in DEV else "test" if self.speaker in TEST else "train"


Takes = dict[tuple[str, int, int], Path]  # by the clone's name of the speaker, word and take


def pieces(file: Path = LIST) -> list[Piece]:
    """Reads the list."""
    return [Piece(speaker, *map(int, numbers), int(head, 16)) for speaker, *numbers, head in read_list(file)]


def find_takes(clone: Path) -> Takes:
    """All recordings of the twelve words, ``speech_data/SPEAKER/SPEAKER-WORD-TAKE.wav``.

    Raises:
        ValueError: if there is none.
    """
    named = ((file, re.fullmatch(r"(.+)-(\d\d)-(\d\d)\.wav", file.name)) for file in sorted(clone.rglob("*.wav")))
    takes = {(name[1], int(name[2]), int(name[3])): file for file, name in named if name and int(name[2]) < len(WORDS)}
    if not takes:
        raise ValueError(f"{clone}: there are no recordings such as speech_data/SPEAKER/SPEAKER-00-01.wav; is it a clone of "
                         "DSPSpeech-20?")  # fmt: skip
    return takes


def recognise(takes: Takes, listed: list[Piece]) -> dict[str, str]:
    """The clone's name for each listed speaker, recognised by a take of the first word that holds the listed piece.

    Raises:
        ValueError: if a speaker is not found.
    """
    found: dict[str, str] = {}
    names = sorted({name for name, _, _ in takes})
    for piece in (piece for piece in listed if piece.word == 0):
        for name in names if piece.speaker not in found else ():
            take = takes.get((name, 0, piece.take))
            if take and piece_start(take, piece.samples, piece.head, STEP) is not None:
                found[piece.speaker] = name
                names.remove(name)
                break
    if unknown := sorted({piece.speaker for piece in listed} - found.keys()):
        raise ValueError(
            f"{len(unknown)} of the listed speakers are not recognised by their recordings, such as {unknown[0]}: "
            "the audio differs from what was used; --all uses what the clone has"
        )
    return found


def listed_rows(clone: Path, listed: list[Piece]) -> list[tuple[str, ...]]:
    """Path, speaker, split, offset, duration (in seconds; empty for a piece not found), transcript and pinyin of each piece.

    Raises:
        ValueError: if a take is missing or a speaker is not recognised.
    """
    takes, rows = find_takes(clone), []
    names = recognise(takes, listed)
    for piece in listed:
        file = takes.get((names[piece.speaker], piece.word, piece.take))
        if not file:
            raise ValueError(f"{clone}: take {piece.take} of word {piece.word:02} by {names[piece.speaker]} is missing")
        times = piece_times(piece_start(file, piece.samples, piece.head, STEP), piece.samples)
        rows.append((file.relative_to(clone).as_posix(), piece.speaker, piece.split, *times, *WORDS[piece.word]))
    return rows


def all_rows(clone: Path) -> list[tuple[str, ...]]:
    """Path, speaker, split, transcript and pinyin of every take of the twelve words; raises ``ValueError`` if there is none."""
    takes = find_takes(clone)
    number = {name: index for index, name in enumerate(sorted({name for name, _, _ in takes}))}
    splits = {0: "test", 1: "dev"}
    return [(file.relative_to(clone).as_posix(), name, splits.get(number[name] % 10, "train"), *WORDS[word])
            for (name, word, _), file in takes.items()]  # fmt: skip


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="folder of the clone, with a folder of recordings for each speaker")
    parser.add_argument("--all", action="store_true", help="use all recordings of the twelve words, whole, with another split")
    args = parser.parse_args(argv)
    if args.all:
        write_manifest(args.clone, ("path", "speaker", "split", "transcript", "pinyin"), all_rows(args.clone))
    else:
        columns = ("path", "speaker", "split", "offset", "duration", "transcript", "pinyin")
        write_manifest(args.clone, columns, listed_rows(args.clone, pieces()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
