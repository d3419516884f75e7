"""What torch's compilers can do with the model, as docs/onnx.md says: a new torch that can do more, or less, is seen here."""

from __future__ import annotations

import io
import os
import shutil

import pytest
import torch

from implementation import DeepSpeech2, plain_definitions

pytestmark = pytest.mark.filterwarnings("ignore")  # of what is deprecated, and of branches that a trace can't see


@pytest.fixture
def model() -> DeepSpeech2:
    return DeepSpeech2(n_freq=33, vocab_size=29, n_conv=1, n_rnn=1, rnn_hidden=8).eval()


def batch(frames: int, *lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(len(lengths), 1, 33, frames), torch.tensor(lengths)


def same(model, other, features, lengths) -> None:
    for found, expected in zip(other(features, lengths), model(features, lengths), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_trace_holds_for_its_shape_alone(model):
    traced = torch.jit.trace(model, batch(16, 16, 9))
    for lengths in ((16, 9), (3, 16), (1, 1)):
        same(model, traced, *batch(16, *lengths))
    for other in (batch(19, 19, 5), batch(16, 16, 9, 4)):
        with pytest.raises(RuntimeError):
            traced(*other)
    with pytest.raises(RuntimeError, match="Python function call"):  # the recurrence with its backward pass by hand
        torch.jit.save(traced, io.BytesIO())


@torch.no_grad()
def test_a_trace_of_the_plain_definitions_can_be_saved(model):
    file = io.BytesIO()
    with plain_definitions():
        torch.jit.save(torch.jit.trace(model, batch(16, 16, 9)), file)
    file.seek(0)
    same(model, torch.jit.load(file), *batch(16, 12, 16))


def test_script_and_export_refuse_it(model):
    with pytest.raises(RuntimeError):
        torch.jit.script(model)
    with pytest.raises(Exception, match="data-dependent"):  # the check of the lengths is of their values
        torch.export.export(model, batch(16, 16, 9)).module()(*batch(16, 16, 9))


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "shapes"), [("eager", [(4, 4, 3), (5, 5, 2, 4)]), ("inductor", [(4, 4, 3)])])
def test_compile_gives_the_same(model, backend, shapes):
    if backend == "inductor" and not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("inductor needs a C++ compiler")
    torch.compiler.reset()
    compiled = torch.compile(model, backend=backend)
    with torch.no_grad():
        for shape in shapes:  # few frames: each is compiled
            same(model, compiled, *batch(*shape))
