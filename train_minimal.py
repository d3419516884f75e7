"""Trains Deep Speech 2 or 1 on built-in synthetic speech, without any download, or on real recordings with --data.

    python train_minimal.py
    python train_minimal.py --data path/to/corpus
    torchrun --standalone --nproc_per_node=2 train_minimal.py

The model and its parts are in implementation.py; training/ holds the rest, in this order: flags (the command line),
settings (the same as dataclasses), assembly (speech, model and trainer), run (a run in its folder), loop (epochs and
steps) and report (the results).
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence

from pictures.terminal import script
from training.assembly import start_run
from training.flags import parse_args
from training.parallel import is_first, joined_processes, one_voice
from training.report import finish
from training.stopping import exit_code, signals_raise


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Returns exit code 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP: 128 plus the number of the signal."""
    with one_voice():
        speech, model, training, output = parse_args(argv, __doc__.split("\n\n")[0])
    start = time.perf_counter()
    command = shlex.join(["python", "train_minimal.py", *(sys.argv[1:] if argv is None else argv)])
    run = None
    try:
        with signals_raise(), joined_processes(), start_run(speech, model, training, output, command) as run:
            try:
                run.train()
            except KeyboardInterrupt as stop:
                print(f"\n{run.save_stopped()}")
                return exit_code(stop)
            if not is_first():
                return 0
            finish(run, output.language_model, output.jitter)
    except KeyboardInterrupt as stop:
        done = f"after the training, which is saved in {run.folder}" if run else "before the training; nothing was saved"
        print(f"\nstopped {done}", file=sys.stderr)
        return exit_code(stop)
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
