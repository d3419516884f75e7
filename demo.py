"""Opens a local page that shows what a trained network hears: python demo.py"""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pictures.terminal import Parser, script  # first, since it names packages that are not installed

# isort: split
import torch

from page.hearing import load
from page.material import at_hand, checkpoints, of_corpus


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads and checks the flags of the command line."""
    parser = Parser(description="Opens a local page that shows what a trained network hears, stage by stage.")
    add = parser.add_argument
    add(
        "checkpoint",
        nargs="?",
        type=Path,
        help="checkpoint or ONNX file to begin with; default: models/commands_en.pt or the newest run's checkpoint",
    )
    add("--data", type=Path, metavar="PATH", help="corpus whose utterances you can choose; default: the synthetic voice")
    add("--lm", type=Path, metavar="FILE", help="another language model to offer beside the run's: an ARPA file or KenLM binary")
    add("--port", type=int, default=7860, help="port of the page on this computer; 0: any free one (default: 7860)")
    add("--no-browser", action="store_true", help="print the address without opening a browser")
    args = parser.parse_args(argv)
    if not 0 <= args.port < 65536:
        parser.error(f"--port must lie between 0 and 65535, not {args.port}")
    if args.lm is not None and not args.lm.is_file():
        parser.error(f"--lm {args.lm}: no such file")
    return args


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Returns exit code 2 if nothing can be shown."""
    args = parse_args(argv)
    if find_spec("gradio") is None:
        raise ValueError("the page needs Gradio, which is not installed: pip install -r requirements-demo.txt")
    chosen = checkpoints(args.checkpoint)
    load(chosen[0])  # reports a damaged file here, before a page opens
    from page.server import serve  # only now, since it needs Gradio

    torch.set_num_threads(1)  # a model that fits here gains little from more, and the browser needs the other core

    def opened(address: str) -> None:
        print(f"the page is at {address}, for this computer only; press Ctrl-C to stop it", flush=True)
        if not args.no_browser:
            webbrowser.open(address)

    serve(of_corpus(args.data) if args.data else at_hand(), chosen, args.lm, args.port, opened)
    return 0


if __name__ == "__main__":
    sys.exit(main())
