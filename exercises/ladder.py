"""The ladder: how an answer is checked step by step, and what is said where it fails.

A check is a ``Ladder`` of steps. A step calls the answer through a ``Checker``, which compares what comes back. The first
step that fails ends the climb with a ``Failed``: what was checked, the input, got, wanted, the first difference. If a known
wrong answer (a ``Mutant``) fails the same step in the same way, the message names that mistake."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import functools
import hashlib
import itertools
import math
import numbers
import re
import signal
import subprocess
import sys
import textwrap
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
for place in (str(ROOT), str(FOLDER)):
    if place not in sys.path:
        sys.path.insert(0, place)

import implementation  # noqa: E402
from pictures.folding import fold  # noqa: E402

from repeating import Repeat, alike, kept, made_with, note_made, other_content, outcome  # noqa: E402
from watching import Originals, Shortcut, Watch, owners_to_keep, same_chance, settings_and_chance  # noqa: E402

SECONDS_PER_CALL = 30
WIDTH = 115  # columns of messages that no terminal shows
ALLOWED_IMPORTS = {
    "__future__", "abc", "array", "bisect", "cmath", "collections", "contextlib", "copy", "dataclasses", "decimal", "enum",
    "fractions", "functools", "given", "heapq", "itertools", "math", "numbers", "numpy", "operator", "parts", "random", "re",
    "statistics", "string", "torch", "types", "typing", "warnings",
}  # fmt: skip
ALWAYS_FORBIDDEN = dict.fromkeys(("exec", "eval", "__import__", "import_module"), "you must write the answer in your own lines")
ALWAYS_FORBIDDEN |= dict.fromkeys(
    ("f_back", "f_locals", "f_globals", "tb_frame", "tb_next", "gi_frame", "__globals__", "__builtins__", "__code__",
     "__closure__", "__subclasses__", "__loader__", "__traceback__"),
    "an answer reads its arguments, not the internals of Python's functions and calls",
)  # fmt: skip
MODULES = dict.fromkeys(
    ("sys", "os", "builtins", "importlib", "subprocess", "ctypes", "gc", "inspect", "pickle", "marshal"),
    "an answer uses only what the head of its file allows, and nothing through other modules",
)
MODULES |= dict.fromkeys(("jit", "_refs", "_decomp"), "the check can't follow compiled code, or torch's internal functions")


@dataclass(frozen=True)
class Mutant:
    """A wrong answer with a name: the solution with pieces of its text replaced.

    Args:
        name: the mistake in a few words.
        why: one or two sentences for the learner who made it.
        source: where the right way stands.
        patches: (old, new) pieces of the solution's source; each old piece occurs exactly once.
    """

    name: str
    why: str
    source: str
    patches: tuple[tuple[str, str], ...]

    def apply(self, solution: str) -> str:
        for old, new in self.patches:
            if solution.count(old) != 1:
                raise ValueError(f"mutant {self.name!r}: {old!r} occurs {solution.count(old)} times in the solution, not once")
            solution = solution.replace(old, new)
        return solution


@dataclass(frozen=True)
class Exercise:
    """One exercise by the name of its file, such as ``exercise_03_lengths_and_masks``; title and minutes stand in its stub."""

    name: str

    @property
    def number(self) -> int:
        return int(self.name.split("_")[1])

    @property
    def file(self) -> Path:
        """The learner's file."""
        return FOLDER / f"{self.name}.py"

    @property
    def stub(self) -> Path:
        return FOLDER / "stubs" / f"{self.name}.py"

    @property
    def solution(self) -> Path:
        return FOLDER / "solutions" / f"{self.name}.py"

    @property
    def check(self) -> Path:
        return FOLDER / f"test_{self.name}.py"

    @functools.cached_property
    def header(self) -> str:
        """Docstring of the stub's module."""
        return ast.get_docstring(ast.parse(self.stub.read_text(encoding="utf-8"))) or ""

    @property
    def title(self) -> str:
        return re.match(r"Exercise \d+: (.*?)\.\n", self.header + "\n")[1]

    @property
    def minutes(self) -> int:
        return int(re.search(r"(\d+) minutes", self.header)[1])

    @property
    def difficulty(self) -> int:
        """1 to 3."""
        return int(re.search(r"difficulty (\d) of 3", self.header)[1])

    @functools.cached_property
    def hints(self) -> list[str]:
        """The hints, in order: a question, the equation, pseudocode."""
        text = (FOLDER / "hints" / f"{self.name}.md").read_text(encoding="utf-8")
        return [textwrap.dedent(part).strip() for part in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]]

    @functools.cached_property
    def definitions(self) -> dict[str, ast.AST]:
        """What the learner writes, as the stub has it: functions, classes and their methods by name."""
        found = definitions(self.stub.read_text(encoding="utf-8"))
        return {name: node for name, node in found.items() if name.split(".")[0] in self.ladder.names}

    def still_to_write(self, source: str) -> str:
        """Which functions of a begun answer still raise NotImplementedError; nothing is said of one that is not begun."""
        stub, answer = (unwritten(text) for text in (self.stub.read_text(encoding="utf-8"), source))
        return f"still to write: {', '.join(answer)}" if answer and answer != stub else ""

    @property
    def way_back(self) -> str:
        return f"python -m pytest exercises --reset {self.number} brings the stub back"

    def check_names(self, module: types.ModuleType) -> None:
        """Refuses an answer in which something that the stub defines was renamed or deleted."""
        for name, node in self.definitions.items():
            if not has(module, name):
                line = next(line for line in ast.unparse(node).split("\n") if line.startswith(("def ", "class ")))
                why = f"{name} is missing or has another name; the stub calls it `{line.rstrip(':')}`;\n"
                why += f"{self.way_back} (your file is kept)"
                raise Failed("that your file has every name of the stub", self.file.name, why=why)

    @functools.cached_property
    def mutants(self) -> list[Mutant]:
        return load(FOLDER / "mutants" / f"{self.name}.py").MUTANTS

    @functools.cached_property
    def ladder(self) -> Ladder:
        """The check's ladder."""
        return load(self.check).ladder


