"""Whatever stands on a command line: a result, or one line that says what is wrong with it."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest
from fuzzing import ODD, within_limits
from hypothesis import given
from hypothesis import strategies as st

import check_corpus
import train_language_model
import train_minimal
import transcribe
import tune_decoder
import visualization

ELSEWHERE = ("/", "..", "~")  # folders with more in them than five seconds are enough for
VALUES = [value for value in ODD if "\0" not in value and value not in ELSEWHERE]  # no command line can hold a zero byte
VALUES += [
    "3",
    "8",
    "16",
    "0.1",
    "1e-3",
    "1e400",
    "9" * 30,
    "-" * 3,
    "--",
    "cpu",
    "cuda:7",
    "meta",
    "english",
    "any",
    "word",
    "\udcff",
    "rnn",
    "ds1",
]


@pytest.fixture(scope="module")
def there(small_corpus, tmp_path_factory):
    """Files that commands may name, in a folder of their own, where they also run."""
    corpus, _ = small_corpus
    folder = tmp_path_factory.mktemp("commands")
    for path in (corpus / "manifest.tsv", corpus / "0.wav", corpus / "lm.arpa", corpus / "run" / "checkpoint.pt"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "text.txt").write_text("the cat\nthe moon\n")
    with contextlib.chdir(folder):
        yield ["manifest.tsv", "0.wav", "lm.arpa", "checkpoint.pt", "text.txt", "."]


def run(main, command: list[str]) -> tuple[int, str]:
    """The exit code, and what was said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), within_limits():
        try:
            code = main(command)
        except SystemExit as end:
            code = end.code
    return code, said.getvalue()


def flags_of(main) -> list[str]:
    """Those that --help lists, but --overwrite, which would take away what others read."""
    return sorted(set(re.findall(r"--[a-z][a-z-]*", run(main, ["--help"])[1])) - {"--overwrite", "--help", "--microphone"})


def refuse(*_args: object) -> None:
    raise ValueError("this far, and no further")


def commands(main, there: list[str], first: list[str]) -> st.SearchStrategy[list[str]]:
    """Some of its flags, with values that suit them and others; ``first``: what it needs at least, nearly always there."""
    value = st.sampled_from(VALUES) | st.sampled_from(there) | st.sampled_from(["1", "2", "0.5"])
    flag = st.sampled_from(flags_of(main)).flatmap(lambda flag: st.lists(value, max_size=1).map(lambda values: [flag, *values]))
    return st.tuples(
        st.sampled_from([first] * 6 + [[]]), st.lists(flag | value.map(lambda v: [v]), max_size=5)
    ).map(lambda parts: [*parts[0], *(word for words in parts[1] for word in words)])  # fmt: skip


SCRIPTS = {
    "train_minimal": (train_minimal.main, []),
    "transcribe": (transcribe.main, ["checkpoint.pt", "0.wav"]),
    "tune_decoder": (tune_decoder.main, ["checkpoint.pt", "--data", "manifest.tsv", "--lm", "lm.arpa"]),
    "check_corpus": (check_corpus.main, ["manifest.tsv"]),
    "train_language_model": (train_language_model.main, ["text.txt", "-o", "new.arpa"]),
    "visualization": (visualization.main, ["--checkpoint", "checkpoint.pt"]),
}


@pytest.mark.parametrize("name", SCRIPTS)
@given(content=st.data())
def test_command_lines(there, name, content):
    main, first = SCRIPTS[name]
    with pytest.MonkeyPatch.context() as short:
        short.setattr(train_minimal, "start_run", refuse)
        short.setattr(tune_decoder, "tune_and_compare", lambda *_: None)
        short.setattr(visualization, "newest_checkpoint", refuse)
        short.setattr(visualization, "pictures", lambda *_: [])
        short.setattr(visualization, "generate_synthetic_dataset", lambda *_, **__: [])
        short.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFF")))
        command = content.draw(commands(main, there, first))
        Path("new.arpa").unlink(missing_ok=True)
        code, said = run(main, command)
    assert code in (0, 1, 2) and "Traceback" not in said
    assert code == 0 or said.strip(), "it failed and said nothing"
