"""The ladder: how an answer is checked step by step, and what is said where it fails.

A check is a ``Ladder`` of steps. A step calls the answer through a ``Checker``, which compares what comes back. The first
step that fails ends the climb with a ``Failed``: what was checked, the input, got, wanted, the first difference. If a known
wrong answer (a ``Mutant``) fails the same step in the same way, the message names that mistake."""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
import importlib
import itertools
import numbers
import re
import signal
import sys
import textwrap
import traceback
import types
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

from pictures.folding import fold  # noqa: E402

SECONDS_PER_CALL = 30
WIDTH = 115  # columns of messages that no terminal shows
ALLOWED_IMPORTS = {
    "__future__", "bisect", "collections", "copy", "dataclasses", "functools", "given", "heapq", "itertools", "math", "numbers",
    "numpy", "operator", "parts", "random", "re", "string", "torch", "typing",
}  # fmt: skip
ALWAYS_FORBIDDEN = dict.fromkeys(("exec", "eval", "__import__", "import_module"), "the answer must stand in your own lines")


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
        """The hints in their order: a question, the equation, pseudocode."""
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


def load(path: Path, source: str | None = None) -> types.ModuleType:
    """A fresh module of a file, or of another text in its place."""
    module = types.ModuleType(f"{path.stem}_{next(_numbers)}")
    module.__file__, module.source = str(path), path.read_text(encoding="utf-8") if source is None else source
    module.path = path
    if "from parts import" in module.source:  # the learner's own parts; those of the solutions for stub and solution
        module.parts = sys.modules["parts"] = assemble(FOLDER if path.parent == FOLDER else FOLDER / "solutions")
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
            raise Todo(note=f"it waits for exercise {exercise.number}, whose file cannot be used yet") from None
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
        rows += [("first", self.where), ("because", self.why)]
        if self.mistake:
            rows.append(("mistake", f"{self.mistake.name}. {self.mistake.why} [{self.mistake.source}]"))
        for name, value in rows:
            values = name in ("got", "wanted") and self.quoted
            text = value if isinstance(value, str) and not values else describe(value, limit=400)
            if text and value is not NOTHING:
                lines += _row(name, text, width)
        return "\n".join(lines)

    def like(self, other: Failed | None) -> bool:
        """True if the other answer failed the same comparison with the same result."""
        return other is not None and (self.what, self.given) == (other.what, other.given) and same(self.got, other.got)


class Shortcut(Exception):
    """A function that the exercise forbids was called."""


def _row(name: str, text: str, width: int) -> list[str]:
    whole = {"break_long_words": False, "break_on_hyphens": False}  # -300 is one number
    wrapped = [line for part in text.split("\n") for line in textwrap.wrap(part, width - 11, **whole) or [""]]
    return [f"  {name if i == 0 else '':9}{line}" for i, line in enumerate(wrapped)]


# ---------------------------------------------------------------------------------------------
# Values: described, compared
# ---------------------------------------------------------------------------------------------


def describe(value: Any, limit: int = 90) -> str:
    """A value in a few words: small ones whole, tensors by shape and dtype."""
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, Tensor | np.ndarray):
        dtype, shape = str(value.dtype).removeprefix("torch."), "x".join(map(str, value.shape)) or "one number"
        if np.prod(value.shape) > 24:
            return f"{shape} {dtype}"
        text = f"{_rounded(value.tolist())} ({shape} {dtype})"
        return text if len(text) <= max(limit, 200) else f"{shape} {dtype}"
    if isinstance(value, list | tuple | float):
        value = _rounded(value)
    plain = isinstance(value, str | numbers.Number | list | dict | tuple | None)
    text = repr(value) if plain else type(value).__name__
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if type(value) in (list, tuple):
        return type(value)(map(_rounded, value))
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


