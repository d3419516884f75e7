"""What several test files use: where the project and the real speech lie, and audio files to read."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.corpora import Corpus, Problem, Utterance

ROOT = Path(__file__).resolve().parents[1]  # of the project
DATA = ROOT.parent / "shared" / "data"  # real speech, where there is some
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))  # of modules

needs_digits = pytest.mark.skipif(not (DATA / "fsdd").is_dir(), reason="no real speech at ../shared/data")

# flags of train_minimal.py for a run of a second
TINY = ["--n-fft", "64", "--n-rnn", "1", "--rnn-hidden", "16", "--n-train", "8", "--n-val", "3", "--batch-size", "4"]

RATE = 8000


def sources(*folders: str) -> list[Path]:
    """Source files in folders of the project and in theirs; "." gives the scripts and implementation.py."""
    found = [path for folder in folders for path in (ROOT / folder).glob("*.py" if folder == "." else "**/*.py")]
    return sorted(path for path in found if "backups" not in path.parts)  # those of a learner's exercises


def write_audio(path: Path, seconds: float = 0.1, rate: int = RATE, channels: int = 1, hertz: float = 440.0) -> Path:
    """A tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    return path


def write_noise(path: Path, seconds: float = 1.0, rate: int = RATE) -> Path:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)), rate)
    return path


def manifest(folder: Path, text: str | bytes, name: str = "manifest.tsv", audio: str = "a b c") -> Path:
    for stem in audio.split():
        write_audio(folder / f"{stem}.wav")
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def told(corpus: Corpus) -> list[tuple]:
    """Everything an utterance says but its path, which is shown relative to the corpus."""
    return [(u.path.relative_to(corpus.root).as_posix(), u.transcript, u.speaker, u.split) for u in corpus.utterances]


def make_corpus(good: int, bad: int) -> Corpus:
    utterances = [Utterance(Path(f"{n}.wav"), "x", "", "train", 1.0) for n in range(good)]
    return Corpus("manifest", Path("root"), utterances, [Problem(f"m.tsv:{n + 2}", "bad") for n in range(bad)])


def noisy_utterances(folder: Path, n: int = 120) -> list[Utterance]:
    """Half a second of noise each, as files."""
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(n):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(4000), 8000)
        utterances.append(Utterance(folder / f"{i}.wav", "ab", "s", "train", 0.5))
    return utterances


def on_terminal(command: list, cwd: Path = ROOT, width: int = 80) -> str:
    """What a command shows on a terminal of so many columns: both outputs, without colours and what a bar wrote over."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:  # as Linux ends it
        pass
    os.close(ours)
    process.wait(timeout=60)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode().replace("\r\n", "\n"))
    return "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))


class Notebook:
    """A notebook as it is stored: its ``cells``, and ``code``, those of code."""

    def __init__(self, name: str) -> None:
        self.stored = json.loads((ROOT / name).read_text(encoding="utf-8"))
        self.cells = self.stored["cells"]
        self.code = [cell for cell in self.cells if cell["cell_type"] == "code"]

    @staticmethod
    def source(cell: dict) -> str:
        """The text of a cell."""
        return "".join(cell["source"])

    @staticmethod
    def printed(cells: Iterable[dict]) -> str:
        """What cells of code printed."""
        outputs = (output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"])
        return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")

    def parts(self) -> list[str]:
        """The text of each numbered part, from its heading on."""
        text = "\n".join(self.source(cell) for cell in self.cells if cell["cell_type"] == "markdown")
        return [part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:] if part[0].isdigit()]
