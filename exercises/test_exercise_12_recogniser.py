"""Check of exercise 12: the whole recogniser, from the learner's own parts."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from unittest.mock import patch

import hypothesis.strategies as st
import implementation
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from given import SpectrogramBatch, generate_synthetic_audio
from ladder import Failed, Ladder, Todo, load
from sizes import for_sizes

RATE = 0.10  # word error rate to be reached
WORDS = "hello moon tree all see yes no stop green water".split()
EPOCHS, UTTERANCES = 12, 200

LOSS = "use your own loss and gradient"
ladder = Ladder(
    "exercise_12_recogniser",
    names=("DeepSpeech2", "train_step"),
    forbidden=dict.fromkeys(("ctc_loss", "CTCLoss", "_ctc_loss"), LOSS),
    operations=("ctc_loss",),
)


def finished_parts(answer: types.ModuleType) -> None:
    """Exercises 1 to 11 must be done; their checks are not run again where they were passed with the same text."""
    open_ones = []
    for exercise, module in answer.parts.modules.items():
        try:
            exercise.ladder.climb(load(module.path, module.source), diagnose=False)
        except Todo:
            open_ones.append(str(exercise.number))
        except Failed as failed:
            why = "this exercise joins your parts; each must pass its own check first"
            what = f"exercise {exercise.number}, {exercise.title}: {failed.what}"
            raise Failed(what, failed.given, failed.got, failed.wanted, failed.where, why, elsewhere=True) from None
    if open_ones:
        raise Todo(note=f"it needs exercise {', '.join(open_ones)}")


def watch(check, function: Callable, place: int, what: str, wanted: list[int]) -> Callable:
    """The same function, which must be given these lengths, or some neighbours of them, as its argument number ``place``."""
    signature = inspect.signature(function)

    def watched(*args, **kwargs):
        lengths = torch.as_tensor(list(signature.bind(*args, **kwargs).arguments.values())[place]).tolist()
        parts = [wanted[i:j] for i in range(len(wanted)) for j in range(i + 1, len(wanted) + 1)]  # one call for each is right too
        check.equal(what, lengths, lengths if lengths in parts else wanted)
        return function(*args, **kwargs)

    return watched


def model_of(answer, seed: int = 0, **settings) -> nn.Module:
    """A small model in float64 with shaken batch norm."""
    torch.manual_seed(seed)
    settings = {"n_conv": 1, "n_rnn": 1, "rnn_hidden": 6, "batch_norm": "input"} | settings
    model = answer.DeepSpeech2(9, 5, **settings).double()
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.uniform_(0.5, 1.5) if name.endswith("var") else value.uniform_(-0.5, 0.5)
        for name, value in model.named_parameters():
            if "norm." in name:
                value.uniform_(0.3, 1.2)
    return model


def library_model(model: nn.Module, **settings) -> nn.Module:
    """The library's model with the same weights."""
    settings = {"n_conv": 1, "n_rnn": 1, "rnn_hidden": 6, "batch_norm": "input"} | settings
    theirs = implementation.DeepSpeech2(9, 5, **settings).double()
    theirs.load_state_dict(model.state_dict())
    return theirs


def batch_of(seed: int, lengths: tuple[int, ...], texts: tuple[list[int], ...]) -> SpectrogramBatch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), 1, 9, max(lengths), generator=generator, dtype=torch.float64)
    for row, length in zip(features, lengths, strict=True):
        row[..., length:] = 0
    labels = [label for text in texts for label in text]
    return SpectrogramBatch(
        features, torch.tensor(lengths), torch.tensor(labels), torch.tensor([len(text) for text in texts]), ["?"] * len(texts)
    )


