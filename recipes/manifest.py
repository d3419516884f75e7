"""What the recipes share: writing a manifest without replacing another, and telling what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def write_manifest(folder: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Writes ``folder``/manifest.tsv and prints how many utterances each split has.

    Raises:
        ValueError: if there is one with other lines.
    """
    file = folder / "manifest.tsv"
    text = "".join("\t".join(row) + "\n" for row in [columns, *rows])
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise ValueError(f"{file} exists and holds something else; move it away first")
    file.write_text(text, encoding="utf-8", newline="\n")
    splits = Counter(row[list(columns).index("split")] for row in rows)
    print(f"{file}: {len(rows)} utterances, " + ", ".join(f"{count} {name}" for name, count in sorted(splits.items())))