def definitions(source: str) -> dict[str, ast.AST]:
    """Functions, classes and their methods by name, such as ``ConvBlock.forward``."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}": part for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def unwritten(source: str) -> list[str]:
    """Names of the functions in which NotImplementedError is raised."""
    functions = {name: node for name, node in definitions(source).items() if isinstance(node, ast.FunctionDef)}
    return [
        name
        for name, node in functions.items()
        if any(isinstance(part, ast.Raise) and "NotImplementedError" in ast.unparse(part) for part in ast.walk(node))
    ]


def has(module: types.ModuleType, name: str) -> bool:
    """True if the module has this function or class, or its class this method, of its own or from another class of the module."""
    owner, _, attribute = name.rpartition(".")
    if not owner:
        return hasattr(module, attribute)
    bases = getattr(getattr(module, owner), "__mro__", ())
    return any(attribute in vars(base) for base in bases if base.__module__ == module.__name__)


@functools.cache
def exercise_named(name: str) -> Exercise:
    """The one object of an exercise, which reads its files once."""
    return Exercise(name)


def all_exercises() -> list[Exercise]:
    """The exercises in their order."""
    return [exercise_named(path.stem) for path in sorted((FOLDER / "stubs").glob("exercise_*.py"))]


_numbers = itertools.count()
_passed: set[tuple[str, str]] = set()  # checks that were passed, with the text that passed them


def load(path: Path, source: str | None = None, parts: types.ModuleType | None = None) -> types.ModuleType:
    """A fresh module of a file, or of another text in its place, with other parts where exercise 12 asks for them."""
    module = types.ModuleType(f"{path.stem}_{next(_numbers)}")
    module.__file__, module.source = str(path), path.read_text(encoding="utf-8") if source is None else source
    module.path = path
    if "from parts import" in module.source:  # the learner's own parts; those of the solutions for stub and solution
        module.parts = sys.modules["parts"] = parts or assemble(FOLDER if path.parent == FOLDER else FOLDER / "solutions")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(module.source, str(path), "exec"), module.__dict__)
    return module


def assemble(folder: Path) -> types.ModuleType:
    """The functions and classes of exercises 1 to 11 in one module. Where one uses what another asks for, it gets that answer."""
    parts = types.ModuleType("parts")
    parts.modules = {}
    for exercise in all_exercises()[:11]:
        try:
            parts.modules[exercise] = load_answer(folder / exercise.file.name)
        except Exception:
            raise Todo(note=f"it needs exercise {exercise.number}, whose file cannot be used yet") from None
    own = {}
    for module in parts.modules.values():
        own |= {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    for module in [*parts.modules.values(), parts]:
        vars(module).update(own if module is parts else {name: own[name] for name in vars(module).keys() & own.keys()})
    return parts


# ---------------------------------------------------------------------------------------------
# What can come of a climb
# ---------------------------------------------------------------------------------------------


class Todo(Exception):
    """The answer is not begun, or not finished: it raised NotImplementedError. ``note``: what it still needs."""

    def __init__(self, step: int = 0, note: str = "") -> None:
        super().__init__(note)
        self.step = step


NOTHING = object()


@dataclass(eq=False)
class Failed(Exception):
    """What a step found wrong. ``quoted``: got and wanted are values, to be shown in quotation marks where they are text.
    ``elsewhere``: the fault lies in another exercise, so none of this one's known mistakes is looked for."""

    what: str
    given: str = ""
    got: Any = NOTHING
    wanted: Any = NOTHING
    where: str = ""
    why: str = ""
    step: int = 0
    heading: str = ""
    mistake: Mutant | None = None
    quoted: bool = False
    elsewhere: bool = False

    def __str__(self) -> str:
        return self.shown(WIDTH)

    def shown(self, width: int) -> str:
        """The message in lines of so many columns."""
        lines = fold(self.heading, width).split("\n") if self.heading else []
        rows = [("checked", self.what), ("input", self.given), ("got", self.got), ("wanted", self.wanted)]
        rows += [("note", self.where), ("because", self.why)]
        if self.mistake:
            rows.append(("mistake", f"{self.mistake.name}. {self.mistake.why} [{self.mistake.source}]"))
        digits = next((n for n in (5, 7, 9, 12) if self.text_of(self.got, n) != self.text_of(self.wanted, n)), 17)
        for name, value in rows:
            text = self.text_of(value, digits) if name in ("got", "wanted") else value
            if text and value is not NOTHING:
                lines += _row(name, text, width)
        return "\n".join(lines)

    def text_of(self, value: Any, digits: int) -> str:
        """Got or wanted in words."""
        return value if isinstance(value, str) and not self.quoted else describe(value, limit=400, digits=digits)

    def like(self, other: Failed | None) -> bool:
        """True if the other answer failed the same comparison with the same result."""
        return other is not None and (self.what, self.given) == (other.what, other.given) and same(self.got, other.got)


