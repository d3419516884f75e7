"""Names and texts as any terminal can show them."""

from __future__ import annotations

import sys


def show_any_name() -> None:
    """Lets the output name files and texts with characters that the terminal can't show, by their numbers."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="backslashreplace")