@ladder.step("your own parts are done; shape and dtype")
def shapes(answer, check):
    finished_parts(answer)
    model = answer.DeepSpeech2(9, 5, n_conv=1, n_rnn=1, rnn_hidden=6, batch_norm="input")
    got = check.call(model.output_lengths, torch.tensor([20, 13]))
    check.close("lengths after one convolution of stride 2", got, torch.tensor([10, 7]))
    for layer in model.recurrences:
        layer.forward = watch(check, layer.forward, 1, "the lengths that a recurrence gets", [10, 7])
    result = check.call(model, torch.randn(2, 1, 9, 20), torch.tensor([20, 13]))
    check.that(
        "the result of the model",
        isinstance(result, tuple) and len(result) == 2,
        type(result).__name__,
        "a pair: log_probs, lengths",
    )
    check.close("log_probs, apart from their values", result[0] * 0, torch.zeros(10, 2, 5))
    check.close("the lengths that the model returns", result[1], torch.tensor([10, 7]))
    batch = batch_of(0, (20, 13), ([1, 2], [3]))
    batch.features = batch.features.float()
    ctc = {name: value for name, value in vars(answer).items() if name in ("ctc_loss_by_recursion", "ctc_gradient")}
    what = "the output_lengths that your CTC functions get"
    with patch.multiple(answer, **{name: watch(check, value, 2, what, [10, 7]) for name, value in ctc.items()}):
        loss = check.call(answer.train_step, model, batch, torch.optim.SGD(model.parameters(), lr=0.1))
    check.that("the type of the loss", isinstance(loss, float), type(loss).__name__, "float")


@ladder.step("the worked example: lengths")
def worked_example(answer, check):
    model = answer.DeepSpeech2(9, 5, n_conv=2, n_rnn=1, rnn_hidden=4, batch_norm="input", time_strides=(2, 2))
    got = check.call(model.output_lengths, torch.tensor([101, 7, 1]))
    check.close("lengths after two strides of 2", got, torch.tensor([26, 2, 1]))
    model = answer.DeepSpeech2(9, 5, n_conv=3, n_rnn=1, rnn_hidden=4, batch_norm="input")
    check.close("lengths after strides 2, 1, 1", check.call(model.output_lengths, torch.tensor([101, 8])), torch.tensor([51, 4]))
    model = answer.DeepSpeech2(9, 5, n_conv=3, n_rnn=1, rnn_hidden=4, batch_norm="input", time_strides=(1, 2, 3))
    check.close("lengths after strides 1, 2, 3", check.call(model.output_lengths, torch.tensor([101, 8])), torch.tensor([17, 2]))


@ladder.step("the library's model with the same weights")
def oracle_forward(answer, check):
    batch = batch_of(1, (20, 13, 3), ([1], [1], [1]))
    for seed, settings in enumerate([{}, {"rnn_type": "rnn"}, {"n_conv": 2, "n_rnn": 2, "time_strides": (1, 2)}]):
        model = model_of(answer, seed, **settings)
        theirs = library_model(model, **settings)
        for mode in (False, True):
            model.train(mode), theirs.train(mode)
            wanted, lengths = theirs(batch.features, batch.feature_lengths)
            got, got_lengths = check.call(model, batch.features, batch.feature_lengths)
            where = f"{settings or 'one convolution, one GRU'}, {'training' if mode else 'evaluation'}"
            check.close(f"the lengths, {where}", got_lengths, lengths)
            valid = implementation.sequence_mask(lengths, len(wanted)).t()[:, :, None]
            check.close(f"log_probs within the lengths, {where}", got * valid, (wanted * valid).detach())


