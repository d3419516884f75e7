"""From a clone of the Free Spoken Digit Dataset, makes the manifest for the README's digits, with exactly the split used there.

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset fsdd
    python recipes/digits.py fsdd

It writes fsdd/manifest.tsv beside the recordings and changes none of them. docs/results.md says what to run next.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pictures.terminal import Parser, script
from recipes.manifest import write_manifest

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")  # theo, the sixth, is not used
NEVER_HEARD = "nicolas"
TAKES = 50


def split_of(speaker: str, take: int) -> str:
    """Takes 0 to 4 are the data set's own test part; 5 to 9 are our dev part."""
    if speaker == NEVER_HEARD:
        return "test_unseen"
    return "test" if take < 5 else "dev" if take < 10 else "train"


def digit_rows(clone: Path) -> list[tuple[str, ...]]:
    """Path, speaker, split and transcript of each take, in the order of the file names.

    Raises:
        ValueError: if takes are missing.
    """
    named = {f"{d}_{s}_{take}.wav": (d, s, take) for d in range(10) for s in SPEAKERS for take in range(TAKES)}
    missing = sorted(name for name in named if not (clone / "recordings" / name).is_file())
    if missing:
        raise ValueError(f"{clone / 'recordings'}: {len(missing)} of the {len(named)} takes used are missing, "
                         f"such as {missing[0]}; is it a clone of free-spoken-digit-dataset?")  # fmt: skip
    return [(f"recordings/{name}", s, split_of(s, take), DIGITS[d]) for name, (d, s, take) in sorted(named.items())]


@script
def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="folder of the clone, which holds recordings/")
    clone = parser.parse_args(argv).clone
    write_manifest(clone, ("path", "speaker", "split", "transcript"), digit_rows(clone))
    return 0


if __name__ == "__main__":
    sys.exit(main())
