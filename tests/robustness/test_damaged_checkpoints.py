"""Damaged, foreign and malicious files in place of a checkpoint: each is refused in one sentence, and nothing of it is run."""

from __future__ import annotations

import collections
import gzip
import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fuzzing import within_limits

from decoding.ngrams import NGramModel
from models.checkpoints import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from trainers import SMALL, make_trainer

# ---------------------------------------------------------------------------------------------
# Files that would run code; each makes a file called owned where it is let
# ---------------------------------------------------------------------------------------------


class Runs:
    """A pickle of it calls a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def traps(folder: Path) -> dict[str, Runs]:
    """By what they run."""
    owned = folder / "owned"
    (folder / "inner.pickle").write_bytes(pickle.dumps(Runs(open, str(owned), "w")))
    torch.save(Runs(open, str(owned), "w"), folder / "inner.pt")
    return {
        "os.system": Runs(os.system, f"touch {owned}"),
        "builtins.eval": Runs(eval, f"open({str(owned)!r}, 'w').close()"),
        "builtins.exec": Runs(exec, f"open({str(owned)!r}, 'w').close()"),
        "subprocess.call": Runs(subprocess.call, ["touch", str(owned)]),
        "open": Runs(open, str(owned), "w"),
        "torch.load of another file": Runs(torch.load, str(folder / "inner.pt"), "cpu", None),
        "pickle within a pickle": Runs(pickle.loads, (folder / "inner.pickle").read_bytes()),
        "torch.hub": Runs(torch.hub._import_module, "m", str(_module(folder, owned))),
        "a path's own function": Runs(Path.touch, owned),
    }


def _module(folder: Path, owned: Path) -> Path:
    (folder / "module.py").write_text(f"open({str(owned)!r}, 'w').close()\n")
    return folder / "module.py"


def saved(content: object, **how: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **how)
    return file.getvalue()


def malicious(trap: Runs, whole: dict) -> list[bytes]:
    """Files that spring a trap when they are read as pickles: bare, in torch's archive, deep within a whole checkpoint."""
    model = whole["model"]
    return [
        *(pickle.dumps(trap, protocol) for protocol in range(6)),
        saved(trap),
        saved(whole | {"training": {"optimizer": [{"state": trap}]}}),
        saved(whole | {"config": whole["config"] | {"dropout": trap}}),
        saved(whole | {"alphabet": [trap, "b"]}),
        saved(whole | {"model": model | {"output.bias": trap}}),
        saved(whole | {"format": trap}),
        saved(whole | {"more": trap}, pickle_protocol=4),
        saved(whole | {"more": trap}, _use_new_zipfile_serialization=False),
    ]


# ---------------------------------------------------------------------------------------------
# Files that are something else
# ---------------------------------------------------------------------------------------------


