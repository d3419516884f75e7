"""Batches, one training step, evaluation: the numbers by hand, and a batch learnt by heart."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math

import jiwer
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from implementation import (
    AudioSample,
    CharEncoder,
    Convolution,
    DeepSpeech2,
    SpectrogramBatch,
    collate_batch,
    collate_features,
    compute_spectrogram,
    evaluate,
    generate_synthetic_audio,
    greedy_decode,
    leading_errors,
    plain_definitions,
    train,
    train_step,
)

ENCODER, RATE, N_FFT = CharEncoder(), 8000, 128


def say(text: str, speaker: int) -> AudioSample:
    return AudioSample(generate_synthetic_audio(text, RATE, speaker), RATE, text)


def dataset() -> list[AudioSample]:
    """The same three at every call; not sorted by length, so that the order can be told."""
    np.random.seed(0)
    torch.manual_seed(0)
    return [say("hello", 1), say("all is well", 2), say("on", 3)]


def small_model(hidden: int = 8, **arguments) -> DeepSpeech2:
    torch.manual_seed(0)
    return DeepSpeech2(N_FFT // 2 + 1, ENCODER.vocab_size, n_conv=1, n_rnn=1, rnn_hidden=hidden, **arguments)


def batch() -> SpectrogramBatch:
    return collate_batch(dataset(), ENCODER, N_FFT)


def state(model: DeepSpeech2) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def losses_by_hand(log_probs: torch.Tensor, lengths: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """torch's CTC loss of each utterance on its own."""
    return torch.stack([
        F.ctc_loss(log_probs[:n, b], torch.tensor(ENCODER.encode(text)), (n,), (len(text),), reduction="sum")
        for b, (n, text) in enumerate(zip(lengths.tolist(), texts, strict=True))
    ])  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------


def test_features_are_padded_at_the_end_with_zeros():
    features = [torch.ones(3, 4), torch.full((3, 2), 2.0)]
    padded = collate_features(features, ["ab", "c"], ENCODER)
    assert padded.features[:, 0, 0].tolist() == [[1, 1, 1, 1], [2, 2, 0, 0]]
    assert padded.features.shape == (2, 1, 3, 4)
    assert padded.feature_lengths.tolist() == [4, 2]


def test_targets_stand_one_after_the_other():
    made = collate_features([torch.ones(3, 4)] * 3, ["ab", "", "c"], ENCODER)
    assert (made.targets.tolist(), made.target_lengths.tolist()) == ([1, 2, 3], [2, 0, 1])
    assert made.target_lists() == [[1, 2], [], [3]]
    assert made.texts == ["ab", "", "c"]


def test_a_batch_of_samples_holds_their_spectrograms():
    samples, made = dataset(), batch()
    for b, sample in enumerate(samples):
        features = compute_spectrogram(sample.audio, RATE, n_fft=N_FFT)
        torch.testing.assert_close(made.features[b, 0, :, : features.shape[1]], features)
        assert int(made.feature_lengths[b]) == features.shape[1]
    assert made.texts == ["hello", "all is well", "on"]


def test_a_batch_moves_to_a_device_whole():
    moved = batch().to("meta")
    assert {t.device.type for t in (moved.features, moved.feature_lengths, moved.targets, moved.target_lengths)} == {"meta"}


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one utterance"):
        collate_batch([], ENCODER)


# ---------------------------------------------------------------------------------------------
# train_step
# ---------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_the_utterances():
    model, made = small_model(), batch()
    expected = losses_by_hand(*copy.deepcopy(model)(made.features, made.feature_lengths), made.texts).mean()
    assert train_step(model, made, torch.optim.SGD(model.parameters(), lr=0.1)) == pytest.approx(expected.item(), rel=1e-5)


def test_a_step_trains_in_training_mode():
    model = small_model().eval()
    before = state(model)
    train_step(model, batch(), torch.optim.SGD(model.parameters(), lr=0.1))
    assert model.training
    assert not torch.equal(model.state_dict()["convolutions.0.norm.running_mean"], before["convolutions.0.norm.running_mean"])


def update(max_norm: float) -> torch.Tensor:
    """What one step of SGD with rate 1 subtracts from the weights: the gradient that was used."""
    model = small_model()
    before = nn.utils.parameters_to_vector(model.parameters()).detach()
    train_step(model, batch(), torch.optim.SGD(model.parameters(), lr=1.0), max_norm)
    return before - nn.utils.parameters_to_vector(model.parameters()).detach()


def test_a_gradient_above_max_norm_is_rescaled_to_it():
    full, clipped = update(math.inf), update(0.5)
    assert float(full.norm()) > 1
    torch.testing.assert_close(clipped, full / full.norm() * 0.5, atol=1e-6, rtol=1e-3)


