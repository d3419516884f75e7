"""notebooks/deep_speech_1.ipynb: it was run as it stands, it shows what it says, and each mistake is the one it names."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import implementation as ds2
from helpers import ROOT, Notebook
from models.deep_speech_1 import DeepSpeech1
from training.optimisation import make_optimizer, make_scheduler

NOTEBOOK = ROOT / "notebooks" / "deep_speech_1.ipynb"
STORED = Notebook("notebooks/deep_speech_1.ipynb")
CODE, source, printed = STORED.code, STORED.source, STORED.printed
ATTEMPTS = (
    "right", "one direction", "one direction, state carried", "no clip", "lengths ignored", "slices summed", "all at once",
)  # fmt: skip


def word_error_rate(text, line):
    """Rate in per cent of the line that begins so, checked against its counts."""
    rate, errors, words = re.search(rf"^{re.escape(line)}.*?([\d.]+) % \((\d+)/(\d+)", text, re.MULTILINE).groups()
    assert float(rate) == pytest.approx(100 * int(errors) / int(words), abs=0.01)
    return float(rate)


def check_claims(text):
    """What the text says of its runs, and any other run must show too."""
    assert word_error_rate(text, "Deep Speech 1, new voices") <= 15
    rates = dict(zip(ATTEMPTS, map(float, re.findall(r"^ +CER ([\d.]+) %", text, re.MULTILINE)), strict=True))
    assert all(rates[name] > rates["right"] + 20 for name in ("slices summed", "all at once"))  # by the least of three seeds
    lost, kept = (float(re.search(rf"^{name} +([\d.e+-]+)", text, re.MULTILINE)[1]) for name in LONG_RECORDING)
    assert kept < 1e-5 and lost > 0.1
    assert float(re.search(r"from pieces of a tenth.* ([\d.e+-]+)$", text, re.MULTILINE)[1]) < 1e-5
    alone, after = (float(re.search(rf"^{name}: .* ([\d.e+-]+)$", text, re.MULTILINE)[1]) for name in ATTEMPTS[1:3])
    assert alone == 0 and after > 0.01
    costs = [re.findall(r"[\d,.]+", re.search(rf"^{kind} .*", text, re.MULTILINE)[0]) for kind in ("rnn", "gru", "lstm")]
    weights, kept_mb = ([float(row[column].replace(",", "")) for row in costs] for column in (0, 1))
    assert weights == sorted(weights) and kept_mb == sorted(kept_mb)
    assert weights[1] / weights[0] == pytest.approx(3, abs=0.01) and weights[2] / weights[0] == pytest.approx(4, abs=0.01)


LONG_RECORDING = ("0.2 s, each from zeros", "0.2 s, state carried")


@pytest.fixture(scope="module")
def lesson():
    """What the cells tagged as definitions define."""
    small = {"n_freq": 65, "vocab_size": 29, "context": 2, "hidden": 24}
    names = {
        "math": math, "np": np, "torch": torch, "F": F, "ds2": ds2, "DeepSpeech1": DeepSpeech1, "SMALL": small,
        "make_optimizer": make_optimizer, "make_scheduler": make_scheduler, "EPOCHS": 1, "encoder": ds2.CharEncoder("english"),
    }  # fmt: skip
    for cell in CODE:
        if "definitions" in cell["metadata"].get("tags", []):
            exec(source(cell), names)
    return names


def batch_of(*texts, frames=(60,)):
    spectra = [torch.randn(65, n) for n in (frames * len(texts))[: len(texts)]]
    return ds2.collate_features(spectra, texts, ds2.CharEncoder("english"))


def same_weights(model, other):
    other.load_state_dict(model.state_dict())
    return model.eval(), other.eval()


# As it is stored


def test_its_pictures_are_stored():
    pictures = [output for cell in CODE for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) == 3


def test_each_mistake_is_marked_where_it_stands():
    code = "\n".join(source(cell) for cell in CODE)
    assert len(re.findall("# MISTAKE", code)) == 4  # one direction is a setting


def test_the_stored_run_shows_what_it_says():
    text = printed(CODE)
    check_claims(text)
    lines = r"^pieces of 1 s, ", r"^pieces of 0.2 s, ", r"^whole "
    wrong = [re.search(rf"{line}.*\((\d+)/16", text, re.MULTILINE)[1] for line in lines]
    said = "With pieces of 1 s {} of 16 words are wrong, with pieces of 0.2 s {}, and in the whole recording {}."
    assert said.format(*wrong) in "".join(map(source, STORED.cells))


# Its mistakes are the ones they are called, and nothing else


def test_the_loss_is_the_librarys(lesson):
    model, batch = DeepSpeech1(**lesson["SMALL"]).eval(), batch_of("go", "see", frames=(60, 44))
    log_probs, lengths = model(batch.features, batch.feature_lengths)
    expected = ds2.ctc_loss_by_recursion(log_probs, batch.targets, lengths, batch.target_lengths).mean()
    torch.testing.assert_close(lesson["right_loss"](model, batch), expected, atol=1e-4, rtol=1e-5)


def test_the_first_minibatch_has_no_state_to_carry_and_the_second_has(lesson):
    carried, right = same_weights(
        lesson["StateCarried"](**lesson["SMALL"], bidirectional=False), DeepSpeech1(**lesson["SMALL"], bidirectional=False)
    )
    batch, smaller = batch_of("go", "no", "see"), batch_of("egg")
    with torch.no_grad():
        for again, same in ((batch, True), (batch, False), (smaller, False), (batch, False)):
            log_probs, lengths = carried(again.features, again.feature_lengths)
            expected, expected_lengths = right(again.features, again.feature_lengths)
            assert torch.equal(lengths, expected_lengths)
            assert torch.allclose(log_probs, expected, atol=1e-5) == same
        assert carried.state[0].shape == (1, 3, 24)  # the rows that the smaller minibatch lacked are kept


def test_without_the_clip_units_go_beyond_20(lesson):
    clipped, free = same_weights(DeepSpeech1(**lesson["SMALL"]), lesson["without_clip"](DeepSpeech1(**lesson["SMALL"])))
    highest = []
    for model in (clipped, free):
        model.convolutions[0].register_forward_hook(
            lambda _layer, _inputs, output: highest.append(float(output[0].detach().max()))
        )
        model(100 * batch_of("go").features, torch.tensor([60]))
    assert highest[0] == 20 < highest[1]


def test_slices_are_so_many_whatever_the_length_and_sums(lesson):
    model, right = same_weights(lesson["SlicesSummed"](**lesson["SMALL"]), DeepSpeech1(**lesson["SMALL"]))
    for frames in (30, 96, 131):
        batch = batch_of("go", frames=(frames,))
        log_probs, lengths = model(batch.features, batch.feature_lengths)
        assert len(log_probs) == 24 == int(lengths)
        if frames == 96:  # 48 output frames, two to a slice
            each, _ = right(batch.features, batch.feature_lengths)
            torch.testing.assert_close(log_probs, (each[0::2] + each[1::2]).log_softmax(-1))


def test_without_padding_the_lengths_do_not_matter_and_with_it_they_do(lesson):
    model, loss = DeepSpeech1(**lesson["SMALL"]).eval(), lesson["loss_without_lengths"]
    alone, padded = batch_of("see"), batch_of("see", "go", frames=(60, 30))
    torch.testing.assert_close(loss(model, alone), lesson["right_loss"](model, alone))
    log_probs, _ = model(padded.features, torch.tensor([60, 60]))  # padding as if it were speech
    labels = [[*lesson["encoder"].encode("see")], [*lesson["encoder"].encode("go"), 0]]
    expected = [
        F.ctc_loss(log_probs[:, [row]], torch.tensor([labels[row]]), torch.tensor([30]), torch.tensor([3]), reduction="sum")
        for row in (0, 1)
    ]
    torch.testing.assert_close(loss(model, padded), sum(expected) / 2)
    assert abs(loss(model, padded) - lesson["right_loss"](model, padded)) > 0.1


def test_filled_up_with_blanks_a_transcript_has_a_probability_above_one():
    sure = torch.tensor([0.999, 0.001]).log().expand(10, 1, 2)  # blank in each of ten frames
    loss = F.ctc_loss(sure, torch.zeros(1, 3, dtype=torch.long), torch.tensor([10]), torch.tensor([3]), reduction="none")
    assert loss < 0


# As it runs now


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_and_shows_what_it_says():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}  # as Jupyter starts it
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=folder).execute()
    check_claims(printed(notebook.cells))
