"""What an answer really runs: a shortcut is noticed when it is executed, however it is written.

Three things are watched while the answer's code runs: the functions of Python that it enters (by their code, so that another
name, or a method kept from before, changes nothing), the built-in functions that it calls, and the operations of torch below
them all. Before and after, the functions of torch, NumPy, the library and the check are compared with what they were."""

from __future__ import annotations

import builtins
import functools
import gc
import inspect
import random
import sys
import sysconfig
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.autograd.profiler import ProfilerConfig, ProfilerState

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
STDLIB = sysconfig.get_paths()["stdlib"]
TORCH, NUMPY = (str(Path(package.__file__).parent) for package in (torch, np))
OUTSIDE = {  # modules of Python that reach out of the answer's own lines
    "asyncio", "code", "codeop", "concurrent", "ctypes", "difflib", "gc", "importlib", "inspect", "io", "linecache", "marshal",
    "multiprocessing", "os", "pathlib", "pdb", "pickle", "pkgutil", "runpy", "shelve", "shutil", "signal", "socket", "subprocess",
    "tempfile", "threading", "traceback", "unittest", "urllib",
}  # fmt: skip
BUILT_IN = {"posix", "nt", "_posixsubprocess", "_thread", "gc", "marshal", "_pickle", "_ctypes", "sys", "_imp", "_io", "io"}
BUILT_IN |= {"_socket", "_signal", "faulthandler"}  # as OUTSIDE, in C
LOCKS = ("Lock", "RLock")  # NumPy's generators take one
STATEMENTS = {"exec", "eval", "compile", "__import__", "breakpoint", "input"}
UNREADABLE = ("_refs", "_decomp", "_prims", "_prims_common", "_dynamo", "_inductor", "_export", "export", "hub.py", "package")
UNREADABLE += (
    "jit/_script.py",
    "jit/_trace.py",
    "jit/_serialization.py",
    "jit/_freeze.py",
    "utils/cpp_extension.py",
    "library.py",
)
OWN_LINES = "an answer uses its own lines and what the head of the exercise allows: no other programs, files or hidden imports"
BY_HAND = "in this exercise you write it yourself"


class Shortcut(BaseException):
    """Something ran that the exercise forbids; no ``except Exception`` of an answer holds it up."""


@functools.cache
def kind_of(filename: str) -> str:
    """Whose code it is: ``answer``, ``library``, ``checker``, ``free`` (may be called by an answer), or ``other``."""
    path = Path(filename)
    if filename.startswith("<") or filename == __file__:
        return "free"  # Python's import, what dataclasses and the like make, and the wrapper of watched methods
    if filename.startswith((TORCH, NUMPY)):
        inside = filename[len(TORCH) + 1 :] if filename.startswith(TORCH) else ""
        return "other" if any(inside == part or inside.startswith(part + "/") for part in UNREADABLE) else "free"
    if "site-packages" in path.parts:
        return "other"
    if filename.startswith(STDLIB):
        return "other" if path.relative_to(STDLIB).parts[0].removesuffix(".py") in OUTSIDE else "free"
    if path.parent.parent == FOLDER and path.parent.name in ("solutions", "stubs", "mutants", "backups"):
        return "library"
    if path.is_relative_to(FOLDER):
        return "checker"
    return "library" if path.is_relative_to(ROOT) else "other"


def codes_of(thing: Any) -> set[types.CodeType]:
    """The code of a function, or of all functions of a class."""
    if inspect.isclass(thing):
        return set().union(*(codes_of(part) for part in vars(thing).values() if not inspect.isclass(part)))
    thing = getattr(thing, "fget", None) or getattr(thing, "__func__", thing)
    while hasattr(thing, "__wrapped__"):
        thing = thing.__wrapped__
    return {thing.__code__, *_inner(thing.__code__)} if isinstance(thing, types.FunctionType) else set()


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _inner(constant)


def is_call(frame: types.FrameType) -> bool:
    """True for the line of the check that calls the answer: a library's class under the answer's name is entered from there."""
    return frame.f_code.co_qualname == "Checker.run"


