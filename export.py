"""Writes a trained model as ONNX, for programs in other languages: python export.py checkpoint.pt -o model.onnx

The graph takes audio samples, computes the spectrogram itself, and gives log-probabilities. Its metadata hold what decoding
needs: the symbols, the sample rate, and the seconds from one row to the next. docs/onnx.md shows how to use it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pictures.terminal import Parser, print_json, script  # first, since it names packages that are not installed

# isort: split
from models.checkpoints import load_checkpoint
from models.writing import whole_file
from training.folder import refuse_unwritable

CLOSE = 1e-3  # how far the log-probabilities may be from torch's; in our tests they are within 1e-4


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads and checks the flags of the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint.pt of a training run")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the file to write, such as model.onnx")
    add("--stream", action="store_true", help="take the utterance piece by piece; needs a model trained with --forward-only")
    add("--json", action="store_true", help="print the metadata, for runtimes that don't show them, such as JavaScript's")
    add("--overwrite", action="store_true", help="replace the file if it exists")
    return parser.parse_args(argv)


def refuse(output: Path, overwrite: bool) -> None:
    """Raises ``ValueError`` if the file can't be written or packages are missing."""
    if output.suffix != ".onnx":
        raise ValueError(f"{output}: the name of an ONNX file must end in .onnx: write -o {output.with_suffix('.onnx')}")
    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists already: give another name, or --overwrite to replace it")
    if not output.absolute().parent.is_dir():
        raise ValueError(f"the folder of {output} does not exist; make it first")
    refuse_unwritable(output.absolute().parent, "choose another -o")
    if missing := ", ".join(name for name in ("onnx", "onnxruntime") if find_spec(name) is None):
        raise ValueError(f"{missing}: not installed yet: pip install -r requirements-export.txt")


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Returns exit code 2 for bad input."""
    args = parse_args(argv)
    refuse(args.output, args.overwrite)
    from models.onnx_graph import onnx_model
    from models.onnx_runtime import difference

    checkpoint = load_checkpoint(args.checkpoint)
    model = onnx_model(checkpoint, args.stream)
    written = model.SerializeToString()
    if not (far := difference(checkpoint, written)) <= CLOSE:
        raise ValueError(f"onnxruntime's log-probabilities differ from torch's by {far:.2g}; nothing was written")
    with whole_file(args.output) as temporary:
        temporary.write_bytes(written)
    if args.json:
        print_json({entry.key: entry.value for entry in model.metadata_props})
        return 0
    features, symbols = checkpoint.model.features, checkpoint.encoder.vocab_size
    noise = "its output for two utterances of noise differs from torch's by"
    print(f"{args.output}: {len(written) / 1e6:.1f} MB; {noise} {far:.1g} at most")
    takes = "streams" if args.stream else "utterances"
    print(f"takes {takes} at {features.sample_rate} Hz and gives {symbols} log-probabilities every "
          f"{1000 * checkpoint.model.seconds_per_output:.0f} ms")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
