"""The same call again: what an answer returns may depend on its arguments alone, not on earlier calls.

A call is followed by others: with other content in the same tensors (same object, shape and address), on a copy of the object
and on a twin that knows nothing of what came before (the same text, loaded a second time); then with the first content again.
An answer that keeps results on its class, or by shape, address, ``str()`` or turn, gives itself away in one of them."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor


class Repeat:
    """Makes a call again in the ways above, and says what differs.

    Args:
        function, args, kwargs: the call; the function is one of the answer, a method or an object of its classes, or ``iter``
            or ``len`` of one.
        answer, twin: the answer, and the same text loaded a second time.
        turn: 1 for the first call of a function, and so on; at every second the content is changed so little that it prints the
            same, at the third of four it stands in tensors of its own.
    """

    def __init__(
        self, function: Callable, args: tuple, kwargs: dict, answer: types.ModuleType, twin: types.ModuleType, turn: int
    ) -> None:  # fmt: skip
        self.args, self.kwargs, self.small, self.apart = args, kwargs, turn % 2 == 0, turn % 4 == 3
        self.again, self.twins = (
            [transplanted(value, answer, module) for value in (function, *args)] for module in (answer, twin)
        )
        meet_another(answer, [getattr(function, "__self__", function), *args], turn)

    @staticmethod
    def possible(function: Callable, args: tuple, kwargs: dict, answer: types.ModuleType) -> bool:
        """True if the call can be made again: it is one of the answer's, and no argument is meant to be changed."""
        given = [*args, *kwargs.values()]
        if any(isinstance(value, nn.Module | torch.optim.Optimizer | type | Iterator) for value in given) or isinstance(
            function, type
        ):
            return False
        owner = getattr(function, "__self__", function)
        return (
            getattr(function, "__module__", "") == answer.__name__
            or name_in(answer, function, "") != ""
            or any(type(value).__module__ == answer.__name__ for value in (owner, *args))
        )

    def difference(self, result: Any, kept: Any) -> tuple[str, Any, Any] | None:
        """What differs: how it was called, what came, what came on the twin or the first time. ``kept``: a copy of ``result``."""
        one, other = self.both()
        if not alike(one, other):
            one, other = self.both()  # no difference by chance
        if not alike(one, other):
            return (
                "the same call with other content (wanted: its result without the first call)",
                one,
                other,
            )
        if not alike(result, kept):
            return "the same call with other content, which changed the first result", result, kept
        last = outcome(self.again, self.merged(self.args, self.again), self.kwargs)
        return None if alike(last, kept) else ("the same call with other content, then the first call again", last, kept)

    def both(self) -> tuple[Any, Any]:
        """Results for other content: of the answer, which had the call before, and of the twin."""
        with other_content([*self.args, *self.kwargs.values()], self.small) as values:
            values = [kept(value) if self.apart and isinstance(value, Tensor | np.ndarray) else value for value in values]
            args, kwargs = values[: len(self.args)], dict(zip(self.kwargs, values[len(self.args) :], strict=True))
            one, other = (outcome(call, self.merged(args, call), kwargs) for call in (self.again, self.twins))
            return kept(one), kept(other)

    def merged(self, args: Sequence, call: list) -> list:
        """The arguments, objects of the answer's classes as the call has them."""
        return [mine if mine is not was else new for new, was, mine in zip(args, self.args, call[1:], strict=True)]


def outcome(call: list, args: list, kwargs: dict) -> Any:
    """Result of the call, or the error that it raised."""
    function = call[0]
    try:
        if function is iter:  # two at once
            pairs = list(zip(iter(args[0]), iter(args[0]), strict=True))
            return [one for one, _ in pairs] if all(alike(*pair) for pair in pairs) else [other for _, other in pairs]
        result = function(*args, **kwargs)
        return list(result) if isinstance(result, Iterator) else result
    except Exception as error:
        return error


def transplanted(value: Any, answer: types.ModuleType, module: types.ModuleType) -> Any:
    """A function, method or object of the answer as the module has it; objects are copied, anything else stays."""
    if isinstance(value, types.MethodType):
        owner = transplanted(value.__self__, answer, module)
        return getattr(owner, name_in(type(value.__self__), value.__func__, value.__name__))
    if name := name_in(answer, value, ""):
        return getattr(module, name, value)
    if type(value).__module__ != answer.__name__:
        return value
    kind = attribute(module, type(value).__qualname__, type(value))
    args, kwargs = made_with(answer, value)
    if kind is not type(value) and args is not None:
        kind(*args, **kwargs)  # what a class learns when it is first used
    twin = copied(value)
    for part in twin.modules() if isinstance(twin, nn.Module) else [twin]:
        if type(part).__module__ == answer.__name__:
            part.__class__ = attribute(module, type(part).__qualname__, type(part))
    return twin


def name_in(owner: Any, value: Any, otherwise: str) -> str:
    """The name under which a module or class has this very value."""
    owners = owner.__mro__ if isinstance(owner, type) else [owner]
    return next((name for part in owners for name, one in vars(part).items() if one is value), otherwise)


