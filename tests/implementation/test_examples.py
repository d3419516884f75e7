"""The worked examples in the docstrings of implementation.py, run as they stand."""

from __future__ import annotations

import doctest

import implementation

PUBLIC = (
    "CharEncoder", "compute_spectrogram", "Features", "sequence_mask", "ClippedReLU", "conv_output_lengths", "output_lengths",
    "ctc_loss", "ctc_required_frames", "extend_target", "prefix_beam_search", "edit_distance", "count_word_errors",
    "word_error_rate", "SortaGradBatchSampler",
)  # fmt: skip


def test_the_examples_are_true():
    result = doctest.testmod(implementation, verbose=False)
    assert result.failed == 0 and result.attempted >= 20


def test_the_parts_that_one_line_explains_have_an_example():
    for name in PUBLIC:
        assert ">>> " in getattr(implementation, name).__doc__, name