def _row(name: str, text: str, width: int) -> list[str]:
    whole = {"break_long_words": False, "break_on_hyphens": False}  # -300 is one number
    wrapped = [line for part in text.split("\n") for line in textwrap.wrap(part, width - 11, **whole) or [""]]
    return [f"  {name if i == 0 else '':9}{line}" for i, line in enumerate(wrapped)]


# ---------------------------------------------------------------------------------------------
# Values: described, compared
# ---------------------------------------------------------------------------------------------


def describe(value: Any, limit: int = 90, digits: int = 5) -> str:
    """A value in a few words: small ones whole, numbers with so many digits, tensors by shape and dtype."""
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, Tensor | np.ndarray):
        dtype, shape = str(value.dtype).removeprefix("torch."), "x".join(map(str, value.shape)) or "one number"
        if np.prod(value.shape) > 24:
            return f"{shape} {dtype}"
        text = f"{_rounded(value.tolist(), digits)} ({shape} {dtype})"
        return text if len(text) <= max(limit, 200) else f"{shape} {dtype}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        text = f"{type(value).__name__}({', '.join(f'{key}={describe(part, 40, digits)}' for key, part in vars(value).items())})"
        return text if len(text) <= max(limit, 300) else type(value).__name__
    if isinstance(value, list | tuple | float):
        value = _rounded(value, digits)
    plain = isinstance(value, str | numbers.Number | list | dict | tuple | None)
    text = repr(value) if plain else type(value).__name__
    return text if len(text) <= limit else _cut(value, text[: limit - 4])


def _cut(value: Any, text: str) -> str:
    """The beginning of a value's text, and how long the value is."""
    size = (
        f" ({len(value)} {'characters' if isinstance(value, str) else 'items'})" if isinstance(value, str | list | tuple) else ""
    )
    return f"{text.rpartition(', ')[0] or text} ...{size}"


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") + 0.0  # -0.0 becomes 0.0
    if type(value) in (list, tuple):
        return type(value)(_rounded(item, digits) for item in value)
    return value


def same(a: Any, b: Any) -> bool:
    """True if both are the same but for rounding."""
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b) and str(a) == str(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        close = a.shape == b.shape and a.dtype == b.dtype
        return close and bool(
            torch.isclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True).all() if a.is_floating_point() else (a == b).all()
        )
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return same(torch.as_tensor(a), torch.as_tensor(b)) if type(a) is type(b) else False
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True))
    return type(a) is type(b) and a == b


TOLERANCE = {torch.float64: (1e-9, 1e-10), torch.float32: (1e-4, 2e-5)}