class Checker:
    """Calls the answer and compares what comes back; the first difference raises ``Failed``."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder, self.given = ladder, ""

    def call(self, function: Callable, *args: Any, name: str = "", **kwargs: Any) -> Any:
        """Result of ``function(*args)``: errors become messages, changed arguments and forbidden shortcuts are noticed."""
        words = [describe(arg) for arg in args] + [f"{key}={describe(value)}" for key, value in kwargs.items()]
        self.given = f"{name or getattr(function, '__name__', type(function).__name__)}({', '.join(words)})"
        before = _kept((args, kwargs))
        try:
            with guarded(self.ladder.guard), time_limit(SECONDS_PER_CALL):
                result = function(*args, **kwargs)
                result = list(result) if isinstance(result, Iterator) else result
        except (NotImplementedError, Failed):  # Failed: of a part that the check watches
            raise
        except Shortcut as shortcut:
            raise Failed("the rules of this exercise", self.given, why=str(shortcut)) from None
        except Exception as error:
            raise Failed("that it runs", self.given, error, "a result without an error", _place_of(error)) from None
        if not same(before, _kept((args, kwargs))):
            why = "work on a copy; an operation whose name ends in _ (or +=) changes the tensor of the caller"
            raise Failed(
                "that the arguments are left as they were", self.given, "changed arguments", "unchanged arguments", why=why
            )
        return result

    def raises(self, what: str, error: type[Exception], function: Callable, *args: Any, name: str = "", **kwargs: Any) -> None:
        """The call must raise ``error``, as the docstring asks."""
        try:
            got = self.call(function, *args, name=name, **kwargs)
        except Failed as failed:
            if isinstance(failed.got, error):
                return
            raise Failed(what, self.given, failed.got, f"a {error.__name__}", failed.where, failed.why) from None
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
            index = tuple(wrong.nonzero()[0].tolist())
            where = f"difference at {list(index)}: {' instead of '.join(_apart(got[index].item(), wanted[index].item()))}"
            where += f" ({int(wrong.sum())} of {wrong.numel()} differ)"
            raise Failed(what, self.given, got.clone(), wanted, where if index else "", why)

    def equal(self, what: str, got: Any, wanted: Any, why: str = "") -> None:
        """Equal Python values; a tuple may stand for a list, a NumPy integer for an int."""
        plain, target = _plain(got), _plain(wanted)
        if same(plain, target) and not isinstance(plain, Tensor):
            return
        where = ""
        if isinstance(plain, list) and isinstance(target, list):
            pairs = itertools.zip_longest(plain, target, fillvalue="nothing")
            differing = ((i, p, t) for i, (p, t) in enumerate(pairs) if not same(p, t))
            place, one, other = next(differing)
            where = f"difference at place {place}: {describe(one)} instead of {describe(other)}"
        raise Failed(what, self.given, copy.copy(got), wanted, where, why, quoted=True)

    def number(self, what: str, got: Any, wanted: float, tolerance: float = 1e-9, why: str = "") -> None:
        """A real number, equal but for rounding."""
        if isinstance(got, Tensor | bool) or not isinstance(got, numbers.Real):
            raise Failed(what, self.given, got, f"a number, {wanted:.6g}", why=why)
        if not np.isclose(float(got), wanted, rtol=1e-7, atol=tolerance, equal_nan=True):
            self._fail(what, float(got), float(wanted), why)

    def that(self, what: str, holds: bool, got: Any, wanted: Any, why: str = "") -> None:
        """Any other condition."""
        if not holds:
            self._fail(what, got, wanted, why)

    def _fail(self, what: str, got: Any, wanted: Any, why: str) -> None:
        raise Failed(what, self.given, got, wanted, why=why)


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as show that they differ."""
    texts = ((f"{one:.{digits}g}", f"{other:.{digits}g}") for digits in (6, 9, 12, 17) if isinstance(one, float))
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

    def __init__(self, ladder: Ladder) -> None:
        super().__init__(ladder)
        self.found: list[Failed] = []

    close, equal, number, that, raises = map(_noting, ("close", "equal", "number", "that", "raises"))


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
    """The last line outside of this framework and its libraries that the error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).stem.startswith("exercise_")]
    return f"error in line {frames[-1].lineno} of {Path(frames[-1].filename).name}: {frames[-1].line}" if frames else ""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """An error after so many seconds, where the system can do that."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"still running after {seconds} seconds; is there a loop without an end, or a list of all paths?")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def guarded(names: Sequence[str]) -> Iterator[None]:
    """While it lasts the functions with these dotted names raise ``Shortcut``."""
    before = []
    for name in names:
        owner_name, _, attribute = name.rpartition(".")
        owner = _resolve(owner_name)
        before.append((owner, attribute, getattr(owner, attribute)))

        def refuse(*_: Any, name: str = name, **__: Any) -> None:
            raise Shortcut(f"{name} was called; this exercise is about writing it yourself")

        setattr(owner, attribute, refuse)
    try:
        yield
    finally:
        for owner, attribute, value in before:
            setattr(owner, attribute, value)


