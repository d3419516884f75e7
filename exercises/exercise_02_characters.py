"""Exercise 2: characters and the CTC collapse.

Why it matters. The network outputs one symbol per frame, which is many more symbols than the text has letters. CTC adds a
blank to the alphabet. Two rules then turn such a path of symbols into a text. If you apply them in the wrong order, every double
letter is lost: "hello" becomes "helo" in every transcript.

Paper. The alphabet: arXiv Section 3.1 (a to z, space, apostrophe, and the blank). The collapse: Graves et al. 2006, Section 3.1.
Effort. 20 minutes, difficulty 1 of 3.
You may use. Plain Python; torch for the argmax.
Check it. python exercises/exercise_02_characters.py

What if. Let ctc_decode drop the blanks first and merge afterwards. What text does it then return for the path "hel-lo" (- is
the blank)? Which English words could such a recogniser never write?
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

ENGLISH = "abcdefghijklmnopqrstuvwxyz '"


class CharEncoder:
    """Turns characters into CTC labels and back. Label 0 is the blank; the characters of the alphabet are numbered from 1.

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
        """Given, nothing to write here: sets ``alphabet`` (a list of characters) and ``unknown`` ('error' or 'drop')."""
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
        """The labels of a text, one for each character.

        A character that is in the alphabet keeps its own label. Any other character is first changed to lower case: if the
        alphabet has "a" but not "A", then "A" gets the label of "a".

        Returns:
            a list of int.

        Raises:
            ValueError: if a character is not in the alphabet, even in lower case, and ``unknown`` is 'error'. If ``unknown``
                is 'drop', the character is left out instead.
        """
        raise NotImplementedError

    def decode(self, indices: Iterable[int]) -> str:
        """The text of a list of labels. Each label gives its character; nothing is merged. A blank gives no character.

        Args:
            indices: labels, in a list, a 1-D tensor or any other iterable.

        Raises:
            ValueError: if a label is not in 0..V-1.
        """
        raise NotImplementedError

    def ctc_decode(self, indices: Iterable[int]) -> str:
        """The text of a CTC path: equal neighbours are merged into one, and blanks are dropped. (In which order?)

        Args and Raises are those of ``decode``. A path may have thousands of labels: use a loop, not recursion.
        """
        raise NotImplementedError


def greedy_decode(log_probs: Tensor, encoder: CharEncoder, lengths: Tensor | None = None) -> list[str]:
    """The text of each utterance's best path: take the likeliest symbol of each frame, then collapse (Graves et al. 2006, Eq. 4).

    Example. Two frames, one utterance, and the symbols blank, a and b. The best path is "a a", which collapses to "a".

    >>> import torch
    >>> greedy_decode(torch.tensor([[[0.2, 0.5, 0.3]], [[0.4, 0.6, 0.0]]]).log(), CharEncoder("ab"))
    ['a']

    Args:
        log_probs: (T', B, V) log-probabilities, frames first; float32 or float64, with or without requires_grad.
        encoder: turns labels into text.
        lengths: (B,) integers, the number of output frames of each utterance; later frames are padding. None means all T'.

    Returns:
        a list of B texts.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
