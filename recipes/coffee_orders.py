"""From a clone of speech-to-intent-benchmark, makes the manifest for the README's coffee orders, with exactly the same split.

    git clone https://github.com/Picovoice/speech-to-intent-benchmark barista_en
    python recipes/coffee_orders.py barista_en

It writes barista_en/manifest.tsv beside the recordings and changes none of them. The clone has the audio, and labels with the
drink, size, roast, shots, milk and sugar of each order. coffee_orders.tsv beside this file adds what is not published: the
words around these, the voice (an estimate: groups of similar voices), and the piece of the clip that was used.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pictures.terminal import Parser, script
from recipes.manifest import piece_start, piece_times, read_list, write_manifest

LIST = Path(__file__).with_suffix(".tsv")
DEV, TEST = ("v21", "v22", "v30", "v31"), ("v10", "v14", "v19", "v32")  # voices; all others are train
SLOTS = {  # our name -> the label's name
    "DRINK": "coffeeDrink", "SIZE": "size", "ROAST": "roast", "SHOTS": "numberOfShots",
    "MILK": "milkAmount", "SUGAR": "sugarAmount",
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """A line of the list.

    Attributes:
        clip: the first eight characters of the clip's name.
        voice: a group of similar voices.
        samples, head: length of the piece used, and the CRC-32 of its first 1600 samples.
        phrase: the words, with slots such as SIZE for the words in the label.
    """

    clip: str
    voice: str
    samples: int
    head: int
    phrase: str

    @property
    def split(self) -> str:
        return "dev" if self.voice in DEV else "test" if self.voice in TEST else "train"


def orders(file: Path = LIST) -> list[Order]:
    """Reads the list."""
    return [Order(clip, voice, int(samples), int(head, 16), phrase) for clip, voice, samples, head, phrase in read_list(file)]


def transcript(phrase: str, slots: dict[str, str]) -> str:
    """The phrase with the label's words in its slots; raises ``KeyError`` for a slot that the label lacks."""
    return " ".join(re.sub("[A-Z]+", lambda slot: slots[SLOTS[slot[0]]], phrase).split())


def find_clips(clone: Path, listed: list[Order]) -> list[Path]:
    """The clip of each order.

    Raises:
        ValueError: if a clip is missing.
    """
    folder = clone / "data" / "speech" / "clean"
    by_name = {file.name[:8]: file for file in folder.glob("*.wav")}
    missing = [order.clip for order in listed if order.clip not in by_name]
    if missing:
        raise ValueError(f"{folder}: {len(missing)} of the {len(listed)} clips used are missing, such as "
                         f"{missing[0]}-*.wav; is this a clone of speech-to-intent-benchmark?")  # fmt: skip
    return [by_name[order.clip] for order in listed]


def read_labels(clone: Path) -> dict[str, dict[str, str]]:
    """The slots of each clip, by file name."""
    file = clone / "data" / "label" / "label.json"
    try:
        return {name: label["slots"] for name, label in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{file} can't be read as the labels of speech-to-intent-benchmark ({error!r})") from None


def coffee_rows(clone: Path, listed: list[Order]) -> list[tuple[str, ...]]:
    """Path, speaker, split, offset, duration (in seconds; empty for a piece that was not found) and transcript of each order.

    Raises:
        ValueError: if clips or labels are missing.
    """
    labels, rows = read_labels(clone), []
    for order, clip in zip(listed, find_clips(clone, listed), strict=True):
        try:
            text = transcript(order.phrase, labels[clip.name])
        except KeyError as error:
            raise ValueError(f"{clone / 'data/label/label.json'}: {clip.name} has no {error}, which the order needs") from None
        times = piece_times(piece_start(clip, order.samples, order.head), order.samples)
        rows.append((clip.relative_to(clone).as_posix(), order.voice, order.split, *times, text))
    return rows


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="folder of the clone, which holds data/speech/clean and data/label")
    clone = parser.parse_args(argv).clone
    write_manifest(clone, ("path", "speaker", "split", "offset", "duration", "transcript"), coffee_rows(clone, orders()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
