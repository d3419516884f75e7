"""Trains an n-gram language model over the letters of an alphabet: python train_language_model.py PATH -o lm.arpa.

python train_language_model.py sentences.txt -o lm.arpa        # on a text file with one sentence per line
python train_language_model.py path/to/corpus -o lm.arpa       # on the transcripts of a corpus
python train_language_model.py lm.arpa --score "see the moon"  # scores a text with a model, and trains nothing
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pictures.terminal import Parser, script  # first, since it names packages that are not installed

# isort: split
from decoding.ngrams import EOS, UNITS, NGramModel
from decoding.scorers import in_its_case, read_language_model
from implementation import CharEncoder, is_spaced
from speech.alphabets import choose_encoder
from speech.sentences import in_alphabet, read_sentences
from speech.transcripts import named
from training.folder import refuse_unwritable


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads and checks the flags of the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    text = "text with one sentence per line, or a corpus (folder or manifest); with --score: a language model"
    add("path", type=Path, help=text)
    add("-o", "--output", type=Path, help="ARPA file to write")
    add("--order", type=int, default=3, help="length of the longest n-grams (default: 3) [ours; paper: 5]")
    made_of = "what the n-grams are made of (default: word; character for Chinese; with --score: what the file says)"
    add("--unit", choices=UNITS, help=made_of)
    characters = "alphabet of the acoustic model that it will serve: english, mandarin, corpus (the characters of the texts), "
    characters += "a file, the characters themselves, or 'any' to change only capitals (default: english: a-z, space, ')"
    add("--alphabet", default="english", metavar="CHARACTERS", help=characters)
    add("--transcript-column", metavar="NAME", help="transcript column of the corpus, as in train_minimal.py")
    add("--split", default="train", help="split of the corpus (default: train)")
    add("--overwrite", action="store_true", help="replace the output if it exists")
    add("--score", metavar="TEXT", help="train nothing: show the natural log probability of each word or character of a text")
    args = parser.parse_args(argv)
    if args.score is None and args.output is None:
        parser.error("-o names the ARPA file to write: add -o lm.arpa, or --score TEXT to score a text with an existing model")
    if args.score is not None and args.output is not None:
        parser.error("--score trains nothing, so it writes nothing: leave out -o")
    return args


def alphabet_of(name: str, texts: Sequence[str] = ()) -> str | list[str]:
    """The alphabet for ``CharEncoder``: the characters if the name is 'corpus' or a file, else the name itself."""
    return choose_encoder(name, texts).alphabet if name == "corpus" or Path(name).is_file() else name


def train(args: argparse.Namespace) -> None:
    """Trains a model and writes it."""
    if args.output.exists() and not args.overwrite:
        raise ValueError(f"{args.output} exists already: give another name, or --overwrite to replace it")
    if not args.output.absolute().parent.is_dir():
        raise ValueError(f"the folder of {args.output} does not exist; make it first")
    refuse_unwritable(args.output.absolute().parent, "choose another -o")
    sentences, left_out = read_sentences(args.path, args.split, args.transcript_column), Counter()
    alphabet = alphabet_of(args.alphabet, sentences)
    if args.alphabet != "any":
        sentences, left_out = in_alphabet(sentences, alphabet)
    if left_out:
        spell = "spell them out if they are spoken"
        print(f"{args.path}: left out, since they are not in the alphabet: {named(left_out)}; {spell}", file=sys.stderr)
    by_words = args.alphabet == "any" or is_spaced(CharEncoder(alphabet))
    model = NGramModel.train(sentences, args.order, args.unit or ("word" if by_words else "character"))
    model.write_arpa(args.output)
    sizes = Counter(map(len, model.ngrams))
    ngrams = ", ".join(f"{sizes[n]} {n}-grams" for n in sorted(sizes))
    print(f"{args.output}: {model.unit} model of {len(sentences)} sentences, {ngrams}")


def score(args: argparse.Namespace) -> None:
    """Prints a model's log probability for each token of a text."""
    model = read_language_model(args.path, args.unit)
    if args.alphabet != "any":
        model = in_its_case(model, CharEncoder(alphabet_of(args.alphabet, [args.score])), args.path)
    text, state = args.score.lower(), model.start()
    for token in [*model.tokens(text), EOS]:
        log_p, state = model.next(state, token)
        print(f"{log_p:9.3f}  {token}" + ("" if model.knows(token) else "  (unknown)"))
    print(f"{model.score(text):9.3f}  natural log probability; perplexity {model.perplexity([text]):.2f}")


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Returns exit code 2 for bad input."""
    args = parse_args(argv)
    (train if args.score is None else score)(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