def test_a_gradient_below_max_norm_is_left_alone():
    full = update(math.inf)
    torch.testing.assert_close(update(float(full.norm()) * 1.1), full)


def test_gradients_of_the_step_before_are_forgotten():
    model, made = small_model(), batch()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e3)
    twin = small_model()
    for each in (model, twin):
        train_step(each, made, torch.optim.SGD(each.parameters(), lr=0.1))
    torch.testing.assert_close(model.state_dict(), twin.state_dict())


def test_an_impossible_pair_is_named_with_its_arithmetic_and_changes_nothing():
    model = small_model()
    before = state(model)
    made = collate_features([torch.randn(65, 40), torch.randn(65, 12)], ["fine", "hello all"], ENCODER)
    with pytest.raises(ValueError, match=r"'hello all': 9 symbols \+ 2 for equal .* 11 output .* gives 6") as error:
        train_step(model, made, torch.optim.SGD(model.parameters(), lr=0.1))
    assert "fine" not in str(error.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_pair_that_just_fits_is_trained():
    model = small_model()
    made = collate_features([torch.randn(65, 22)], ["hello all"], ENCODER)  # 11 output frames
    assert math.isfinite(train_step(model, made, torch.optim.SGD(model.parameters(), lr=0.1)))


def test_a_loss_that_is_not_finite_is_an_error_and_changes_nothing():
    model, made = small_model(), batch()
    before = state(model)
    made.features[0, 0, 3, 3] = math.nan
    with pytest.raises(FloatingPointError, match="nan"):
        train_step(model, made, torch.optim.SGD(model.parameters(), lr=0.1))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


class InfiniteSlope(torch.autograd.Function):
    """x, with an infinite gradient."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, grad):
        return torch.full_like(grad, math.inf)


def test_an_infinite_gradient_of_a_finite_loss_is_an_error_and_changes_nothing(monkeypatch):
    model, made = small_model(), batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    train_step(model, made, optimizer)
    before, moments = state(model), copy.deepcopy(optimizer.state_dict())
    forward = model.output.forward
    monkeypatch.setattr(model.output, "forward", lambda x: InfiniteSlope.apply(forward(x)))
    with pytest.raises(FloatingPointError, match=r"the norm of the gradient is (inf|nan) for \['hello', 'all is well', 'on'\]"):
        train_step(model, made, optimizer)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(optimizer.state_dict()["state"], moments["state"], rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_infinite_loss_leaves_the_running_averages_alone(monkeypatch):
    model, made = small_model(), batch()
    before = state(model)
    forward = model.output.forward
    monkeypatch.setattr(model.output, "forward", lambda x: forward(x) * math.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        train_step(model, made, torch.optim.SGD(model.parameters(), lr=0.1))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_the_loop_of_fifteen_lines_learns():
    data, model = [say("all", 1), say("yes", 2), say("good", 3)], small_model(32)
    losses = train(model, data, ENCODER, epochs=25, batch_size=3, lr=1e-2)
    assert len(losses) == 25 and losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("batch_norm", ["output", "input", "none"])
def test_a_batch_is_learnt_by_heart(batch_norm):
    data = [say("all", 1), say("yes", 2), say("good", 3)]
    made, model = collate_batch(data, ENCODER, N_FFT), small_model(64, batch_norm=batch_norm)
    optimizer, result = torch.optim.Adam(model.parameters(), lr=3e-3), None
    for step in range(1, 201):
        train_step(model, made, optimizer)
        if step % 20 == 0:
            result = evaluate(model, data, ENCODER)
            if result["wer"] == 0:
                break
    assert result["hypotheses"] == ["all", "yes", "good"]
    assert result["wer"] == result["cer"] == 0


# ---------------------------------------------------------------------------------------------
# evaluate
# ---------------------------------------------------------------------------------------------


def speaking_model(padding_says: int = 0) -> DeepSpeech2:
    """Untrained, but with all kinds of symbols in its best paths, and one that it is known to say in the padding."""
    model = small_model().eval()
    nn.init.normal_(model.output.weight, std=5)
    model.output.bias.data[padding_says] = 1.0
    return model


# jiwer without its stripping of spaces at the ends
STRICT = dict.fromkeys(("reference_transform", "hypothesis_transform"), jiwer.Compose([jiwer.ReduceToListOfListOfChars()]))


def by_hand(model: DeepSpeech2, data: list[AudioSample]) -> tuple[list[str], list[float], float]:
    """Hypotheses, losses and share of blanks, one utterance at a time."""
    hypotheses, losses, best = [], [], []
    for sample in data:
        features = compute_spectrogram(sample.audio, RATE, n_fft=N_FFT)[None, None]
        log_probs, lengths = model(features, torch.tensor([features.shape[3]]))
        hypotheses += greedy_decode(log_probs, ENCODER)
        losses += losses_by_hand(log_probs, lengths, [sample.transcript]).tolist()
        best += log_probs.argmax(-1)[:, 0].tolist()
    return hypotheses, losses, best.count(0) / len(best)


@pytest.mark.parametrize(("batch_size", "padding_says"), [(1, 0), (2, 0), (16, 0), (16, 5)])
def test_evaluation_equals_the_utterances_one_by_one_in_the_datasets_order(batch_size, padding_says):
    model, data = speaking_model(padding_says), dataset()
    hypotheses, losses, blank_share = by_hand(model, data)
    hypotheses = [" ".join(text.split()) for text in hypotheses]  # as references are, and as transcribe.py prints them
    references = ["hello", "all is well", "on"]
    result = evaluate(model, data, ENCODER, batch_size)
    assert (result["references"], result["hypotheses"]) == (references, hypotheses)
    assert result["loss"] == pytest.approx(sum(losses) / 3, rel=1e-4)
    assert result["wer"] == pytest.approx(jiwer.wer(references, hypotheses))
    assert result["cer"] == pytest.approx(jiwer.process_characters(references, hypotheses, **STRICT).cer)
    assert result["blank_share"] == pytest.approx(blank_share)
    assert (result["n_samples"], result["n_infeasible"]) == (3, 0)
    assert (result["words"].rate, result["characters"].rate) == (result["wer"], result["cer"])
    assert len(set(hypotheses)) == 3


def test_where_no_space_parts_words_characters_are_counted_without_spaces():
    encoder = CharEncoder("中文 helowns")
    data = [
        dataclasses.replace(sample, transcript=text) for sample, text in zip(dataset(), ("中 文", "hello", "on"), strict=True)
    ]
    said = iter(["中文", "he llo", "no"])
    model = DeepSpeech2(N_FFT // 2 + 1, encoder.vocab_size, n_conv=1, n_rnn=1, rnn_hidden=4)
    result = evaluate(model, data, encoder, batch_size=1, decode=lambda *_: [next(said)])
    order = sorted(range(3), key=lambda i: data[i].seconds)
    expected = dict(zip(order, ["中文", "he llo", "no"], strict=True))
    assert result["hypotheses"] == [expected[i] for i in range(3)]  # as they are
    references, hypotheses = ["中文", "hello", "on"], [expected[i].replace(" ", "") for i in range(3)]
    assert result["cer"] == pytest.approx(jiwer.process_characters(references, hypotheses, **STRICT).cer)
    assert leading_errors(result, encoder) is result["characters"] and leading_errors(result, ENCODER) is result["words"]


def test_evaluation_returns_the_stated_keys():
    assert set(evaluate(small_model(), dataset(), ENCODER)) == {
        "wer", "cer", "loss", "n_samples", "words", "characters", "references", "hypotheses", "blank_share", "n_infeasible"
    }  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_model_as_it_was(training):
    model = small_model(dropout=0.5).train(training)
    before = state(model)
    evaluate(model, dataset(), ENCODER)
    assert model.training == training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_evaluation_keeps_no_graph():
    model, tracked = small_model(), []
    model.register_forward_hook(lambda module, inputs, outputs: tracked.append(outputs[0].requires_grad))
    evaluate(model, dataset(), ENCODER)
    assert tracked == [False]


def test_an_impossible_pair_is_counted_and_left_out_of_the_mean_loss():
    model, data = speaking_model(), dataset()
    short = AudioSample(data[2].audio[:800], RATE, "far too long for it")
    _, losses, _ = by_hand(model, data)
    result = evaluate(model, [*data, short], ENCODER)
    assert (result["n_infeasible"], result["n_samples"]) == (1, 4)
    assert result["loss"] == pytest.approx(sum(losses) / 3, rel=1e-4)
    assert result["references"][3] == "far too long for it"


def test_references_keep_what_the_encoder_drops():
    """Else a word that can't be written would not count as an error: "twenty-five" is not "twentyfive"."""
    sample = AudioSample(generate_synthetic_audio("twenty five", RATE, 1), RATE, "Twenty-Five 5")
    result = evaluate(small_model(), [sample], CharEncoder(unknown="drop"))
    assert result["references"] == ["twenty-five 5"] and result["words"].reference_length == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"batch_norm": "input", "rnn_type": "rnn"},
        {"convolutions": [Convolution(6, (0, 11), (1, 2))]},
        {"bidirectional": False},
    ],
)
def test_a_step_by_plain_definitions_is_the_same_step(arguments):
    made, results = batch(), []
    for plain in (True, False):
        model = small_model(**arguments).double()
        made.features = made.features.double()
        with plain_definitions() if plain else contextlib.nullcontext():
            losses = [train_step(model, made, torch.optim.SGD(model.parameters(), lr=0.01)) for _ in range(2)]
        results.append((losses, model.state_dict()))
    torch.testing.assert_close(*results)