@ladder.step("properties: probabilities, padding, neighbours, dropout")
def properties(answer, check):
    batch, model = batch_of(2, (24, 9, 16), ([1], [1], [1])), model_of(answer, 5).eval()
    got, lengths = check.call(model, batch.features, batch.feature_lengths)
    check.close("the sum of the probabilities in each frame", got.exp().sum(-1), torch.ones(12, 3, dtype=torch.float64))
    for b, n in enumerate(batch.feature_lengths.tolist()):
        alone, _ = check.call(model, batch.features[b : b + 1, ..., :n], batch.feature_lengths[b : b + 1])
        check.close(f"log_probs of utterance {b} alone", alone[:, 0], got[: lengths[b], b].detach())
    wider = F.pad(batch.features, (0, 10))
    more, _ = check.call(model, wider, batch.feature_lengths)
    check.equal("the shape of log_probs with 10 more frames of padding, 5 after the stride", tuple(more.shape), (17, 3, 5))
    for b, n in enumerate(lengths.tolist()):
        check.close(f"log_probs of utterance {b} with 10 more frames of padding", more[:n, b], got[:n, b].detach())
    calls: list = []
    model = model_of(answer, 6, n_rnn=2, dropout=1.0)
    model.dropout.register_forward_hook(lambda _, given, result: calls.append(given[0].numel()))
    got, _ = check.call(model, batch.features, batch.feature_lengths, once=True)
    wanted = model.output.bias.log_softmax(-1).expand(12, 3, 5).detach()
    check.close("log_probs in training with dropout 1 (nothing but the output's bias is left)", got, wanted)
    why = "apply dropout before each recurrence and before the output, to all numbers that go in"
    check.equal("how many numbers go into dropout, each time", calls, [12 * 3 * 160, 12 * 3 * 6, 12 * 3 * 6], why)


@ladder.step("train_step against torch's CTC loss and one step by hand")
def oracle_step(answer, check):
    batch = batch_of(3, (22, 14, 18), ([1, 2, 2], [3], [4, 1]))
    cases = (
        ("the gradient below max_norm", 1.0, 400.0),
        ("the gradient above 400", 1e5, 400.0),
        ("the gradient clipped to 0.05", 1.0, 0.05),
    )
    for what, scale, max_norm in cases:
        model = model_of(answer, 7)
        with torch.no_grad():
            model.output.weight *= scale
        theirs = library_model(model)
        model.eval()  # as an evaluation leaves it
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 3.0)  # left from before
        optimizer, other = (torch.optim.SGD(one.parameters(), lr=0.5, momentum=0.9) for one in (model, theirs))
        kept = batch.features.clone()
        for step in range(2 if scale == 1 else 1):
            log_probs, lengths = theirs(batch.features, batch.feature_lengths)
            loss = F.ctc_loss(log_probs, batch.targets, lengths, batch.target_lengths, reduction="none").mean()
            gradients = torch.autograd.grad(loss, list(theirs.parameters()))
            norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients))
            for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
                parameter.grad = gradient * min(1.0, max_norm / float(norm))
            other.step()
            got = check.call(answer.train_step, model, batch, optimizer, *(() if max_norm == 400 else (max_norm,)))
            check.number(f"the loss of step {step + 1}, {what}", got, loss.item(), 1e-9)
            for name, value in theirs.state_dict().items():
                check.close(f"{name} after step {step + 1}, {what}", model.state_dict()[name], value, (1e-7, 1e-9))
        check.that("that the model is in training mode afterwards", model.training, "evaluation", "training")
        check.equal("the learning rate of the optimizer afterwards", optimizer.param_groups[0]["lr"], 0.5)
        check.close("the features of the batch afterwards", batch.features, kept)


@ladder.step("traps: too few frames, one utterance")
def traps(answer, check):
    batch = batch_of(4, (20, 6), ([1, 2], [3, 3, 3]))  # 3 output frames for 3 equal labels
    model = model_of(answer, 8)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters())
    check.raises("an utterance with too few frames for its text", ValueError, answer.train_step, model, batch, optimizer)
    for name, value in model.named_parameters():
        check.close(f"{name} after that (no weight is updated)", value, before[name])
    batch = batch_of(5, (15,), ([4, 4],))
    model = model_of(answer, 9, rnn_type="rnn")
    theirs = library_model(model, rnn_type="rnn")
    log_probs, lengths = theirs(batch.features, batch.feature_lengths)
    loss = F.ctc_loss(log_probs, batch.targets, lengths, batch.target_lengths, reduction="none").mean()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = [check.call(answer.train_step, model, batch, optimizer) for _ in range(12)]
    check.number("the first loss of one utterance", losses[0], loss.item(), 1e-9)
    check.that(
        "that 12 steps on one utterance halve its loss", losses[-1] < losses[0] / 2, losses[-1], f"below {losses[0] / 2:.3g}"
    )


