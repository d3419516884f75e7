"""Trains Deep Speech 2: on embedded synthetic speech without any download, or on real recordings with --data.

    python train_minimal.py
    python train_minimal.py --data path/to/corpus

The model and its parts are in implementation.py; training/ holds the rest, in this order: flags (what the command line
says), settings (the same as dataclasses), assembly (speech, model and trainer), run (a run in its folder), loop (epochs
and steps), report (what came of it).
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence

from pictures.terminal import show_any_name
from training.assembly import start_run
from training.flags import parse_args
from training.report import finish


def main(argv: Sequence[str] | None = None) -> int:
    show_any_name()
    speech, model, training, output = parse_args(argv, __doc__.split("\n\n")[0])
    start = time.perf_counter()
    command = shlex.join(["python", "train_minimal.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        run = start_run(speech, model, training, output, command)
        try:
            run.train()
        except KeyboardInterrupt:
            run.save_stopped()
            print(f"\nstopped; the state is in {run.folder}. To go on: the same command with --resume {run.folder}")
            return 130
        finish(run, output.language_model)
    except KeyboardInterrupt:
        print("\nstopped outside of training; what was saved stays", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