def _plain(value: Any) -> Any:
    """Numbers of NumPy as those of Python, tuples as lists, all the way down; tensors stay, and so differ."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return value


# ---------------------------------------------------------------------------------------------
# The checker: what a step holds in its hands
# ---------------------------------------------------------------------------------------------


RULES = "the rules of this exercise"
REPLACED = " was replaced; an answer must not change functions that are not its own"
REPEATED, TIMES = 0.3, 12  # seconds and calls of a function in a step; what takes longer, or comes later, is not made again
DEPENDS = "the result depends on earlier calls"
KEPT = "what does your answer keep from one call to the next: in a global, on a class or an object, or in a default argument?"


class Checker:
    """Calls the answer and compares what comes back; the first difference raises ``Failed``."""

    def __init__(self, ladder: Ladder, answer: types.ModuleType) -> None:
        self.ladder, self.answer, self.given, self.calls = ladder, answer, "", Counter()
        self.before: tuple[str, Any] = ("", None)  # the last call and its result, which no later one may change

    def call(self, function: Callable, *args: Any, name: str = "", once: bool = False, **kwargs: Any) -> Any:
        """Result of ``function(*args)``: errors become messages; changed arguments, shortcuts and memories are noticed.

        Args:
            name: of the function, for the message.
            once: do not make the call again to see whether the result depends on earlier calls.
        """
        words = [self.describe(arg) for arg in args] + [f"{key}={self.describe(value)}" for key, value in kwargs.items()]
        self.given = f"{name or self.name_of(function)}({', '.join(words)})"
        before, around, last = _kept((args, kwargs)), settings_and_chance(), kept(self.before[1])
        repeat = None if once else self.repeat(function, args, kwargs)
        start = time.process_time()
        result = self.run(function, args, kwargs)
        if not same(before, _kept((args, kwargs))):
            why = "work on a copy; an operation whose name ends in _ (or +=) changes the caller's tensor"
            raise Failed("that the arguments are unchanged", self.given, "changed arguments", "unchanged arguments", why=why)
        of_check = getattr(function, "__module__", "").startswith("test_exercise")  # torch's DataLoader draws, for one
        if not alike(self.before[1], last):
            what, changed = "that an earlier result stays unchanged", f"{self.before[0]}, then {self.given}"
            raise Failed(what, changed, self.before[1], last, why=f"{DEPENDS}; {KEPT}", quoted=True)
        self.before = self.given, result
        self.look_around(around, may_draw=of_check or isinstance(function, type))
        if repeat and time.process_time() - start < REPEATED:
            self.compare(repeat, result)
        return result

    def run(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """Result of the call, watched; what it raises becomes a message."""
        try:
            with self.ladder.watch(self.answer)(), time_limit(SECONDS_PER_CALL):
                result = function(*args, **kwargs)
                result = list(result) if isinstance(result, Iterator) else result
        except (NotImplementedError, Failed, Todo, KeyboardInterrupt):  # Failed: of a part that the check watches
            raise
        except Shortcut as shortcut:
            raise Failed(RULES, self.given, why=str(shortcut)) from None
        except BaseException as error:
            deep = "Python allows about 1,000 calls inside each other; use a loop" if isinstance(error, RecursionError) else ""
            raise Failed("that it runs", self.given, error, "a result without an error", _place_of(error), deep) from None
        for value in result if isinstance(result, list | tuple) else [result]:
            if isinstance(value, Tensor) and type(value) not in (Tensor, torch.nn.Parameter):
                raise Failed("the type of the result", self.given, type(value).__name__, "torch's own Tensor")
        return result

    def repeat(self, function: Callable, args: tuple, kwargs: dict) -> Repeat | None:
        """The call made ready to be made again, if it can be."""
        if not Repeat.possible(function, args, kwargs, self.answer):
            return None
        name = getattr(function, "__qualname__", type(function).__name__)
        self.calls[name] += 1
        if self.calls[name] > TIMES:
            return None
        with same_chance():
            try:
                return Repeat(function, args, kwargs, self.answer, self.ladder.twin(self.answer), self.calls[name])
            except Exception:  # an object that can't be copied or made again
                return None

    def compare(self, repeat: Repeat, result: Any) -> None:
        """The call again, with other content and on a twin; the results must be the same."""
        with same_chance(), time_limit(SECONDS_PER_CALL):
            difference = repeat.difference(result, kept(result))
        if difference:
            how, got, wanted = difference
            where = "" if isinstance(got, Exception) else first_difference(got, wanted)
            raise Failed("that a result depends only on the arguments", f"{self.given}, then {how}", got, wanted, where,
                         f"{DEPENDS}; {KEPT}", quoted=True)  # fmt: skip

    def look_around(self, before: dict[str, Any], may_draw: bool) -> None:
        """Settings and random states must be what they were before the call."""
        after = settings_and_chance()
        changed = [key for key, value in before.items() if after[key] != value and not (may_draw and "random" in key)]
        if changed:
            torch.set_default_dtype(before["torch's default dtype"])
            torch.set_grad_enabled(before["whether torch computes gradients"])
            why = "leave shared settings and random states as they were; for random numbers, use a generator of your own"
            raise Failed(f"that {changed[0]} stays unchanged", self.given, "another one", "the one before the call", why=why)

    def describe(self, value: Any) -> str:
        """A value in a few words; an object of the answer by what it was made with."""
        args, kwargs = made_with(self.answer, value)
        if args is None:
            return describe(value)
        words = [describe(arg, 40) for arg in args] + [f"{key}={describe(setting, 40)}" for key, setting in kwargs.items()]
        return f"{type(value).__name__}({', '.join(words)})"

    def name_of(self, function: Callable) -> str:
        """What the message calls the function."""
        if isinstance(function, types.MethodType):
            return f"{self.describe(function.__self__)}.{function.__name__}"
        return getattr(function, "__name__", "") or self.describe(function)

    def raises(self, what: str, error: type[Exception], function: Callable, *args: Any, name: str = "", **kwargs: Any) -> None:
        """The call must raise ``error``, as the docstring asks."""
        try:
            got = self.call(function, *args, name=name, **kwargs)
        except Failed as failed:
            if isinstance(failed.got, error):
                return
            if failed.what == RULES:
                raise
            raise Failed(what, self.given, failed.got, f"a {error.__name__}", failed.where, failed.why) from None
        got = describe(got) if isinstance(got, str) else got
        raise Failed(what, self.given, got, f"a {error.__name__}, as the docstring asks")

    def close(self, what: str, got: Any, wanted: Tensor, tolerance: tuple[float, float] | None = None, why: str = "") -> None:
        """A tensor of the same shape, dtype and, but for rounding, values."""
        if not isinstance(got, Tensor):
            raise Failed(what, self.given, got, f"a tensor, {describe(wanted)}", why=why)
        if got.shape != wanted.shape:
            self._fail(f"{what}: shape", tuple(got.shape), tuple(wanted.shape), why)
        if got.dtype != wanted.dtype:
            self._fail(f"{what}: dtype", str(got.dtype), str(wanted.dtype), why)
        got = got.detach()
        if wanted.is_floating_point():
            rtol, atol = tolerance or TOLERANCE[wanted.dtype]
            wrong = ~torch.isclose(got, wanted, rtol=rtol, atol=atol, equal_nan=True)
        else:
            wrong = got != wanted
        if wrong.any():
            nearly = wanted.dtype == torch.float64 and torch.allclose(got, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)
            why = why or ("only the first digits are right: was something rounded, for example to float32?" if nearly else "")
            raise Failed(what, self.given, got.clone(), wanted, first_difference(got, wanted, wrong), why)

    def equal(self, what: str, got: Any, wanted: Any, why: str = "") -> None:
        """Equal Python values; a tuple may stand for a list, a NumPy integer for an int."""
        plain, target = _plain(got), _plain(wanted)
        if same(plain, target) and not isinstance(plain, Tensor):
            return
        raise Failed(what, self.given, copy.copy(got), wanted, first_difference(got, wanted), why, quoted=True)

    def number(self, what: str, got: Any, wanted: float, tolerance: float = 1e-9, why: str = "") -> None:
        """A real number, equal but for rounding."""
        if isinstance(got, Tensor | bool) or not isinstance(got, numbers.Real):
            raise Failed(what, self.given, got, f"a number, {wanted:.6g}", why=why)
        if not np.isclose(float(got), wanted, rtol=1e-7, atol=tolerance, equal_nan=True):
            apart = (
                f"{abs(float(got) - wanted):.2g} too {'high' if got > wanted else 'low'}" if math.isfinite(got - wanted) else ""
            )
            raise Failed(what, self.given, float(got), float(wanted), apart, why)

    def that(self, what: str, holds: bool, got: Any, wanted: Any, why: str = "") -> None:
        """Any other condition."""
        if not holds:
            self._fail(what, got, wanted, why)

    def _fail(self, what: str, got: Any, wanted: Any, why: str) -> None:
        raise Failed(what, self.given, got, wanted, why=why)


def first_difference(got: Any, wanted: Any, wrong: Tensor | None = None) -> str:
    """Where two results first differ. ``wrong``: True at the numbers that differ."""
    if isinstance(got, Tensor) and isinstance(wanted, Tensor) and got.shape == wanted.shape and got.dim():
        wrong = got != wanted if wrong is None else wrong
        index = tuple(wrong.nonzero()[0].tolist()) if wrong.any() else ()
        words = " instead of ".join(_apart(got[index].item(), wanted[index].item())) if index else ""
        return f"first difference at {list(index)}: {words} ({int(wrong.sum())} of {wrong.numel()} differ)" if index else ""
    if isinstance(got, list | tuple) and isinstance(wanted, list | tuple):
        for place, (one, other) in enumerate(itertools.zip_longest(got, wanted, fillvalue=NOTHING)):
            if not same(_plain(one), _plain(other)):
                words = ["nothing" if value is NOTHING else describe(value) for value in (one, other)]
                return f"first difference at place {place}: {words[0]} instead of {words[1]}"
    return ""


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as show that they differ."""
    texts = ((f"{one + 0.0:.{digits}g}", f"{other + 0.0:.{digits}g}") for digits in (6, 9, 12, 17) if isinstance(one, float))
    return next((pair for pair in texts if pair[0] != pair[1]), (str(one), str(other)))


