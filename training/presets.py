"""Models by name: the flags that make them. A flag given beside takes the place of the preset's."""

from __future__ import annotations

import argparse

PRESETS = {
    # Section 7.4; corpus: Section 7; the paper names no convolutions here, so they stay the default's.
    "deployed": {
        "forward_only": True, "rnn_type": "gru", "n_rnn": 5, "rnn_hidden": 2560, "row_conv": 19, "fc_hidden": 2560,
        "normalize": "corpus",
    },
}  # fmt: skip


def in_full(preset: str, args: argparse.Namespace) -> str:
    """The preset's flags as they hold now, such as ``--forward-only --n-rnn 5 ...``."""
    values = {name: getattr(args, name) for name in PRESETS[preset]}
    flags = (f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}") for name, value in values.items())
    return f"preset {preset}: {' '.join(flags)}"