def _resolve(name: str) -> Any:
    """The module or class with a dotted name."""
    first, *rest = name.split(".")
    value = importlib.import_module(first)
    for part in rest:
        value = getattr(value, part)
    return value


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
        guard: dotted names of functions that may not be called, seen when they are.
        tell: takes a line to show while a slow step runs.
    """

    name: str
    names: tuple[str, ...]
    forbidden: dict[str, str] = field(default_factory=dict)
    guard: tuple[str, ...] = ()
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
        for index, step in enumerate(self.steps):
            if step.slow and not slow:
                continue
            failed = self.failure(answer, index)
            if failed is not None:
                failed.step = index
                failed.heading = f"Exercise {self.exercise.number}, step {index + 1} of {len(self.steps)}: {step.title}"
                failed.mistake = self.diagnose(answer, failed) if diagnose and not failed.elsewhere else None
                raise failed
        _passed.add(key)

    def failure(self, answer: types.ModuleType, index: int, checker: Checker | None = None) -> Failed | None:
        """What one step finds wrong; same seeds each time, and one thread, which is quicker for what is small."""
        np.random.seed(index)
        torch.manual_seed(index)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.steps[index].function(answer, checker or Checker(self))
        except Failed as failed:
            return failed
        except NotImplementedError:
            raise Todo(index, self.exercise.still_to_write(answer.source)) from None
        except Todo:
            raise
        except Exception as error:  # of the check itself, which can make nothing of what it was given
            return Failed("that the check can go on with the result", got=error, wanted="a result of the right kind and shape")
        finally:
            torch.set_num_threads(threads)
        return None

    def diagnose(self, answer: types.ModuleType, failed: Failed) -> Mutant | None:
        """The known wrong answer that gets as far and fails in the same way, not only by one number that happens to agree."""
        alike = [mutant for mutant in self.exercise.mutants if self.as_far_and_alike(mutant, failed)]
        if alike and not _telling(failed.got):
            mine = self.differences(answer, failed.step)
            alike = [mutant for mutant in alike if _shared(mine, mutant_differences(self.name, mutant, failed.step)) > 0.5]
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

    def differences(self, answer: types.ModuleType, index: int) -> list[Failed]:
        """All that one step finds wrong, not only the first."""
        collector = Collector(self)
        last = self.failure(answer, index, collector)
        return collector.found + ([last] if last else [])

    def check_rules(self, source: str) -> None:
        """Refuses what the exercise forbids, by reading the source."""
        tree = _without_main(ast.parse(source))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        variables = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        variables |= defined | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        forbidden = {**ALWAYS_FORBIDDEN, **self.forbidden}
        for node in ast.walk(tree):
            for module in _imported_modules(node):
                if module.split(".")[0] not in ALLOWED_IMPORTS:
                    self._refuse(
                        node, f"{module} is not among what this exercise may use; the given parts of the library are in given.py"
                    )
            if isinstance(node, ast.ImportFrom) and node.module == "given":
                for alias in node.names:
                    if alias.name in self.names:
                        self._refuse(node, f"{alias.name} is what you are to write; it must not come from the library")
            for name in _mentioned(node):
                method = isinstance(node, ast.Attribute) and name in ("eval", "exec")  # model.eval() is none of these
                own = variables if isinstance(node, ast.Name | ast.keyword) else defined  # grad = ... is not torch.autograd.grad
                if name in forbidden and not method and (name not in own or name in ALWAYS_FORBIDDEN):
                    self._refuse(node, f"{name} is a shortcut here: {forbidden[name]}")

    def _refuse(self, node: ast.AST, why: str) -> None:
        failed = Failed("the rules of this exercise", f"line {node.lineno} of your file: {ast.unparse(node)[:100]}", why=why)
        failed.heading = f"Exercise {self.exercise.number}, before the first step: the rules"
        failed.wanted = "an answer without it"
        raise failed


@functools.cache
def mutant_module(name: str, mutant: Mutant) -> types.ModuleType:
    """The wrong answer as a module."""
    solution = exercise_named(name).solution
    return load(solution, mutant.apply(solution.read_text(encoding="utf-8")))


@functools.cache
def mutant_failure(name: str, mutant: Mutant, index: int) -> Failed | None:
    """What a step finds wrong with a mutant."""
    return exercise_named(name).ladder.failure(mutant_module(name, mutant), index)


@functools.cache
def mutant_differences(name: str, mutant: Mutant, index: int) -> list[Failed]:
    """All that a step finds wrong with a mutant."""
    return exercise_named(name).ladder.differences(mutant_module(name, mutant), index)


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
        module = load(path)
        exercise.check_names(module)
        return module
    except FileNotFoundError:
        raise Failed("that your file is there", why=f"{path.name} is missing; {exercise.way_back}") from None
    except (Todo, Failed):
        raise
    except NotImplementedError:
        raise Todo from None
    except SyntaxError as error:
        raise Failed("that Python can read your file", f"{path.name}, line {error.lineno}: {error.text}", error) from None
    except Exception as error:
        raise Failed("that your file can be imported", path.name, error, where=_place_of(error)) from None


def fingerprint(paths: Sequence[Path]) -> str:
    """Short hash of some files, to see whether they changed."""
    return hashlib.sha1(b"".join(path.read_bytes() for path in paths if path.exists())).hexdigest()[:12]


def run_file(path: str) -> None:
    """What ``python exercises/exercise_NN_topic.py`` does: run that exercise's own check."""
    import pytest

    where = [str(Exercise(Path(path).stem).check), f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    raise SystemExit(pytest.main([*where, *sys.argv[1:]]))
