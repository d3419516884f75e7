"""Audio, KenLM's binaries and checkpoints of damaged bytes: a result, or an error that is documented."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
import soundfile
import torch
from fuzzing import CELLS, damaged, within_limits
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz_texts import JSON, check_language_model

from helpers import ROOT
from implementation import CharEncoder
from models.checkpoints import CheckpointError, ModelConfig, load_checkpoint, save_checkpoint
from speech.audio import BadAudio, audio_channels, audio_rate, audio_seconds, read_audio
from speech.streams import raw_samples

# ---------------------------------------------------------------------------------------------
# Audio
# ---------------------------------------------------------------------------------------------


def audio_files() -> dict[str, list[bytes]]:
    """A fiftieth of a second in each container that libsndfile writes, and of each in up to three encodings; by suffix."""
    rng, files = np.random.default_rng(0), {}
    for container in sorted(soundfile.available_formats().keys() - {"SD2"}):  # which writes a second file, ._, beside the first
        for subtype in sorted(soundfile.available_subtypes(container))[:3]:
            for channels in (1, 2):
                file = io.BytesIO()
                with contextlib.suppress(soundfile.SoundFileError, ValueError):
                    soundfile.write(file, rng.uniform(-0.3, 0.3, (320, channels)), 16000, subtype, format=container)
                    files.setdefault(container.lower(), []).append(file.getvalue())
    sphere = b"NIST_1A\n   1024\nsample_count -i 320\nsample_n_bytes -i 2\nchannel_count -i 1\nsample_rate -i 16000\nend_head\n"
    files["sph"] = [sphere.ljust(1024) + bytes(640)]
    files["wav"] += [2 * whole for whole in files["wav"]]
    return files


AUDIO = audio_files()
SUFFIXES = {"vorbis": "ogg", "mpc2k": "snd"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("binaries")


@pytest.mark.parametrize("container", AUDIO)
@given(content=st.data())
def test_audio(folder, container, content):
    path = folder / f"a.{SUFFIXES.get(container, container)}"
    path.write_bytes(content.draw(damaged(AUDIO[container]) | st.binary(max_size=100)))
    with within_limits():
        for ask in (audio_seconds, audio_rate, audio_channels):
            with contextlib.suppress(BadAudio):
                assert 0 < ask(path) < math.inf
        for arguments in ((16000,), (8000, 0.005, 0.01, 0)):
            with contextlib.suppress(BadAudio):
                audio = read_audio(path, *arguments)
                assert audio.dtype == torch.float32 and audio.ndim == 1 and len(audio) and audio.isfinite().all()


@given(st.binary(max_size=300) | damaged(AUDIO["wav"]))
def test_raw_streams(data):
    with within_limits(), contextlib.suppress(BadAudio):
        assert sum(map(len, raw_samples(io.BufferedReader(io.BytesIO(data)), 16000))) == len(data) // 2


# ---------------------------------------------------------------------------------------------
# KenLM's binaries
# ---------------------------------------------------------------------------------------------

KENLM = [
    path.read_bytes() for path in sorted((ROOT / "tests/decoding/kenlm_files").glob("*")) if path.suffix not in (".arpa", ".md")
]


@given(damaged(KENLM))
def test_kenlm_binaries(folder, data):
    pytest.importorskip("kenlm")
    (folder / "lm.bin").write_bytes(data)
    check_language_model(folder / "lm.bin", units=[None])


# ---------------------------------------------------------------------------------------------
# Checkpoints
# ---------------------------------------------------------------------------------------------

ENCODER, CONFIG = CharEncoder("ab "), ModelConfig(model="ds1", context=0, rnn_hidden=2)


@pytest.fixture(scope="module")
def whole(folder) -> bytes:
    state = {"best_wer": 0.5, "epoch": 1, "epochs": 2, "calibration": {"slope": 1.0}}
    save_checkpoint(folder / "whole.pt", CONFIG.build(ENCODER), CONFIG, ENCODER, state)
    return (folder / "whole.pt").read_bytes()


def check_checkpoint(path) -> None:
    with within_limits():
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as error:
            assert str(error).startswith(f"{path}") and "\n" not in str(error) and len(str(error)) < 1000
        else:
            assert checkpoint.encoder.vocab_size == 4 and 0 <= checkpoint.calibration([0.5]) <= 1


@given(content=st.data())
def test_damaged_checkpoints(folder, whole, content):
    (folder / "c.pt").write_bytes(content.draw(damaged([whole])))
    check_checkpoint(folder / "c.pt")


VALUES = JSON | CELLS | st.just(torch.zeros(2)) | st.integers() | st.sampled_from([10**9, 10**20, -1, 0.5, "gru", [1, 2]])


@given(content=st.data())
def test_checkpoints_of_other_content(folder, whole, content):
    stored = torch.load(io.BytesIO(whole))
    for _ in range(content.draw(st.integers(1, 3))):
        part = content.draw(st.sampled_from(["", "config", "features", "model", "training"]))
        above = stored.get("config") if part == "features" else stored
        place = stored if not part else above.get(part) if isinstance(above, dict) else None
        if isinstance(place, dict):
            place[content.draw(st.sampled_from([*sorted(map(str, place)), "kind"]) | CELLS)] = content.draw(VALUES)
    try:
        torch.save(stored, folder / "c.pt")
    except UnicodeEncodeError:  # which torch does not write
        return
    check_checkpoint(folder / "c.pt")
