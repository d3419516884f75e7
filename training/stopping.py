"""How a run is stopped: by Ctrl-C, a scheduler's SIGTERM, or the SIGHUP of a closed terminal; it can always be resumed."""

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
    """A signal asked the run to stop; ``number`` is the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 plus the number of the signal, as in shells: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + getattr(stop, "number", int(signal.SIGINT))


class Interrupts(list):
    """The numbers of the signals received so far; ``at_once`` says whether SIGTERM and SIGHUP may interrupt the current work."""

    at_once = False

    @contextlib.contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """For work that may be lost, such as an evaluation: a signal stops it at once, since a scheduler does not wait long."""
        self.at_once = True
        try:
            yield
        finally:
            self.at_once = False


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP raise ``Stopped`` instead of ending the process on the spot."""
    with _handling(dict.fromkeys(OTHERS, _raise)):
        yield


def _raise(number: int, _frame: object) -> None:
    raise Stopped(number)


@contextlib.contextmanager
def interrupts_noted() -> Iterator[Interrupts]:
    """Signals only fill the list, so that the loop can end after a complete step; a second Ctrl-C ends it at once."""
    noted, terminals = Interrupts(), [output for output in (1, 2) if _is_terminal(output)]

    def note(number: int, _frame: object) -> None:
        again = bool(noted)
        noted.append(number)
        if number == signal.SIGINT:
            if again:
                raise Stopped(number)
            what = "stopping after this step or the current evaluation; press Ctrl-C again to stop at once"
        else:
            what = f"{signal.Signals(number).name}: stopping after this step"
        _say(what, terminals)
        if number != signal.SIGINT and noted.at_once:
            raise Stopped(number)

    with _handling(dict.fromkeys((signal.SIGINT, *OTHERS), note)):
        try:
            yield noted
        except CorpusError:
            if noted:  # signals reach worker processes too, and end one that is just starting
                raise Stopped(noted[0]) from None
            raise


@contextlib.contextmanager
def _handling(handlers: dict) -> Iterator[None]:
    """Handles these signals inside this context; ignored ones (nohup) and those with another handler stay as they are."""
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
    """Writes to standard error from a signal handler; if the terminal is gone, nothing more is written to it."""
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
    """Makes a worker process ignore signals to the whole group, because the loop still needs the current minibatch.

    The worker survives one SIGTERM; a second one, which the main process sends to a worker that does not end, ends it. It also
    ends when the main process is killed; torch ensures this only for forked workers, which newer Pythons do not use.
    """
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: signal.signal(number, signal.SIG_DFL))