def _noting(name: str) -> Callable:
    """The method of a checker that notes a difference where the checker stops."""

    def method(self: Collector, *args: Any, **kwargs: Any) -> None:
        try:
            getattr(Checker, name)(self, *args, **kwargs)
        except Failed as failed:
            self.found.append(failed)

    return method


class Collector(Checker):
    """A checker that goes on after a difference: its list ``found`` shows how much two answers have in common."""

    def __init__(self, ladder: Ladder, answer: types.ModuleType) -> None:
        super().__init__(ladder, answer)
        self.found: list[Failed] = []

    close, equal, number, that, raises = map(_noting, ("close", "equal", "number", "that", "raises"))


class Fresh(Checker):
    """A checker that gives each call other content and compares nothing: its list ``results`` shows what an answer does there."""

    def __init__(self, ladder: Ladder, answer: types.ModuleType) -> None:
        super().__init__(ladder, answer)
        self.results: list[Any] = []

    def call(self, function: Callable, *args: Any, name: str = "", once: bool = False, **kwargs: Any) -> Any:
        with other_content([*args, *kwargs.values()], small=False) as values, time_limit(SECONDS_PER_CALL):
            result = outcome([function], values[: len(args)], dict(zip(kwargs, values[len(args) :], strict=True)))
            self.results.append(kept(result))
        if isinstance(result, Exception):
            raise Failed("that it runs", got=result)
        return result

    def raises(self, what: str, error: type[Exception], function: Callable, *args: Any, name: str = "", **kwargs: Any) -> None:
        with contextlib.suppress(Failed):
            self.call(function, *args, **kwargs)

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Compares nothing."""

    equal = number = that = close


def _kept(value: Any) -> Any:
    """A copy of the tensors and lists among the arguments, nothing of other objects."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | tuple):
        return [_kept(item) for item in value]
    if isinstance(value, dict):
        return {key: _kept(item) for key, item in value.items()}
    return value if isinstance(value, str | numbers.Number) else None


