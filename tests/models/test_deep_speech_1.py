"""Deep Speech 1 against its equations written out frame by frame, and wherever else the library takes a model."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from implementation import CharEncoder, CorpusStatistics, DeepSpeech2, Features, generate_synthetic_dataset, train
from models.checkpoints import Checkpoint, CheckpointError, ModelConfig, load_checkpoint, save_checkpoint
from models.deep_speech_1 import DeepSpeech1
from models.streaming import StreamingRecognizer, accept_together

DS1 = ModelConfig(features=Features(n_fft=64), model="ds1", context=3, rnn_hidden=16, dropout=0.1)


def g(z):
    return torch.where(z < 0, torch.zeros_like(z), torch.where(z > 20, torch.full_like(z, 20.0), z))


def written_out(model, x):
    """(F, T) of one utterance -> (T', V): the equations of the class, frame by frame, on the weights of the model."""
    weight, context, (bins, frames) = dict(model.named_parameters()), model.context, x.shape

    def frame(t):
        return x[:, t] if 0 <= t < frames else x.new_zeros(bins)

    h3 = []
    for t in range(0, frames, 2):
        z = weight["convolutions.0.conv.bias"]
        for place in range(2 * context + 1):
            z = z + weight["convolutions.0.conv.weight"][:, :, 0, place] @ frame(t - context + place)
        h = g(z)
        for layer in (1, 2):
            h = g(weight[f"convolutions.{layer}.conv.weight"][:, :, 0, 0] @ h + weight[f"convolutions.{layer}.conv.bias"])
        h3.append(h)
    inputs = [weight["recurrences.0.weight_ih"][0] @ h + weight["recurrences.0.bias"][0] for h in h3]
    both = []
    for direction, order in enumerate((range(len(h3)), reversed(range(len(h3))))[: len(weight["recurrences.0.weight_hh"])]):
        state, states = x.new_zeros(len(h3[0])), {}
        for t in order:
            state = states[t] = g(inputs[t] + weight["recurrences.0.weight_hh"][direction] @ state)
        both.append(states)
    rows = []
    for t in range(len(h3)):
        h5 = g(weight["fully_connected.0.weight"] @ sum(states[t] for states in both) + weight["fully_connected.0.bias"])
        z = weight["output.weight"] @ h5 + weight["output.bias"]
        rows.append(z - z.exp().sum().log())
    return torch.stack(rows)


def spread(model):
    """Biases too, and weights so large that some units reach the clip."""
    for name, value in model.named_parameters():
        value.data += 0.3 * torch.randn_like(value) if name.endswith("bias") else 0.0
    model.convolutions[0].conv.weight.data *= 6
    return model.double().eval()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_equals_the_equations_in_value_and_gradient_whatever_stands_in_the_padding(bidirectional):
    model = spread(DeepSpeech1(5, 7, context=2, hidden=6, bidirectional=bidirectional))
    lengths = torch.tensor([12, 9, 1])
    features = 3 * torch.randn(3, 1, 5, 12, dtype=torch.float64)
    expected = [written_out(model, features[i, 0, :, :n]) for i, n in enumerate(lengths.tolist())]
    weights = torch.randn(6, 3, 7, dtype=torch.float64)  # of the sum whose gradient is compared
    sum((rows * weights[: len(rows), i]).sum() for i, rows in enumerate(expected)).backward()
    gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    seen = []
    model.convolutions[0].register_forward_hook(lambda _layer, _inputs, output: seen.append(output[0]))
    for i, n in enumerate(lengths.tolist()):
        features[i, :, :, n:] = 1e6  # what stands in the padding
    log_probs, output_lengths = model(features, lengths)
    assert len(model.recurrences[0].weight_hh) == 1 + bidirectional
    assert output_lengths.tolist() == [6, 5, 1] == [len(rows) for rows in expected]
    assert (seen[0] == 20).any() and ((seen[0] > 0) & (seen[0] < 20)).any() and (seen[0] == 0).any()
    for i, rows in enumerate(expected):
        torch.testing.assert_close(log_probs[: len(rows), i], rows, atol=1e-10, rtol=0)
    (log_probs * weights)[torch.arange(6)[:, None] < output_lengths].sum().backward()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.grad, gradients[name], atol=1e-9, rtol=1e-9)


