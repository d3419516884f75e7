"""Exercise 2: characters and the CTC collapse.

Why it matters. The network puts out one symbol a frame, far more symbols than the text has letters. CTC adds a blank to the
alphabet and reads a text off such a path by a rule of two lines. Take the two lines in the wrong order and no double letter
survives: "hello" becomes "helo", in every transcript, for ever.

Paper. The alphabet: arXiv Section 3.1 (a to z, space, apostrophe, and the blank). The collapse: Graves et al. 2006, Section 3.1.
Effort. 20 minutes, difficulty 1 of 3.
You may use. Plain Python; torch for the argmax.
Check it. python exercises/exercise_02_characters.py

What if. Let ctc_decode drop the blanks first and merge afterwards, and decode "hello" from the path of "hel-lo" (- is the
blank). Which English words could such a recogniser never write?
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

ENGLISH = "abcdefghijklmnopqrstuvwxyz '"


class CharEncoder:
    """Characters to CTC labels and back; label 0 is the blank, the alphabet is numbered from 1.

    Example, to do by hand first. The alphabet "abc" gives a = 1, b = 2, c = 3:

    >>> encoder = CharEncoder("abc")
    >>> encoder.encode("cab")
    [3, 1, 2]
    >>> encoder.decode([3, 0, 1, 1])
    'caa'
    >>> encoder.ctc_decode([3, 3, 0, 1, 1, 0, 1, 2])
    'caab'
    """

    blank_idx = 0

    def __init__(self, alphabet: str | Sequence[str] = "english", unknown: str = "error") -> None:
        """Given, nothing to do here: sets ``alphabet`` (a list of characters) and ``unknown`` ('error' or 'drop')."""
        if unknown not in ("error", "drop"):
            raise ValueError(f"unknown must be 'error' or 'drop', not {unknown!r}")
        self.alphabet = list(ENGLISH if alphabet == "english" else alphabet)
        self.unknown = unknown
        if len(set(self.alphabet)) != len(self.alphabet) or any(len(char) != 1 for char in self.alphabet):
            raise ValueError(f"an alphabet is a sequence of different single characters, not {alphabet!r}")

    @property
    def vocab_size(self) -> int:
        """Given: number of output symbols V, the blank included."""
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        """Labels of a text, one for each character.

        A character of the alphabet stands for itself. Any other is tried as its lower case: "A" is read as "a" where the
        alphabet has only the latter.

        Returns:
            a list of int.

        Raises:
            ValueError: for a character that is in the alphabet neither way, unless ``unknown`` is 'drop': then it is left out.
        """
        raise NotImplementedError

    def decode(self, indices: Iterable[int]) -> str:
        """Text of labels as they stand: nothing is merged, blanks give no character.

        Args:
            indices: labels, in anything that can be iterated over, also a 1-D tensor.

        Raises:
            ValueError: if a label is not in 0..V-1.
        """
        raise NotImplementedError

    def ctc_decode(self, indices: Iterable[int]) -> str:
        """Text of a CTC path: what stands next to its equal is merged, and the blanks go. (In which order?)

        Args and Raises as ``decode``.
        """
        raise NotImplementedError


def greedy_decode(log_probs: Tensor, encoder: CharEncoder, lengths: Tensor | None = None) -> list[str]:
    """Texts of the best paths: the likeliest symbol of each frame, collapsed (Graves et al. 2006, Eq. 4).

    Example. Two frames, one utterance, symbols blank, a, b: the best path is a a, which collapses to "a".

    >>> import torch
    >>> greedy_decode(torch.tensor([[[0.2, 0.5, 0.3]], [[0.4, 0.6, 0.0]]]).log(), CharEncoder("ab"))
    ['a']

    Args:
        log_probs: (T', B, V), frames first; float32 or float64, with or without a gradient.
        encoder: turns labels into text.
        lengths: (B,) integer output frames of each utterance; what comes later is padding. None means all T'.

    Returns:
        a list of B texts.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