def _place_of(error: Exception) -> str:
    """The last line of the learner's own code that the error passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).stem.startswith("exercise_")]
    return f"error in line {frames[-1].lineno} of {Path(frames[-1].filename).name}: {frames[-1].line}" if frames else ""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """An error after so many seconds of processor time (a machine may be busy with other things), where the system can do it."""
    if not hasattr(signal, "SIGPROF"):
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"still running after {seconds} seconds; is there an endless loop, or a list of all paths?")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)  # again each second: an error inside of a destructor is only printed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# ---------------------------------------------------------------------------------------------
# The ladder
# ---------------------------------------------------------------------------------------------


@dataclass
class Step:
    title: str
    function: Callable[[types.ModuleType, Checker], None]
    slow: bool = False


@dataclass
class Ladder:
    """The steps of one check, in order.

    Args:
        name: file name of the exercise without ending.
        names: what the learner writes; must not be taken from the library.
        forbidden: names that may not occur in the answer, each with the reason.
        operations: parts of the names of torch's operations that may not run, whatever they are called by; ``autograd`` is one.
        functions: functions and classes of torch in Python that may not run.
        tell: takes a line to show while a slow step runs.
    """

    name: str
    names: tuple[str, ...]
    forbidden: dict[str, str] = field(default_factory=dict)
    operations: tuple[str, ...] = ()
    functions: tuple[Any, ...] = ()
    tell: Callable[[str], None] = lambda line: None
    steps: list[Step] = field(default_factory=list)

    @property
    def exercise(self) -> Exercise:
        return exercise_named(self.name)

    def step(self, title: str, slow: bool = False) -> Callable:
        """Decorator: the function becomes the next step."""

        def add(function: Callable) -> Callable:
            self.steps.append(Step(title, function, slow))
            return function

        return add

    def also(self, function: Callable) -> Callable:
        """Decorator: the function is a further part of the step before it."""
        first = self.steps[-1].function

        def both(answer: types.ModuleType, check: Checker) -> None:
            first(answer, check)
            function(answer, check)

        self.steps[-1].function = both
        return function

    def climb(self, answer: types.ModuleType, slow: bool = True, diagnose: bool = True) -> None:
        """Runs the steps; raises ``Todo`` or ``Failed`` where one ends it."""
        if (key := (self.name, answer.source)) in _passed and not any(step.slow for step in self.steps):
            return
        self.check_rules(answer.source)
        self.ready(answer)
        for index, step in enumerate(list(self.steps)):
            if step.slow and not slow:
                continue
            failed = self.failure(answer, index)
            if name := self.originals.changed():
                failed = self.refused(step.title, name + REPLACED)
            if failed is not None:
                failed.step = index
                failed.heading = f"Exercise {self.exercise.number}, step {index + 1} of {len(self.steps)}: {step.title}"
                failed.mistake = (
                    self.diagnose(answer, failed) if diagnose and failed.what != RULES and not failed.elsewhere else None
                )
                raise failed
        _passed.add(key)

    def failure(self, answer: types.ModuleType, index: int, checker: Checker | None = None) -> Failed | None:
        """What one step finds wrong; same seeds each time, and one thread, which is quicker for what is small."""
        np.random.seed(index)
        torch.manual_seed(index)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.steps[index].function(answer, checker or Checker(self, answer))
        except Failed as failed:
            return failed
        except Shortcut as shortcut:
            return Failed(RULES, why=str(shortcut))
        except NotImplementedError:
            raise Todo(index, self.exercise.still_to_write(answer.source)) from None
        except Todo:
            raise
        except Exception as error:  # of the check itself, which can make nothing of what it was given
            return unusable(error)
        finally:
            torch.set_num_threads(threads)
        return None

    def diagnose(self, answer: types.ModuleType, failed: Failed) -> Mutant | None:
        """The known wrong answer that gets as far and fails in the same way, not only by one number that happens to agree."""
        alike = [mutant for mutant in self.exercise.mutants if self.as_far_and_alike(mutant, failed)]
        if alike and not _telling(failed.got):
            mine = self.differences(answer, failed.step)
            alike = [mutant for mutant in alike if _shared(mine, mutant_differences(self.name, mutant, failed.step)) > 0.5]
        fresh = self.fresh(answer, failed.step) if alike else []
        alike = [mutant for mutant in alike if self.same_on_fresh_input(mutant, fresh, failed.step)]
        if len(alike) < 2:
            return alike[0] if alike else None

        def agreement(mutant: Mutant) -> int:
            count = 0
            for index, step in enumerate(self.steps):
                if step.slow:
                    continue
                mine, theirs = self.failure(answer, index), mutant_failure(self.name, mutant, index)
                count += mine.like(theirs) if mine else theirs is None
            return count

        try:
            return max(alike, key=agreement)
        except Todo:
            return alike[0]

    def as_far_and_alike(self, mutant: Mutant, failed: Failed) -> bool:
        """True if the mutant passes the steps before the failed one, as the answer did, and fails there with the same result."""
        if any(mutant_failure(self.name, mutant, index) for index in range(failed.step)):
            return False
        return failed.like(mutant_failure(self.name, mutant, failed.step))

    def fresh(self, answer: types.ModuleType, index: int) -> list[Any]:
        """What the answer gives for the calls of a step with other content."""
        checker = Fresh(self, answer)
        with contextlib.suppress(Todo):
            self.failure(answer, index, checker)
        return checker.results

    def same_on_fresh_input(self, mutant: Mutant, mine: list[Any], index: int) -> bool:
        """True if the mutant gives the same as the answer there, or if it shows no mistake there."""
        theirs, right = mutant_fresh(self.name, mutant, index), solution_fresh(self.name, index)
        return same_results(mine, theirs) or same_results(theirs, right)

    def differences(self, answer: types.ModuleType, index: int) -> list[Failed]:
        """All that one step finds wrong, not only the first."""
        collector = Collector(self, answer)
        last = self.failure(answer, index, collector)
        return collector.found + ([last] if last else [])

    # What an answer may run

    @functools.cached_property
    def originals(self) -> Originals:
        """The functions that the check relies on, as they were before the answer was read."""
        own = [module for module in sys.modules.values() if getattr(module, "ladder", None) is self]
        used = [value for module in own for value in vars(module).values() if isinstance(value, types.ModuleType)]
        return Originals(owners_to_keep(sys.modules[__name__], sys.modules["watching"], sys.modules["repeating"],
                                        implementation, *own, *used))  # fmt: skip

    @functools.cached_property
    def given_names(self) -> list[str]:
        """What the stub imports from given.py."""
        tree = ast.parse(self.exercise.stub.read_text(encoding="utf-8"))
        return [a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "given" for a in n.names]

    def watch(self, answer: types.ModuleType) -> Watch:
        """What notices the shortcuts of this answer."""
        if not hasattr(answer, "_watch"):
            parts = getattr(answer, "parts", None)  # of exercise 12, wherever they were found
            answer._watch = self.watch_over(answer.path, [str(module.path) for module in parts.modules.values()] if parts else [])
        return answer._watch

    def watch_over(self, path: Path, parts: Sequence[str] = ()) -> Watch:
        """What notices the shortcuts of a file, and of the parts that it is plugged together from."""
        own = [module for module in sys.modules.values() if getattr(module, "ladder", None) is self]
        checks = [value for module in [*own, sys.modules[__name__]] for value in vars(module).values()]
        files = [str(path.parent / f"{exercise.name}.py") for exercise in all_exercises()]
        given = [getattr(implementation, name) for name in self.given_names]
        return Watch([*files, *parts, str(path)], given, checks, self.operations, self.functions, self.names)

    def ready(self, answer: types.ModuleType) -> None:
        """Has the answer's classes watched; refuses one that replaced functions of others when it was imported."""
        if name := self.originals.changed():
            raise self.refused(self.exercise.file.name, name + REPLACED)
        if not hasattr(answer, "_watch"):
            self.watch(answer).methods_of(answer, lambda value, args, kwargs: note_made(answer, value, args, kwargs))

    def twin(self, answer: types.ModuleType) -> types.ModuleType:
        """The same text, loaded a second time, which remembers nothing of the calls before."""
        if not hasattr(answer, "_twin"):
            answer._twin = load(answer.path, answer.source, getattr(answer, "parts", None))
        return answer._twin

    def refused(self, given: str, why: str) -> Failed:
        failed = Failed(RULES, given, why=why)
        failed.heading = f"Exercise {self.exercise.number}, before the first step: the rules"
        return failed

    def check_rules(self, source: str) -> None:
        """Refuses what the exercise forbids, by reading the source."""
        tree = _without_main(ast.parse(source))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        variables = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        variables |= defined | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        forbidden = {**MODULES, **ALWAYS_FORBIDDEN, **self.forbidden}
        for node in ast.walk(tree):
            for module in _imported_modules(node):
                if module.split(".")[0] not in ALLOWED_IMPORTS:
                    self._refuse(
                        node, f"{module} is not allowed in this exercise; the given parts of the library are in given.py"
                    )
            for name in _of_given(node):
                if name in self.names:
                    self._refuse(node, f"{name} is what you must write yourself; it must not come from the library")
                if name not in self.given_names:
                    self._refuse(
                        node,
                        f"{name} is not one of the parts given for this exercise; the head of your file says what you may use",
                    )
            for name in _mentioned(node):
                method = isinstance(node, ast.Attribute) and name in ("eval", "exec")  # model.eval() is none of these
                own = variables if isinstance(node, ast.Name | ast.keyword) else defined  # grad = ... is not torch.autograd.grad
                if name in forbidden and not method and (name not in own or name in ALWAYS_FORBIDDEN):
                    self._refuse(node, f"{name} is a shortcut here: {forbidden[name]}")

    def _refuse(self, node: ast.AST, why: str) -> None:
        failed = self.refused(f"line {node.lineno} of your file: {ast.unparse(node)[:100]}", why)
        failed.wanted = "an answer without it"
        raise failed


