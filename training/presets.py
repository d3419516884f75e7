"""Recipes by name, as flags. A flag that the user also gives replaces the preset's."""

from __future__ import annotations

import argparse

PRESETS = {
    # What train_minimal.py does without a preset [ours]: an epoch takes seconds on a laptop.
    "lesson": {
        "features": "spectrogram", "n_fft": 128, "n_conv": 2, "rnn_type": "gru", "n_rnn": 3, "rnn_hidden": 128,
        "batch_norm": "output", "batch_size": 8, "optimizer": "adamw", "schedule": "onecycle",
    },
    # The best English model (Sections 6, 6.1, 6.1.1), with 100 M weights. The paper states neither its width nor its features:
    # with 257 bins, 2120 units make 100 M weights [ours]; the learning rate is the middle of the paper's range [ours].
    "paper": {
        "n_fft": 512, "n_conv": 3, "time_strides": "3,1,1", "rnn_type": "rnn", "n_rnn": 7, "rnn_hidden": 2120,
        "batch_norm": "paper", "bigrams": True, "epochs": 20, "batch_size": 512, "optimizer": "sgd", "lr": 3e-4,
        "schedule": "anneal",
    },
    # Section 7.4, and Section 7 for corpus; the paper names no convolutions here, so they stay at the default.
    "deployed": {
        "forward_only": True, "rnn_type": "gru", "n_rnn": 5, "rnn_hidden": 2560, "row_conv": 19, "fc_hidden": 2560,
        "normalize": "corpus",
    },
    # A published small recipe for LibriSpeech. Its kernels 11x41 and 11x21 and strides 2x2 and 1x2, time x frequency, are the
    # first two of Table 4; its row convolution spans 5 frames; Noam's peak rate is the one for 512 units.
    "librispeech-lstm": {
        "features": "logmel", "n_mels": 80, "window_ms": 25.0, "stride_ms": 10.0, "n_conv": 2, "time_strides": "2,1",
        "forward_only": True, "rnn_type": "lstm", "n_rnn": 5, "rnn_hidden": 512, "row_conv": 4, "fc_hidden": 1024,
        "dropout": 0.1, "batch_size": 2, "optimizer": "adam", "lr": 4.4e-4, "schedule": "noam", "warmup": 10_000,
    },
    # Spoken commands and digits, written while you speak, for any voice [ours, chosen on dev; docs/results.md].
    "commands": {
        "features": "logmel", "n_mels": 40, "time_strides": "3,1", "forward_only": True, "n_rnn": 2, "rnn_hidden": 208,
        "row_conv": 5, "join": 2, "epochs": 30, "batch_size": 8, "lr": 2e-3,
    },
}  # fmt: skip


def in_full(preset: str, args: argparse.Namespace) -> str:
    """The preset's flags with their actual values, such as ``--forward-only --n-rnn 5 ...``."""
    values = {name: getattr(args, name) for name in PRESETS[preset]}
    if args.batch_seconds is not None:
        values = {name: value for name, value in values.items() if name != "batch_size"} | {"batch_seconds": args.batch_seconds}
    return f"preset {preset}: " + " ".join(f"--{name.replace('_', '-')}{_said(value)}" for name, value in values.items())


def _said(value: object) -> str:
    if value is True:
        return ""
    if isinstance(value, list):
        return " " + ",".join(map(str, value))
    return f" {value:g}" if isinstance(value, float) else f" {value}"