@ladder.also
def kinds_of_batches(answer, check):
    frames = (20, 6, 9)  # 10, 3 and 5 after the stride
    batch = batch_of(6, frames, ([1, 2, 1, 4, 2], [3, 3], []))  # 3 3 in 3 frames just fits; nothing is said in the third
    model = model_of(answer, 10)
    theirs = library_model(model)
    log_probs, lengths = theirs(batch.features, batch.feature_lengths)
    loss = F.ctc_loss(log_probs, batch.targets, lengths, batch.target_lengths, reduction="none").mean()
    gradients = torch.autograd.grad(loss, list(theirs.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    steps: list = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    kept = [getattr(batch, name).clone() for name in ("feature_lengths", "targets", "target_lengths")]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    got = check.call(answer.train_step, model, batch, optimizer)
    check.number("the loss where a text just fits into its frames and one is empty", got, loss.item(), 1e-9)
    check.equal("how often the optimizer steps in one train_step", len(steps), 1)
    for old, new, gradient in zip(before, model.parameters(), gradients, strict=True):
        check.close("the weights after that step", new, old - 0.1 * gradient, (1e-7, 1e-9))
    for name, value in zip(("feature_lengths", "targets", "target_lengths"), kept, strict=True):
        check.close(f"{name} of the batch afterwards", getattr(batch, name), value)
    for settings in (
        {"n_conv": 3, "n_rnn": 1, "clip": 0.3, "rnn_type": "rnn"},
        {"n_conv": 2, "n_rnn": 3, "time_strides": (2, 2)},
    ):
        model = model_of(answer, 11, **settings).eval()
        theirs = library_model(model, **settings).eval()
        wanted, lengths = theirs(batch.features, batch.feature_lengths)
        with torch.no_grad():
            got, got_lengths = check.call(model, batch.features, batch.feature_lengths.int())
        check.close(f"the lengths, {settings}, lengths in int32", got_lengths, lengths.int())
        valid = implementation.sequence_mask(lengths, len(wanted)).t()[:, :, None]
        check.close(f"log_probs within the lengths, {settings}, under torch.no_grad()", got * valid, (wanted * valid).detach())
        lengths = theirs.output_lengths(torch.tensor([9, 20, 6]))
        got = check.call(model, batch.features, torch.tensor([9, 20, 6]))[1]
        check.close(f"the lengths, {settings}, other lengths than before", got, lengths)


@ladder.also
def any_size(answer, check):
    @for_sizes(6, lengths=st.lists(st.integers(3, 14), min_size=1, max_size=3), n_conv=st.integers(1, 2),
               rnn_type=st.sampled_from(["gru", "rnn"]))  # fmt: skip
    def models(lengths: list[int], n_conv: int, rnn_type: str) -> None:
        settings = {"n_conv": n_conv, "rnn_type": rnn_type}
        batch, model = batch_of(12, tuple(lengths), ([], [1], [2, 3])[: len(lengths)]), model_of(answer, 12, **settings)
        theirs = library_model(model, **settings)
        log_probs, frames = theirs(batch.features, batch.feature_lengths)
        labels = torch.tensor([[0, 0], [1, 0], [2, 3]])[: len(lengths)]
        loss = F.ctc_loss(log_probs, labels, frames, batch.target_lengths, reduction="none").mean()
        gradients = torch.autograd.grad(loss, list(theirs.parameters()))
        norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients))
        before = [parameter.detach().clone() for parameter in model.parameters()]
        parts = [{"params": [parameter]} for parameter in model.parameters()]
        got = check.call(answer.train_step, model, batch, torch.optim.SGD(parts, lr=0.1), 1.5)
        what = f"{lengths} feature frames, {settings}"
        check.number(f"the loss, {what}", got, loss.item(), 1e-7)
        for old, new, gradient in zip(before, model.parameters(), gradients, strict=True):
            wanted = old - 0.1 * gradient * min(1.0, 1.5 / float(norm))
            check.close(f"the weights after one step, {what}", new, wanted.detach(), (1e-6, 1e-8))