@functools.cache
def mutant_module(name: str, mutant: Mutant) -> types.ModuleType:
    """The wrong answer as a module, watched like a learner's: so both give the same messages."""
    exercise = exercise_named(name)
    module = load(exercise.solution, mutant.apply(exercise.solution.read_text(encoding="utf-8")))
    exercise.ladder.ready(module)
    return module


@functools.cache
def mutant_failure(name: str, mutant: Mutant, index: int) -> Failed | None:
    """What a step finds wrong with a mutant."""
    return exercise_named(name).ladder.failure(mutant_module(name, mutant), index)


@functools.cache
def mutant_differences(name: str, mutant: Mutant, index: int) -> list[Failed]:
    """All that a step finds wrong with a mutant."""
    return exercise_named(name).ladder.differences(mutant_module(name, mutant), index)


@functools.cache
def mutant_fresh(name: str, mutant: Mutant, index: int) -> list[Any]:
    """What a mutant gives for the calls of a step with other content."""
    return exercise_named(name).ladder.fresh(mutant_module(name, mutant), index)


@functools.cache
def solution_fresh(name: str, index: int) -> list[Any]:
    """What the solution gives for them."""
    return exercise_named(name).ladder.fresh(load(exercise_named(name).solution), index)


def same_results(mine: list[Any], theirs: list[Any]) -> bool:
    """True if two lists of results are the same but for rounding."""
    return len(mine) == len(theirs) and all(alike(one, other, rough=True) for one, other in zip(mine, theirs, strict=True))


