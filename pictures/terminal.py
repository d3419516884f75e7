"""What all scripts share: errors in one line, and output that any terminal and any program can take."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from pictures.folding import folded

NEEDED = ("torch", "numpy", "matplotlib", "soundfile", "soxr", "tqdm")  # to train and transcribe
READER_GONE = 141  # 128 and the number of SIGPIPE, as shells have it


def what_is_missing() -> str | None:
    """A sentence that says what this Python lacks and which command installs it; None if it lacks nothing."""
    install, make = "pip install -r requirements.txt", "python3 -m venv .venv"
    enter = r".venv\Scripts\Activate.ps1" if os.name == "nt" else ". .venv/bin/activate"
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have an older one
        return f"Python 3.11 or newer is needed, and this is {sys.version.split()[0]}; is the environment active? {enter}"
    missing = ", ".join(name for name in NEEDED if find_spec(name) is None)
    if not missing:
        return None
    if sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ:
        return f"{missing}: not installed yet; {install}"
    made = (Path(__file__).resolve().parents[1] / ".venv").is_dir()
    how = f"the environment exists, but is not active; {enter}" if made else f"{make} && {enter} && {install}"
    return f"{missing}: not installed in this Python; {how}"


if _missing := what_is_missing():  # printed before one of our imports fails with a traceback
    print(f"error: {_missing}", file=folded(sys.stderr))
    sys.exit(2)


def _one_line_after_ctrl_c(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Works while a script is still loading torch too, which takes seconds; Python shows any other error as usual."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nstopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _one_line_after_ctrl_c


def show_any_name() -> None:
    """Prints characters that the terminal can't show as their code numbers, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's stream lacks it
            stream.reconfigure(errors="backslashreplace")


def script(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """Makes the main function of a script end with an exit code and without a traceback.

    Bad input gives one line and exit code 2. If nobody reads the output any more (``| head -1``), it prints nothing and
    returns 141; after Ctrl-C it returns 130. Lines wider than the terminal are folded.
    """

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        show_any_name()
        with contextlib.redirect_stdout(folded(sys.stdout)), contextlib.redirect_stderr(folded(sys.stderr)):
            return _ended(lambda: main(argv))

    return run


def _ended(work: Callable[[], int]) -> int:
    """The exit code of the work; if it fails, one printed line says why."""
    try:
        return _flushed(work)
    except BrokenPipeError:
        _write_nowhere()
        return READER_GONE
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:  # how Python, numpy and torch report that memory has run out
        if not isinstance(error, MemoryError) and not re.search("allocate memory|out of memory|size calculation", str(error)):
            raise
        print("error: there is not enough memory for this; ask for less: a smaller model, shorter audio", file=sys.stderr)
        return 2


def sentence(error: Exception) -> str:
    """The text of an error; for one that the system raised, the file comes first, and advice if access is denied."""
    if not isinstance(error, OSError) or error.filename is None:
        return str(error)
    locked = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    advice = "; choose another place, or change the permissions of the file and its folder" if locked else ""
    return f"{error.filename}: {error.strerror}{advice}"


def _flushed(work: Callable[[], int]) -> int:
    """What the work returns, after its output is flushed, even if argparse ends it after --help."""
    try:
        return work()
    finally:
        if sys.stdout:  # closed by >&- it is None
            sys.stdout.flush()


def _write_nowhere() -> None:
    """At exit Python writes what is left in its buffers; without this it would complain once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError, AttributeError):  # there is none, or it is closed
            continue
    os.close(nowhere)


def finite(value: object) -> object:
    """The same value with None instead of nan and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(value: object) -> None:
    """Prints a line of JSON; characters that the output can't show are escaped in JSON's way."""
    text = json.dumps(finite(value), ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(finite(value))
    print(text, file=getattr(sys.stdout, "stream", sys.stdout), flush=True)  # never folded, however wide


class DefaultsHelp(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to a flag's help, unless the help says it, or the flag is off or unset by default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.default is None or action.default is False or "default" in (action.help or "")
        return action.help if said else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the flags, and suggests the flag that a mistyped one is close to."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None) -> tuple:
        """Like argparse's, but keeps the arguments for the error message."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._given, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        if unknown := self._unknown_flag():
            near = difflib.get_close_matches(f"--{unknown.lstrip('-')}", self._option_string_actions, n=1, cutoff=0.5)
            message = f"there is no flag {unknown}" + (f"; did you mean {near[0]}?" if near else "")
        elif message.startswith("unrecognized arguments: ") and "--data" in self._option_string_actions:
            message += "; a corpus is given as --data PATH"
        self.exit(2, f"error: {message} ({os.path.basename(self.prog)} --help lists the flags)\n")

    def _unknown_flag(self) -> str | None:
        """The first argument before any ``--`` that looks like a flag, even with one dash (-epochs), but starts none of ours."""
        given = getattr(self, "_given", [])
        given = given[: given.index("--")] if "--" in given else given
        flags = [argument.split("=")[0] for argument in given if argument.startswith("-")]
        single = {flag for flag in self._option_string_actions if len(flag) == 2}
        flags = [flag for flag in flags if flag.startswith("--") or (flag[1:2].isalpha() and flag[:2] not in single)]
        return next((flag for flag in flags if not any(ours.startswith(flag) for ours in self._option_string_actions)), None)