def attribute(module: types.ModuleType, name: str, otherwise: Any) -> Any:
    """What the module has under a dotted name."""
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, otherwise)
    return value


def note_made(answer: types.ModuleType, value: Any, args: tuple, kwargs: dict) -> None:
    """Remembers what an object was made with."""
    vars(answer).setdefault("_made", {})[id(value)] = (value, copy.copy(args), dict(kwargs))


def made_with(answer: types.ModuleType, value: Any) -> tuple[tuple | None, dict]:
    """What an object was made with; None if that is not known."""
    return vars(answer).get("_made", {}).get(id(value), (None, None, {}))[1:]


def meet_another(answer: types.ModuleType, values: Sequence[Any], turn: int) -> None:
    """Makes another object of each value's class, each turn with what another one was made with: objects must not share."""
    for value in values:
        made = {
            repr(settings): settings for other, *settings in vars(answer).get("_made", {}).values() if type(other) is type(value)
        }
        made.pop(repr([*made_with(answer, value)]), None)
        if made:
            args, kwargs = list(made.values())[-1 - turn % len(made)]
            type(value)(*args, **kwargs)


def copied(value: Any) -> Any:
    """A deep copy, results of other computations (which torch does not copy) without their graph."""
    memo: dict[int, Any] = {}
    for part in value.modules() if isinstance(value, nn.Module) else [value]:
        for held in tensors_in(list(getattr(part, "__dict__", {}).values())):
            if held.grad_fn is not None:
                memo[id(held)] = held.detach().clone()
    return copy.deepcopy(value, memo)


# ---------------------------------------------------------------------------------------------
# Content
# ---------------------------------------------------------------------------------------------


def tensors_in(values: Any) -> Iterator[Tensor]:
    """All tensors in lists, tuples and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple | dict):
        for value in values.values() if isinstance(values, dict) else values:
            yield from tensors_in(value)


@contextmanager
def other_content(values: Sequence[Any], small: bool) -> Iterator[list[Any]]:
    """The same objects with other content, put back at the end; text, which can't be changed, is replaced."""
    undo: list[Callable[[], Any]] = []
    for flat in {tensor.untyped_storage().data_ptr(): whole(tensor) for tensor in tensors_in(values) if tensor.numel()}.values():
        undo.append(functools.partial(flat.copy_, flat.clone()))
        flat.copy_(other_numbers(flat, small))
    for value in values:
        if isinstance(value, np.ndarray) and value.size and value.flags.writeable:
            undo.append(functools.partial(np.copyto, value, value.copy()))
            np.copyto(value, other_numbers(torch.tensor(value.reshape(-1)), small).numpy().reshape(value.shape))
        elif isinstance(value, list) and not small:
            undo.append(functools.partial(value.__setitem__, slice(None), value.copy()))
            value.reverse()
    try:
        yield [value[1:] + value[:1] if isinstance(value, str) and not small else value for value in values]
    finally:
        for put_back in reversed(undo):
            put_back()


def whole(tensor: Tensor) -> Tensor:
    """All numbers behind a tensor as one row, in the same memory."""
    return torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())


def other_numbers(flat: Tensor, small: bool) -> Tensor:
    """Other numbers of the same kind: in reverse order, or changed so little that they print the same."""
    if not small:
        return flat.flip(0)
    if flat.dtype != torch.float64:
        return flat
    changed = flat * (1 + 2e-10 * torch.sin(torch.arange(len(flat), dtype=flat.dtype)))
    return torch.where(flat == flat.round(), flat, changed)  # 1 prints as "1.", what is near it as "1.0000"


def kept(value: Any) -> Any:
    """A copy of a result, tensors without their graph."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | tuple):
        return [kept(part) for part in value]
    return copy.copy(value)


def alike(one: Any, other: Any, rough: bool = False) -> bool:
    """True if two results are the same but for the last digits; ``rough``: of two answers that compute in ways of their own."""
    if isinstance(one, Exception) or isinstance(other, Exception):
        return type(one).__name__ == type(other).__name__
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and alike(torch.tensor(one), torch.tensor(other), rough)
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype or not one.is_floating_point():
            return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
        finite = other.detach()[torch.isfinite(other.detach())]
        digits = (1e-6 if rough else 1e-12) if one.dtype == torch.float64 else 1e-4
        scale = digits * float(finite.abs().max()) if finite.numel() else 0.0
        return torch.allclose(one.detach(), other.detach(), rtol=digits, atol=scale, equal_nan=True)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(alike(*pair, rough) for pair in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-6 if rough else 1e-12) or (one != one and other != other)
    if dataclasses.is_dataclass(one) and type(one).__name__ == type(other).__name__:
        return alike(list(vars(one).values()), list(vars(other).values()), rough)
    plain = isinstance(one, str | int | dict | set | None)
    return one == other if plain else type(one).__name__ == type(other).__name__