@functools.cache
def voices(count: int, first: int, last: int, seed: int) -> list[tuple[torch.Tensor, str]]:
    """Single words, each by one of the voices first .. last - 1."""
    np.random.seed(seed), torch.manual_seed(seed)
    texts, speakers = np.random.choice(WORDS, count), np.random.randint(first, last, count)
    return [
        (generate_synthetic_audio(str(text), 16000, int(speaker)), str(text))
        for text, speaker in zip(texts, speakers, strict=True)
    ]


def collate(parts, encoder, utterances: list[tuple[torch.Tensor, str]]) -> SpectrogramBatch:
    """A padded batch with the learner's spectrogram and labels."""
    features = [parts.compute_spectrogram(audio, 16000, 20.0, 16.0, 128) for audio, _ in utterances]  # 32 ms an output frame
    labels = [encoder.encode(text) for _, text in utterances]
    frames = [feature.shape[1] for feature in features]
    return SpectrogramBatch(
        torch.stack([F.pad(feature, (0, max(frames) - n)) for feature, n in zip(features, frames, strict=True)])[:, None],
        torch.tensor(frames),
        torch.tensor([label for row in labels for label in row]),
        torch.tensor([len(row) for row in labels]),
        [text for _, text in utterances],
    )


def train(answer, seed: int, report=lambda line: None) -> tuple[list[str], list[str], list[str]]:
    """Trains from the beginning; references, greedy and beam-searched texts of 100 words by new voices."""
    parts = answer.parts
    training, unheard, encoder = voices(UTTERANCES, 0, 500, seed), voices(100, 500, 600, 1000 + seed), parts.CharEncoder()
    torch.manual_seed(seed)
    model = answer.DeepSpeech2(65, encoder.vocab_size, n_conv=1, n_rnn=1, rnn_hidden=64, rnn_type="gru", batch_norm="input")
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    sampler = parts.SortaGradBatchSampler([len(audio) / 16000 for audio, _ in training], 10, seed=seed)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        losses = [answer.train_step(model, collate(parts, encoder, [training[i] for i in batch]), optimizer) for batch in sampler]
        report(f"     epoch {epoch + 1:2} of {EPOCHS}: loss {sum(losses) / len(losses):.2f}")
    batch = collate(parts, encoder, unheard)
    with torch.no_grad():
        log_probs, lengths = model.eval()(batch.features, batch.feature_lengths)
    searched = []
    for b, length in enumerate(lengths.tolist()):
        best = parts.prefix_beam_search(log_probs[:length, b].double().numpy(), 4, cutoff=0.99)[0]
        searched.append(encoder.decode(best.labels))
    return batch.texts, parts.greedy_decode(log_probs, encoder, lengths), searched


@ladder.step(f"training: at most {100 * RATE:.0f} % word errors on new voices", slow=True)
def training(answer, check):
    references, greedy, searched = train(answer, 0, ladder.tell)
    for name, hypotheses in (("greedy decoding", greedy), ("prefix beam search", searched)):
        counts = answer.parts.count_word_errors(references, hypotheses)
        rate = answer.parts.word_error_rate(references, hypotheses)
        ladder.tell(f"     {name}: {counts}, such as {hypotheses[:5]} for {references[:5]}")
        check.given = f"{UTTERANCES} words to train on, {EPOCHS} epochs, 100 words by new voices"
        check.that(f"the word error rate, {name}", rate <= RATE, rate, f"at most {RATE}")


def test_exercise(climb):
    climb(ladder)