def unusable(error: Exception) -> Failed:
    """The message where the check can't go on with what the answer returned."""
    places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if any(Path(place).parent.name == "autograd" for place in places):
        why = "did you cut the graph (.detach(), .data, .item(), torch.tensor), or change a tensor in place?"
        what, wanted = "that autograd can compute the gradient of your result", "a gradient"
        return Failed(what, got=error, wanted=wanted, where=_place_of(error), why=why)
    return Failed("that the check can go on with the result", got=error, wanted="a result of the right kind and shape")


def _telling(value: Any) -> bool:
    """True for a result that no two different mistakes have in common by chance: six numbers and more."""
    return isinstance(value, Tensor | np.ndarray) and np.prod(value.shape) >= 6


def _shared(mine: list[Failed], theirs: list[Failed]) -> float:
    """The part of their differences that two answers have in common."""
    return sum(any(one.like(other) for other in theirs) for one in mine) / max(1, len(mine), len(theirs))


def _without_main(tree: ast.Module) -> ast.Module:
    """The module without its ``if __name__ == "__main__":``."""
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))]
    return tree


def _of_given(node: ast.AST) -> list[str]:
    """Names that a node takes from given.py."""
    if isinstance(node, ast.ImportFrom) and node.module == "given":
        return [alias.name for alias in node.names]
    return [node.attr] if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "given" else []


def _imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return []


def _mentioned(node: ast.AST) -> list[str]:
    """Names that a node uses: variables, attributes, keywords of a call, imported names and what they are imported from."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        return [part for module in modules for part in module.split(".")]
    if isinstance(node, ast.keyword):
        return [node.arg] if node.arg else []
    if isinstance(node, ast.Name):
        return [node.id]
    return [node.attr] if isinstance(node, ast.Attribute) else []


def load_answer(path: Path) -> types.ModuleType:
    """The learner's file as a module; what keeps it from being checked becomes a message."""
    exercise = exercise_named(path.stem)
    try:
        exercise.ladder.check_rules(path.read_text(encoding="utf-8"))
        exercise.ladder.originals  # noqa: B018, taken before the file is run
        with exercise.ladder.watch_over(path)():
            module = load(path)
        exercise.check_names(module)
        return module
    except FileNotFoundError:
        raise Failed("that your file is there", why=f"{path.name} is missing; {exercise.way_back}") from None
    except (Todo, Failed, KeyboardInterrupt):
        raise
    except NotImplementedError:
        raise Todo from None
    except Shortcut as shortcut:
        raise exercise.ladder.refused(path.name, str(shortcut)) from None
    except SyntaxError as error:
        raise Failed("that Python can read your file", f"{path.name}, line {error.lineno}: {error.text}", error) from None
    except BaseException as error:
        raise Failed("that your file can be imported", path.name, error, where=_place_of(error)) from None


def fingerprint(paths: Sequence[Path]) -> str:
    """Short hash of some files, to see whether they changed."""
    return hashlib.sha1(b"".join(path.read_bytes() for path in paths if path.exists())).hexdigest()[:12]


def run_file(path: str) -> None:
    """What ``python exercises/exercise_NN_topic.py`` does: pytest on that exercise's own check, in a Python of its own."""
    check = [str(Exercise(Path(path).stem).check), f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    raise SystemExit(subprocess.call([sys.executable, "-m", "pytest", *check, *sys.argv[1:]]))