class Watch:
    """Notices what the code of an answer runs.

    Args:
        files: of the answer; what they call is looked at.
        given: functions and classes of the library that the exercise gives.
        checks: functions of the check, which are not for answers.
        operations: parts of the names of torch's operations that the exercise forbids, such as ``stft``.
        functions: functions and classes in Python that it forbids.
        names: what the learner is to write.
    """

    profiling = False  # whether any of them uses torch's profiler now

    def __init__(
        self, files: Collection[str], given: Collection[Any], checks: Collection[Any], operations: Collection[str],
        functions: Collection[Any], names: Collection[str],
    ) -> None:  # fmt: skip
        self.files, self.operations, self.names = frozenset(files), tuple(operations), frozenset(names)
        self.is_forbidden = functools.cache(lambda name: any(part in name for part in self.operations))
        self.given = set().union(*map(codes_of, given))
        self.functions = set().union(*map(codes_of, functions))
        self.checks = {check.__code__ for check in checks if isinstance(check, types.FunctionType)}
        self.seen = ""
        self.active = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Watches what runs inside; raises ``Shortcut`` at its end, if not before, where something was seen."""
        if self.active:
            yield
            return
        self.seen, self.active, before = "", True, sys.getprofile()
        collects = gc.isenabled()
        gc.disable()  # what the collector ends or calls back, such as a generator of hypothesis, is not the answer's
        nested = Watch.profiling  # the import of exercise 12 loads the other files, and torch has one profiler a thread
        if not nested:
            settings = (False, False, False, False, False, torch._C._profiler._ExperimentalConfig())
            torch.autograd._enable_profiler_legacy(ProfilerConfig(ProfilerState.CPU, *settings))
            Watch.profiling = True
        sys.setprofile(self.look)
        failure: Exception | None = None
        try:
            yield
        except Exception as error:  # what was seen matters more than what came of it
            failure = error
        finally:
            sys.setprofile(before)
            if collects:
                gc.enable()
            self.active = False
            if not nested:
                Watch.profiling = False
                ran = {event.name() for thread in torch.autograd._disable_profiler_legacy() for event in thread}
                self.look_at_operations(ran)
        if self.seen:
            raise Shortcut(self.seen) from None
        if failure:
            raise failure

    def look_at_operations(self, ran: set[str]) -> None:
        """Notes a forbidden operation among the names of those that ran."""
        for name in sorted(ran):
            short = "autograd" if name.startswith("autograd::engine") else name.split("::")[-1]
            if not self.seen and self.is_forbidden(short):
                self.seen = f"torch's {short} was called; {BY_HAND}"

    def look(self, frame: types.FrameType, event: str, called: Any) -> None:
        """Called by Python at each call (see sys.setprofile)."""
        if event == "call":
            kind = kind_of(frame.f_code.co_filename)
            if kind == "free" and frame.f_code in self.functions and self.from_answer(frame):
                self.refuse(f"{frame.f_code.co_qualname} was called; {BY_HAND}")
            if kind != "free" and frame.f_code.co_filename not in self.files:
                self.look_at_function(frame, kind)
        elif event == "c_call" and (self.is_forbidden(called.__name__) or frame.f_code.co_filename in self.files):
            self.look_at_built_in(frame, called)

    def look_at_function(self, frame: types.FrameType, kind: str) -> None:
        """What the answer enters: directly, or of the library by way of torch and Python too."""
        caller, code = frame.f_back, frame.f_code
        while kind == "library" and caller is not None and kind_of(caller.f_code.co_filename) in ("free", "other"):
            caller = caller.f_back
        if caller is None or not (caller.f_code.co_filename in self.files or (kind == "library" and is_call(caller))):
            return
        name = code.co_qualname
        if kind == "library" and code not in self.given:
            asked = (
                "is what you must write yourself"
                if self.names & set(name.split("."))
                else "is not one of the parts given for this exercise"
            )
            self.refuse(f"{name} of the library was called; it {asked}: {BY_HAND}")
        elif kind == "checker" and code in self.checks:
            self.refuse(f"{name} was called, which belongs to the check; {BY_HAND}")
        elif kind == "other" and name not in LOCKS:
            self.refuse(f"{Path(code.co_filename).stem}.{name} was called; {OWN_LINES}")

    def look_at_built_in(self, frame: types.FrameType, called: Any) -> None:
        """What is called of Python's and torch's functions in C."""
        module = getattr(called, "__module__", None) or type(getattr(called, "__self__", None)).__module__
        if self.is_forbidden(called.__name__) and not module.startswith("numpy") and self.from_answer(frame):
            self.refuse(f"torch.{called.__name__} was called; {BY_HAND}")
        if frame.f_code.co_filename in self.files and (
            module in BUILT_IN
            or (module == "builtins" and called.__name__ in STATEMENTS and called is vars(builtins)[called.__name__])
        ):
            self.refuse(f"{called.__name__} was called; {OWN_LINES}")

    def from_answer(self, frame: types.FrameType | None) -> bool:
        """True if the answer stands between this frame and the check, or is what the check called."""
        while frame is not None and kind_of(frame.f_code.co_filename) != "checker":
            if frame.f_code.co_filename in self.files:
                return True
            frame = frame.f_back
        return frame is not None and is_call(frame)

    def refuse(self, why: str) -> None:
        self.seen = self.seen or why
        raise Shortcut(self.seen)

    def methods_of(self, module: types.ModuleType, note: Callable[[Any, tuple, dict], None]) -> None:
        """Has the methods of the module's classes watched wherever they are called from; ``note`` hears what instances are made
        with."""
        for owner in [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]:
            for name, method in list(vars(owner).items()):
                plain = method.__func__ if isinstance(method, staticmethod) else method
                if isinstance(plain, types.FunctionType) and not inspect.isgeneratorfunction(plain):
                    watched = self.watched(plain, note if name == "__init__" else None)
                    setattr(owner, name, staticmethod(watched) if isinstance(method, staticmethod) else watched)

    def watched(self, function: Callable, note: Callable | None) -> Callable:
        """The same function, watched."""

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if note and type(args[0]).__init__ is run:  # not where a class calls that of its base
                note(args[0], args[1:], kwargs)
            with self():
                return function(*args, **kwargs)

        return run


# ---------------------------------------------------------------------------------------------
# What must stay as it was
# ---------------------------------------------------------------------------------------------


class Originals:
    """The functions of these modules and classes as they were; ``changed`` says which one is another now, and brings it back."""

    def __init__(self, owners: Collection[Any]) -> None:
        self.kept = [(owner, *self.functions(owner)) for owner in owners]
        closed = [
            owner for owner in owners if inspect.isclass(owner) or kind_of(getattr(owner, "__file__", None) or "<") == "checker"
        ]
        self.closed = [(owner, set(vars(owner))) for owner in closed]
        codes = {value for _, _, values in self.kept for value in values if isinstance(value, types.FunctionType)}
        self.codes = [(function, function.__code__) for function in codes if kind_of(function.__code__.co_filename) != "free"]

    @staticmethod
    def functions(owner: Any) -> tuple[list[str], list[Any]]:
        found = {
            name: value for name, value in list(vars(owner).items()) if callable(value) or isinstance(value, types.ModuleType)
        }
        return list(found), list(found.values())

    def changed(self) -> str:
        """Name of the first function that is not what it was; all of them are put back."""
        first = ""
        for owner, names, values in self.kept:
            now = list(map(vars(owner).get, names))
            if not all(map(_is, now, values)):
                for name, one, other in zip(names, now, values, strict=True):
                    if one is not other and not replaced_by_torch(name, one):
                        first = first or f"{owner.__name__}.{name}"
                        setattr(owner, name, other)
        for owner, names in self.closed:
            for name in vars(owner).keys() - names:
                if callable(vars(owner)[name]):  # Tensor.any, which Tensor inherits; or a sum of its own in a module
                    first = first or f"{owner.__name__}.{name}"
                    delattr(owner, name)
        for function, code in self.codes:
            if function.__code__ is not code:
                first = first or f"{function.__module__}.{function.__qualname__}"  # the code of a function is replaced too
                function.__code__ = code
        return first


def replaced_by_torch(name: str, value: Any) -> bool:
    """True for a function that torch itself puts in the place of its own, as torch.func does with torch.manual_seed."""
    code = getattr(value, "__code__", None)
    return code is not None and code.co_filename.startswith(TORCH) and value.__name__ == name


def _is(one: Any, other: Any) -> bool:
    return one is other


def owners_to_keep(*more: types.ModuleType) -> list[Any]:
    """Modules and classes whose functions a check relies on."""
    modules = [torch, torch.nn.functional, torch.autograd, torch.linalg, torch.fft, torch.testing, torch.random, torch.utils.data]
    modules += [np, np.fft, np.linalg, np.random, np.testing, builtins, random, functools, *more]
    modules += [sys.modules[name] for name in ("math", "itertools", "collections", "operator", "copy", "numbers", "heapq")]
    classes = [torch.Tensor, torch.nn.Module, torch.nn.Parameter, torch.autograd.Function, torch.utils.data.BatchSampler]
    classes += [value for value in vars(torch.nn).values() if inspect.isclass(value)]
    for module in more:
        classes += [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    return [*modules, *dict.fromkeys(classes)]


def settings_and_chance() -> dict[str, Any]:
    """The settings and random states that a function should leave as they are, by name."""
    generator = np.random.get_state(legacy=False)
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random state": (generator["state"]["key"].tobytes(), generator["state"]["pos"]),
        "Python's random state": random.getstate(),
        "torch's default dtype": torch.get_default_dtype(),
        "whether torch computes gradients": torch.is_grad_enabled(),
    }


@contextmanager
def same_chance() -> Iterator[None]:
    """Random numbers go on afterwards as if nothing had been drawn inside."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0]), np.random.set_state(states[1]), random.setstate(states[2])