def test_layer_1_sees_each_second_frame_with_its_neighbours_and_zeros_outside():
    model = DeepSpeech1(2, 4, context=1, hidden=6)
    torch.nn.init.zeros_(model.convolutions[0].conv.bias)
    model.convolutions[0].conv.weight.data = torch.eye(6).view(6, 3, 2).transpose(1, 2)[:, :, None]  # gives back what it sees
    features = torch.tensor([[1.0, 2, 3, 4, 5, 19], [6.0, 7, 8, 9, 10, 19]])[None, None]
    seen = []
    model.convolutions[0].register_forward_hook(lambda _layer, _inputs, output: seen.append(output[0][0, :, 0]))
    model.eval()(features, torch.tensor([5]))  # the sixth frame is padding
    assert seen[0].t().tolist() == [[0, 0, 1, 6, 2, 7], [2, 7, 3, 8, 4, 9], [4, 9, 5, 10, 0, 0]]


def test_output_lengths_are_half_the_frames_rounded_up():
    model = DeepSpeech1(2, 4, context=4, hidden=3).eval()
    for frames in (1, 2, 3, 7, 8):
        log_probs, lengths = model(torch.randn(1, 1, 2, frames), torch.tensor([frames]))
        assert len(log_probs) == int(lengths) == int(model.output_lengths(torch.tensor([frames]))) == (frames + 1) // 2
    assert model.time_stride == 2 and model.seconds_per_output == pytest.approx(0.02)


def test_dropout_is_on_the_feed_forward_layers_only():
    model, seen = DeepSpeech1(9, 5, hidden=400, dropout=0.5), {}
    layers = [*model.convolutions, model.recurrences[0], model.fully_connected, model.output]
    for number, layer in enumerate(layers, start=1):
        layer.register_forward_hook(lambda _layer, inputs, output, n=number: seen.update({n: (inputs[0], output)}))
    features, lengths = torch.randn(1, 1, 9, 30), torch.tensor([30])
    model.train()(features, lengths)
    assert torch.equal(seen[5][0], seen[4][1])  # nothing is dropped of the recurrence
    for layer in (1, 2, 3, 5):
        output = seen[layer][1][0][:, :, 0].permute(2, 0, 1) if layer < 4 else seen[layer][1]  # (T', B, H)
        passed = seen[layer + 1][0] if layer > 2 else seen[layer + 1][0][:, :, 0].permute(2, 0, 1)
        assert float((passed[output > 0] == 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(model.eval()(features, lengths)[0], model(features, lengths)[0])


def test_the_sizes_of_the_paper():
    with torch.device("meta"):
        model = DeepSpeech1(161, 29)
    h = 2048
    weights = (161 * 19 + 1) * h + 2 * (h + 1) * h + (h + 1) * h + 2 * h * h + (h + 1) * h + (h + 1) * 29
    assert sum(p.numel() for p in model.parameters()) == weights
    assert (model.context, model.dropout.p, len(model.recurrences)) == (9, 0.05, 1)


def test_at_first_the_layers_keep_the_size_of_what_goes_through_them():
    model, sizes = DeepSpeech1(33, 29, hidden=400).eval(), []
    for layer in model.convolutions:
        layer.register_forward_hook(lambda _layer, _inputs, output: sizes.append(float(output[0].square().mean().sqrt())))
    with torch.no_grad():
        model(torch.randn(1, 1, 33, 200), torch.tensor([200]))
    assert sizes == pytest.approx([1.0] * 3, abs=0.2)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"context": -1}, "context must be at least 0, not -1"),
        ({"hidden": 0}, "must be at least 1"),
        ({"dropout": 2.0}, "dropout"),
    ],
)
def test_sizes_that_no_model_can_have_are_told(sizes, message):
    with pytest.raises(ValueError, match=message):
        DeepSpeech1(5, 7, **{"hidden": 4} | sizes)


