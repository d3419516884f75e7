"""How a run is stopped: Ctrl-C, SIGTERM of a scheduler, SIGHUP of a closed terminal; all end where it can be resumed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

from speech.corpora import CorpusError

OTHERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # Windows has no SIGHUP


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the number of the signal, as shells have it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + getattr(stop, "number", int(signal.SIGINT))


class Interrupts(list):
    """Numbers of the signals that came so far; ``at_once`` tells whether SIGTERM and SIGHUP may end what is under way."""

    at_once = False

    @contextlib.contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """Around what is lost without harm, such as an evaluation: a scheduler does not wait long."""
        self.at_once = True
        try:
            yield
        finally:
            self.at_once = False


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP raise ``Stopped`` in place of ending the process on the spot."""
    with _handling(dict.fromkeys(OTHERS, _raise)):
        yield


def _raise(number: int, _frame: object) -> None:
    raise Stopped(number)


@contextlib.contextmanager
def interrupts_noted() -> Iterator[Interrupts]:
    """Signals only fill the list, for the loop to end where nothing is half done; a second Ctrl-C ends it at once."""
    noted, terminals = Interrupts(), [output for output in (1, 2) if _is_terminal(output)]

    def note(number: int, _frame: object) -> None:
        again = bool(noted)
        noted.append(number)
        if number == signal.SIGINT:
            if again:
                raise Stopped(number)
            what = "stopping after this step, or after the evaluation under way; Ctrl-C again stops at once"
        else:
            what = f"{signal.Signals(number).name}: stopping after this step"
        _say(what, terminals)
        if number != signal.SIGINT and noted.at_once:
            raise Stopped(number)

    with _handling(dict.fromkeys((signal.SIGINT, *OTHERS), note)):
        try:
            yield noted
        except CorpusError:
            if noted:  # signals reach worker processes too; one that is just starting is gone then
                raise Stopped(noted[0]) from None
            raise


@contextlib.contextmanager
def _handling(handlers: dict) -> Iterator[None]:
    """Handles these signals meanwhile; what is ignored (nohup) or has somebody else's handler stays as it is."""
    old = {number: signal.getsignal(number) for number in handlers}
    usual = (signal.SIG_DFL, signal.default_int_handler, _raise)
    ours = [number for number in handlers if old[number] in usual]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    for number in ours:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, old[number])


def _is_terminal(output: int) -> bool:
    try:
        return os.isatty(output)
    except OSError:  # closed
        return False


def _say(what: str, terminals: list[int]) -> None:
    """From within a signal's handler, to the standard error; where the terminal is gone nothing is written to it any more."""
    try:
        os.write(2, f"\n{what}\n".encode())
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for output in {2, *terminals}:
            os.dup2(nowhere, output)


def _end_with(process: object) -> None:
    process.join()
    os._exit(1)


def workers_survive(_worker: int) -> None:
    """In a worker process: signals to the whole group are left to the loop, which still wants the minibatch under way.

    SIGTERM is survived once; the next, which the main process sends where a worker does not end, ends it. When the main process
    is killed, it ends too; torch sees to that only where workers are forked, which newer Pythons don't do.
    """
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: signal.signal(number, signal.SIG_DFL))
