"""export.py: a checkpoint as ONNX, the example in docs/onnx.md of decoding it, errors of one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import soundfile
import torch

import export
from helpers import ROOT
from implementation import generate_synthetic_audio
from models.checkpoints import load_checkpoint, save_checkpoint
from models.transcription import transcribe


def run(capsys: pytest.CaptureFixture, *arguments: Path | str) -> tuple[int, str, str]:
    status = export.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def checkpoint(run_folder, tmp_path_factory):
    """Of the tiny run, with an output layer that spells letters where an untrained one would say blank everywhere."""
    loaded, path = load_checkpoint(run_folder / "checkpoint.pt"), tmp_path_factory.mktemp("export") / "checkpoint.pt"
    torch.nn.init.normal_(loaded.model.output.weight, std=3.0, generator=torch.Generator().manual_seed(0))
    save_checkpoint(path, loaded.model, loaded.config, loaded.encoder)
    return path


def example() -> str:
    """The program without torch in docs/onnx.md."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8"), re.S)
    return block


def test_the_example_of_the_documents_says_what_transcribe_says(checkpoint, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -r requirements-export.txt")
    pytest.importorskip("onnx", reason="onnx is not installed: pip install -r requirements-export.txt")
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, checkpoint, "-o", "model.onnx")
    assert (status, err) == (0, "") and re.match(
        r"model\.onnx: 1\.\d MB; its output for two utterances of noise differs from torch's by \de-0[5-9] at most\n", out
    )
    assert "takes utterances at 16000 Hz and gives 29 log-probabilities every 40 ms" in out
    soundfile.write("mine.wav", generate_synthetic_audio("hello little moon").numpy(), 16000, subtype="PCM_16")
    assert not {"torch", "implementation", "models"} & set(re.findall(r"^(?:import|from) (\w+)", example(), re.M))
    exec(compile(example(), "docs/onnx.md", "exec"), {"__name__": "__main__"})
    text = transcribe(load_checkpoint(checkpoint), Path("mine.wav"))["text"]
    assert len(text) > 5 and " ".join(capsys.readouterr().out.split()) == text
    before = Path("model.onnx").read_bytes()
    status, out, err = run(capsys, checkpoint, "-o", "model.onnx")
    assert (status, out) == (2, "") and "model.onnx exists already: give another name, or --overwrite" in err
    assert Path("model.onnx").read_bytes() == before
    status, out, _ = run(capsys, checkpoint, "-o", "model.onnx", "--overwrite", "--json")
    told = json.loads(out)
    assert status == 0 and (told["kind"], told["sample_rate"], json.loads(told["symbols"])[1]) == ("whole", "16000", "a")
    status, _, err = run(capsys, checkpoint, "-o", "stream.onnx", "--stream")
    assert status == 2 and "need the end of the utterance first: train another with train_minimal.py --forward-only" in err
    for far in (0.5, float("nan")):
        monkeypatch.setattr("models.onnx_runtime.difference", lambda *_, far=far: far)
        status, _, err = run(capsys, checkpoint, "-o", "other.onnx")
        assert status == 2 and f"differ from torch's by {far}; nothing was written" in err
    assert sorted(path.name for path in Path().iterdir()) == ["mine.wav", "model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["missing.pt", "-o", "m.onnx"], "missing.pt: no such file"),
        (["text.pt", "-o", "m.onnx"], "text.pt: not a checkpoint from this library"),
        (["text.pt", "-o", "m.pt"], "m.pt: the name of an ONNX file must end in .onnx: write -o m.onnx"),
        (["text.pt", "-o", "no/m.onnx"], "the folder of no/m.onnx does not exist; make it first"),
    ],
)
def test_errors_are_one_sentence(tmp_path, capsys, monkeypatch, arguments, what):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -r requirements-export.txt")
    monkeypatch.chdir(tmp_path)
    Path("text.pt").write_text("no checkpoint")
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith("error: ") and what in err
    assert [path.name for path in Path().iterdir()] == ["text.pt"]


def test_without_its_packages_it_says_how_to_get_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnx" else object())
    status, out, err = run(capsys, tmp_path / "c.pt", "-o", tmp_path / "m.onnx")
    assert (status, out, err) == (2, "", "error: onnx: not installed yet: pip install -r requirements-export.txt\n")