def test_few_steps_on_the_embedded_voice_lower_the_loss():
    encoder, speech = CharEncoder(), generate_synthetic_dataset(6, 8000, max_words=1)
    model = dataclasses.replace(DS1, features=Features(sample_rate=8000, n_fft=64), rnn_hidden=24).build(encoder)
    losses = train(model, speech, encoder, epochs=4, batch_size=3, lr=3e-3)
    assert losses[-1] < 0.8 * losses[0]


# --- Settings and checkpoints ------------------------------------------------------------------------------------------------


def test_a_checkpoint_gives_back_the_same_model(tmp_path):
    encoder = CharEncoder("abc ")
    for config in (DS1, dataclasses.replace(DS1, bidirectional=False, context=0)):
        model = config.build(encoder).eval()
        save_checkpoint(tmp_path / "c.pt", model, config, encoder)
        loaded = load_checkpoint(tmp_path / "c.pt")
        assert type(loaded.model) is DeepSpeech1 and loaded.config == config and loaded.model.dropout.p == 0.1
        features, lengths = torch.randn(2, 1, 33, 21), torch.tensor([21, 14])
        assert torch.equal(loaded.model(features, lengths)[0], model(features, lengths)[0])


def test_weights_that_do_not_fit_are_told_by_name(tmp_path):
    other = dataclasses.replace(DS1, context=4)
    save_checkpoint(tmp_path / "c.pt", other.build(CharEncoder()), DS1, CharEncoder())
    with pytest.raises(CheckpointError, match=r"do not fit the settings stored with them \(size mismatch for convolutions\.0"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "ds1", "n_conv": 1, "rnn_type": "rnn"}, "n_conv, rnn_type: not settings of model 'ds1'"),
        ({"context": 5}, "context: not settings of model 'ds2'"),
        ({"model": "ds3"}, "model must be one of ds2, ds1, not 'ds3'"),
    ],
)
def test_settings_of_the_other_model_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**settings)


def test_without_a_word_the_model_is_deep_speech_2():
    assert type(ModelConfig(n_conv=1, n_rnn=1, rnn_hidden=4).build(CharEncoder())) is DeepSpeech2


# --- Streams -----------------------------------------------------------------------------------------------------------------


def forward_only(**settings):
    statistics = CorpusStatistics(0.1, (0.5,) * 33, (2.0,) * 33)
    features = Features(sample_rate=8000, n_fft=64, normalisation="corpus", corpus=statistics)
    config = dataclasses.replace(DS1, features=features, bidirectional=False, **settings)
    return Checkpoint(config.build(CharEncoder()).eval(), config, CharEncoder())


@pytest.mark.parametrize("context", [0, 3, 9])
def test_pieces_with_the_state_carried_are_the_whole(context):
    trained, audio = forward_only(context=context), generate_synthetic_dataset(1, 8000)[0].audio.numpy()
    features = trained.model.features(torch.from_numpy(audio))[None, None]
    with torch.no_grad():
        whole = trained.model(features, torch.tensor([features.shape[3]]))[0][:, 0]
    for size in (37, 400, 3000):
        recognizer = StreamingRecognizer(trained)
        rows = [recognizer.log_probs(audio[place : place + size]) for place in range(0, len(audio), size)]
        rows = torch.cat([*rows, recognizer.log_probs(audio[:0], last=True)])
        torch.testing.assert_close(rows, whole, atol=1e-5, rtol=0)


def test_streams_in_a_batch_hear_what_each_hears_alone():
    trained = forward_only()
    audio = [sample.audio.numpy()[:4000] for sample in generate_synthetic_dataset(2, 8000)]
    alone, together = ([StreamingRecognizer(trained) for _ in audio] for _ in range(2))
    for place in range(0, 4000, 800):
        pieces = [samples[place : place + 800] for samples in audio]
        expected = [recognizer.accept(piece).text for recognizer, piece in zip(alone, pieces, strict=True)]
        assert [heard.text for heard in accept_together(together, pieces)] == expected


def test_a_bidirectional_model_hears_no_stream_and_says_what_does():
    trained = Checkpoint(DS1.build(CharEncoder()), DS1, CharEncoder())
    with pytest.raises(CheckpointError, match=r"bidirectional.*train_minimal\.py --model ds1 --forward-only$"):
        StreamingRecognizer(trained)
