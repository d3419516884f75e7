"""What all scripts have in common: closed pipes, JSON on any terminal, mistyped flags, errors of one line."""

from __future__ import annotations

import ast
import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import check_corpus
import train_language_model
import train_minimal
import transcribe
import tune_decoder
import visualization
from helpers import FOLDERS, ROOT
from pictures.terminal import Parser, print_json, script

SCRIPTS = [check_corpus, train_language_model, train_minimal, transcribe, tune_decoder, visualization]


def run_with_closed_output(code: str) -> tuple[int, str]:
    """Exit code and standard error of a script whose reader is gone before it prints."""
    whole = f"import sys\nfrom pictures.terminal import script\n@script\ndef main(argv=None):\n{code}\nsys.exit(main())"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", f"input()\n{whole}"], cwd=ROOT, **pipes)
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()
    said = process.stderr.read().decode()
    return process.wait(timeout=60), said


@pytest.mark.parametrize(
    "code",
    [
        "    print('a line')\n    return 0",
        "    print('a line', flush=True)\n    return 0",
        "    [print('x' * 1000) for _ in range(100)]\n    return 0",
        "    from pictures.terminal import Parser\n    Parser().parse_args(['--help'])",
    ],
    ids=["short", "flushed", "long", "help"],
)
def test_a_closed_output_is_no_traceback(code):
    status, said = run_with_closed_output(code)
    assert said == "" and (status == 141 or "--help" in code)


def test_ctrl_c_while_a_script_is_loading_is_one_line():
    code = "import pictures.terminal\nraise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "\nstopped\n" and done.returncode in (130, -2)


@pytest.mark.parametrize("module", SCRIPTS)
def test_what_is_missing_is_said_before_anything_else_is_loaded(module):
    body = ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
    ours = [node.module for node in body if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in FOLDERS]
    assert ours[0] == "pictures.terminal"


def test_no_output_at_all_is_no_traceback(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as >&- makes it
    assert script(lambda argv: 0)() == 0


def test_the_scripts_are_all_so():
    for module in SCRIPTS:
        assert hasattr(module.main, "__wrapped__"), module.__name__  # by @script


LOCKED = "; choose another place, or change the permissions of the file and its folder\n"


def test_errors_are_one_line_and_have_an_exit_code(capsys):
    for error, code, said in (
        (ValueError("wrong"), 2, "error: wrong\n"),
        (OSError("no disk"), 2, "error: no disk\n"),
        (KeyboardInterrupt(), 130, "\nstopped\n"),
        (PermissionError(errno.EACCES, "Permission denied", "a/lm.arpa"), 2, f"error: a/lm.arpa: Permission denied{LOCKED}"),
        (OSError(errno.EROFS, "Read-only file system", Path("m.tsv")), 2, f"error: m.tsv: Read-only file system{LOCKED}"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 2, "error: x: No space left on device\n"),
    ):

        def main(_argv, error=error):
            raise error

        assert script(main)() == code and capsys.readouterr().err == said
    with pytest.raises(ZeroDivisionError):  # a mistake of ours shows where
        script(lambda _argv: 1 / 0)()


TEXTS = {"file": "caf\xe9/\u4f60\u597d/\U0001f600/\udce9.wav", "score": float("-inf"), "nbest": [{"x": float("nan"), "y": 1.5}]}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16", None])
def test_json_is_valid_in_any_encoding(encoding, monkeypatch):
    if encoding is None:  # a notebook's output has none
        output = io.StringIO()
    else:
        output = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", output)
    script(lambda _argv: print_json(TEXTS) or 0)()
    said = output.getvalue() if encoding is None else output.buffer.getvalue().decode(encoding)
    assert json.loads(said) == TEXTS | {"score": None, "nbest": [{"x": None, "y": 1.5}]} and said.count("\n") == 1


def test_json_is_readable_where_the_terminal_can_show_it(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    print_json({"text": "é你"})
    assert sys.stdout.buffer.getvalue().decode() == '{"text": "é你"}\n'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--epoch-s", "3"], "there is no flag --epoch-s; did you mean --epochs?"),
        (["--bacth-size=4"], "there is no flag --bacth-size; did you mean --batch-size?"),
        (["--zzzzqqq"], "there is no flag --zzzzqqq (x.py"),
        (["--epochs", "three"], "invalid int value: 'three'"),
        (["stray"], "unrecognized arguments: stray; a corpus is given as --data PATH (x.py"),
        (["-epochs", "3"], "there is no flag -epochs; did you mean --epochs?"),
        (["-z"], "there is no flag -z (x.py"),
    ],
)
def test_a_mistyped_flag_is_one_line_with_the_nearest(given, said, capsys):
    parser = Parser(prog="x.py")
    for flag in ("--epochs", "--batch-size"):
        parser.add_argument(flag, type=int)
    parser.add_argument("--data")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(given)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1 and error.startswith("error: ")
    assert parser.parse_args(["--epo", "3"]).epochs == 3  # what argparse allows still goes


@pytest.mark.parametrize("module", SCRIPTS, ids=lambda module: module.__name__)
def test_every_script_says_so(module, capsys):
    with pytest.raises(SystemExit) as stop:
        module.main(["--hepl"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "no flag --hepl; did you mean --help?" in error and error.count("\n") == 1