def zipped(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def foreign(folder: Path, whole: bytes) -> list[bytes]:
    """Texts, pictures, audio, archives, other files of torch, and one of a version to come."""
    array, audio, script = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(array, weights=np.zeros(5))
    soundfile.write(audio, np.zeros(800), 8000, format="WAV")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    NGramModel.train(["a b"]).write_arpa(folder / "lm.arpa")
    content = torch.load(io.BytesIO(whole))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    return [
        b"", b"\n", b"PK", b"PK\3\4", b"\x80\2.", bytes(10_000), b"some words\n" * 400, b"\x89PNG\r\n\x1a\n" + bytes(5000), b"{}",
        array.getvalue(), audio.getvalue(), script.getvalue(), (folder / "lm.arpa").read_bytes(), gzip.compress(whole),
        zipped({"readme.txt": b"hello"}), zipped(records, zipfile.ZIP_DEFLATED), zipped(records | {"c/DATA.PKL": b"\x80\2."}),
        zipped({"a/data.pkl": b"\x80\2]q\0."}), whole + whole[: len(whole) // 2], whole[len(whole) // 2 :],
        saved([1, 2]), saved({}), saved(torch.zeros(3)), saved(content["model"]), saved(content | {"format": 2}),
        saved(content | {"format": torch.zeros(2)}),
        saved(content | {"model": list(content["model"])}), saved(content | {"alphabet": 5}), saved(content | {"config": None}),
        saved(content | {"training": [1]}), saved(content | {"config": content["config"] | {"rnn_hidden": 10**9}}),
        saved(content | {"model": content["model"] | {"output.bias": torch.zeros(1).expand(10**12)}}),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Damage
# ---------------------------------------------------------------------------------------------


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """The file cut off, with some of its bits flipped, or with a part of it lost, doubled, or overwritten."""
    data, (begin, end) = bytearray(whole), sorted(rng.integers(0, len(whole), 2))
    kind = rng.integers(8)
    if kind < 2:
        return whole[:begin]
    if kind < 5:
        places = len(data) - 1 - rng.integers(5000, size=rng.integers(1, 9)) if kind == 4 else rng.integers(len(data), size=1)
        for place in places:  # 4: in the archive's list of records
            data[place] ^= 1 << rng.integers(8)
        return bytes(data)
    if kind == 5:
        data[begin:end] = bytes(end - begin)
    elif kind == 6:
        del data[begin : min(end, begin + 100)]
    else:
        data[begin : begin + 64] = rng.bytes(64)
    return bytes(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """A checkpoint with the state of its training."""
    trainer = make_trainer()
    path = tmp_path_factory.mktemp("whole") / "last.pt"
    save_checkpoint(path, trainer.model, SMALL, trainer.data.encoder, {"best_wer": 0.5, "trainer": trainer.state_dict()})
    return path.read_bytes()


def parts(checkpoint: Checkpoint) -> list:
    """All that a checkpoint holds, to be compared."""
    weights = [(name, value.dtype, value.tolist()) for name, value in checkpoint.model.state_dict().items()]
    state = pickle.dumps(checkpoint.training | {"trainer": None})
    rng = checkpoint.training["trainer"]["torch_rng"].tolist()
    return [weights, checkpoint.config, checkpoint.encoder.alphabet, state, rng]


def outcome(path: Path, data: bytes, expected: list, owned: Path) -> str:
    """'refused' in one sentence, or 'equal' where the damage means nothing."""
    path.write_bytes(data)
    try:
        with within_limits():
            loaded = load_checkpoint(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path}") and "\n" not in str(error) and len(str(error)) < 500
        return "refused"
    finally:
        assert not owned.exists(), "code was run"
    assert parts(loaded) == expected, "another model was loaded"
    return "equal"


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_checkpoints_are_refused_or_the_same(whole, tmp_path, count):
    path, rng = tmp_path / "c.pt", np.random.default_rng(count)
    path.write_bytes(whole)
    expected, found = parts(load_checkpoint(path)), collections.Counter()
    for _ in range(count):
        found[outcome(path, damaged(whole, rng), expected, tmp_path / "owned")] += 1
    print(found)
    assert found["refused"] > 0.9 * count


def test_foreign_files_are_refused(whole, tmp_path):
    for data in foreign(tmp_path, whole):
        assert outcome(tmp_path / "c.pt", data, [], tmp_path / "owned") == "refused"


def test_nothing_of_a_malicious_file_is_run(whole, tmp_path):
    content = torch.load(io.BytesIO(whole))
    for trap in traps(tmp_path).values():
        for data in malicious(trap, content):
            assert outcome(tmp_path / "c.pt", data, [], tmp_path / "owned") == "refused"


def test_the_traps_work_where_nothing_guards_them(tmp_path):
    for name, trap in traps(tmp_path).items():
        (tmp_path / "owned").unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as unguarded:
            unguarded.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
            result = pickle.loads(pickle.dumps(trap))
            if hasattr(result, "close"):
                result.close()
        assert (tmp_path / "owned").exists(), name
