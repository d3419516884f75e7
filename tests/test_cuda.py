"""Everything that runs another way on a GPU, against the same on the CPU: python -m pytest -m cuda.

Each test also runs on the CPU, which there compares it with itself: so its body is known to work before a GPU sees it.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import soundfile
import torch
from torch import nn

from decoding.tuning import network_outputs
from implementation import (
    CharEncoder,
    DeepSpeech2,
    RecurrentLayer,
    collate_batch,
    ctc_loss,
    evaluate,
    generate_synthetic_audio,
    generate_synthetic_dataset,
)
from models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from models.transcription import Decoder, transcribe
from trainers import SMALL, make_trainer, weights
from training import machine
from training.loop import Trainer

ENCODER = CharEncoder()
LENGTHS = torch.tensor([7, 3, 5, 1])
no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, no_cuda])])


@pytest.fixture(autouse=True)
def whole_float32(monkeypatch):
    """cuDNN may round factors to TF32's 10 bits by default; here it must not, so that the CPU's numbers come out."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def bf16_allowed(monkeypatch, device):
    """On a CPU without the hardware bf16 is refused; its products are the same in software."""
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: True)
    if device == "cuda" and not machine.cuda_has_bf16(torch.device("cuda")):
        pytest.skip("this GPU does not multiply bf16")


def random_layer(rnn_type: str, batch_norm: str) -> RecurrentLayer:
    layer = RecurrentLayer(3, 4, rnn_type, batch_norm).double()
    for name, parameter in layer.named_parameters():
        nn.init.normal_(parameter, mean=float(name == "norm.weight"), std=0.4)
    return layer


def output_and_gradients(layer: RecurrentLayer, x: torch.Tensor, device: str) -> list[torch.Tensor]:
    """What a layer gives on a device, with gradients in training and running averages, all brought back to the CPU."""
    layer, x = layer.to(device), x.to(device).requires_grad_()
    y = layer(x, LENGTHS.to(device))
    found = [y, *layer.norm.buffers()]
    if layer.training:  # cuDNN has no gradient in evaluation mode
        found += torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()])
    return [tensor.detach().cpu() for tensor in found]


@devices
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_norm", ["output", "input", "none"])
@pytest.mark.parametrize("rnn_type", ["gru", "lstm", "rnn"])
def test_a_layer_has_the_cpus_values_gradients_and_running_averages(device, rnn_type, batch_norm, training, monkeypatch):
    layer, x = random_layer(rnn_type, batch_norm).train(training), torch.randn(7, 4, 3, dtype=torch.float64)
    for utterance, length in enumerate(LENGTHS.tolist()):
        x[length:, utterance] = 0
    if layer.norm is None:
        layer.norm = nn.Module()  # without averages
    expected = output_and_gradients(deepcopy(layer), x.clone(), "cpu")
    kernels, real = [], {name: getattr(torch, name) for name in ("gru", "lstm")}
    for name in real:
        monkeypatch.setattr(torch, name, lambda *inputs, name=name: (kernels.append(name), real[name](*inputs))[1])
    found = output_and_gradients(layer, x.clone(), device)
    assert kernels == ([rnn_type] if device == "cuda" and rnn_type in real else [])  # cuDNN's, where it has one
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-7)


@devices
@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_a_forward_only_layer_goes_on_where_it_stopped(device, rnn_type):
    layer, x = RecurrentLayer(3, 4, rnn_type, bidirectional=False).double().eval().to(device), torch.randn(9, 2, 3).double()
    whole, end = layer.run(x.to(device), torch.tensor([9, 9]))
    first, state = layer.run(x[:5].to(device), torch.tensor([5, 5]))
    second, last = layer.run(x[5:].to(device), torch.tensor([4, 4]), state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, end)


@devices
@pytest.mark.parametrize("settings", [{"rnn_type": "gru"}, {"rnn_type": "lstm", "batch_norm": "input"}, {"rnn_type": "rnn"}])
def test_bf16_products_leave_statistics_and_loss_in_float32(device, settings):
    model = DeepSpeech2(n_freq=33, vocab_size=29, n_rnn=2, rnn_hidden=32, **settings).to(device).train()
    batch = collate_batch(generate_synthetic_dataset(3, max_words=2), ENCODER, n_fft=64).to(device)
    losses = []
    for enabled in (False, True):
        with torch.autocast(device, torch.bfloat16, enabled=enabled):
            log_probs, lengths = model(batch.features, batch.feature_lengths)
        assert log_probs.dtype == torch.float32
        losses.append(ctc_loss(log_probs, batch.targets, lengths, batch.target_lengths).mean())
    losses[1].backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.02) and losses[1].item() != losses[0].item()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(buffer.dtype == torch.float32 for buffer in model.buffers())


@devices
@pytest.mark.parametrize(("precision", "rel"), [("fp32", 0.02), ("bf16", 0.1)])
def test_training_learns_as_on_the_cpu(device, precision, rel, bf16_allowed):
    settings = {"epochs": 2, "batch_size": 1, "schedule": "constant"}
    plain, trainer = make_trainer(**settings), make_trainer(device=device, precision=precision, **settings)
    plain.model.dropout.p = trainer.model.dropout.p = 0.0  # each device draws other random numbers
    expected, found = ([run.run_epoch().loss for _ in range(2)] for run in (plain, trainer))
    assert found == pytest.approx(expected, rel=rel) and found[1] < 0.9 * found[0]
    assert all(p.device.type == device and p.dtype == torch.float32 for p in trainer.model.parameters())


def take_up(path, device: str, **settings) -> Trainer:
    """A new trainer with the state of a checkpoint, as a resumed run makes it."""
    saved, trainer = load_checkpoint(path, device), make_trainer(device=device, **settings)
    trainer.model.load_state_dict(saved.model.state_dict())
    trainer.load_state_dict(saved.training)
    return trainer


@devices
def test_a_resumed_run_with_dropout_ends_as_the_whole_one(device, tmp_path):
    """Gradients of CTC and of convolutions differ in the last bits from run to run on a GPU; dropout differs by far more."""
    settings = {"epochs": 2, "optimizer": "sgd", "lr": 1e-4, "schedule": "constant"}
    whole, part = (make_trainer(device=device, **settings) for _ in range(2))
    for trainer in (whole, part):  # the same masks at first: both draw them from the same place
        torch.manual_seed(5)
        trainer.model.dropout.p = 0.5
        trainer.run_epoch()
        if trainer is part:
            save_checkpoint(tmp_path / "last.pt", part.model, SMALL, ENCODER, part.state_dict())
        else:
            trainer.run_epoch()
    ends = []
    for seed in (None, 7):
        torch.manual_seed(99)  # whatever was drawn before does not matter
        resumed = take_up(tmp_path / "last.pt", device, **settings)
        resumed.model.dropout.p = 0.5
        if seed is not None:
            torch.manual_seed(seed)  # as if the random numbers had not been kept
        resumed.run_epoch()
        ends.append(float((weights(resumed) - weights(whole)).abs().max()))
    assert ends[0] < 0.02 * ends[1] and ends[1] > 1e-3


@devices
def test_a_run_can_be_taken_up_on_the_cpu(device, tmp_path):
    begun = make_trainer(epochs=2, device=device)
    begun.run_epoch()
    save_checkpoint(tmp_path / "last.pt", begun.model, SMALL, ENCODER, begun.state_dict())
    resumed = take_up(tmp_path / "last.pt", "cpu", epochs=2)
    assert resumed.epoch == 1
    first, second = begun.run_epoch().loss, resumed.run_epoch().loss
    assert second == pytest.approx(first, rel=0.1)  # other dropout


@devices
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_trying_the_longest_minibatch_changes_nothing(device, precision, bf16_allowed):
    trainer = make_trainer(device=device, precision=precision)
    trainer.model.eval().dropout.p = 0.5
    before = [value.clone() for value in trainer.model.state_dict().values()]
    numbers = [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if device == "cuda" else [])]
    trainer.try_longest_batch()
    after = [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if device == "cuda" else [])]
    assert all(map(torch.equal, numbers, after)) and not trainer.model.training
    assert all(map(torch.equal, before, trainer.model.state_dict().values()))
    assert all(p.grad is None for p in trainer.model.parameters())


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    """After an epoch, with weights of the output that make it say symbols of all kinds."""
    trainer = make_trainer(epochs=1)
    trainer.run_epoch()
    nn.init.normal_(trainer.model.output.weight, std=5)
    return Checkpoint(trainer.model.eval(), SMALL, ENCODER)


def moved(checkpoint: Checkpoint, device: str) -> Checkpoint:
    return Checkpoint(deepcopy(checkpoint.model).to(device), checkpoint.config, checkpoint.encoder)


@devices
def test_evaluation_finds_what_it_finds_on_the_cpu(trained, device):
    speech = generate_synthetic_dataset(5, max_words=2)
    model = moved(trained, device).model
    found, expected = (evaluate(one, speech, ENCODER) for one in (model, trained.model))
    assert found["hypotheses"] == expected["hypotheses"] and any(found["hypotheses"])
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4) and found["blank_share"] == expected["blank_share"]
    for one, other in zip(network_outputs(model, speech, ENCODER), network_outputs(trained.model, speech, ENCODER), strict=True):
        torch.testing.assert_close(torch.tensor(one.log_probs), torch.tensor(other.log_probs), atol=1e-3, rtol=1e-3)


@devices
@pytest.mark.parametrize("decoder", [Decoder(), Decoder(beam=4)], ids=["greedy", "beam"])
def test_transcribing_gives_the_cpus_text_and_times(trained, device, decoder, tmp_path):
    soundfile.write(tmp_path / "a.wav", generate_synthetic_audio("hello moon", speaker=1).numpy(), 16000)
    found, expected = (transcribe(one, tmp_path / "a.wav", decoder, 2, True) for one in (moved(trained, device), trained))
    assert (found["text"], found["words"], found["characters"]) == tuple(expected[k] for k in ("text", "words", "characters"))
    assert found["text"] and [n["text"] for n in found.get("nbest", [])] == [n["text"] for n in expected.get("nbest", [])]


@pytest.mark.cuda
@no_cuda
def test_the_gpu_is_chosen_by_itself_and_bf16_where_it_has_it():
    device = machine.choose_device("auto")
    assert device.type == "cuda"
    expected = torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float32
    assert machine.choose_precision("auto", device) == expected
    with pytest.raises(ValueError, match="there is no device 'cuda:99'; this machine has: cpu, cuda"):
        machine.choose_device("cuda:99")
