"""Solution of exercise 2: characters and the CTC collapse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

ENGLISH = "abcdefghijklmnopqrstuvwxyz '"


class CharEncoder:
    """Characters to CTC labels and back; label 0 is the blank."""

    blank_idx = 0

    def __init__(self, alphabet: str | Sequence[str] = "english", unknown: str = "error") -> None:
        if unknown not in ("error", "drop"):
            raise ValueError(f"unknown must be 'error' or 'drop', not {unknown!r}")
        self.alphabet = list(ENGLISH if alphabet == "english" else alphabet)
        self.unknown = unknown
        if len(set(self.alphabet)) != len(self.alphabet) or any(len(char) != 1 for char in self.alphabet):
            raise ValueError(f"an alphabet is a sequence of different single characters, not {alphabet!r}")

    @property
    def vocab_size(self) -> int:
        return len(self.alphabet) + 1

    def encode(self, text: str) -> list[int]:
        labels = []
        for char in text:
            # The character itself first: an alphabet may hold both cases.
            char = char if char in self.alphabet else char.lower()
            if char in self.alphabet:
                labels.append(self.alphabet.index(char) + 1)
            elif self.unknown == "error":
                raise ValueError(f"{char!r} is not in the alphabet")
        return labels

    def decode(self, indices: Iterable[int]) -> str:
        labels = [int(label) for label in indices]
        if any(not 0 <= label < self.vocab_size for label in labels):  # alphabet[-1] would be silent
            raise ValueError(f"labels must lie in 0..{self.vocab_size - 1}, not {labels}")
        return "".join(self.alphabet[label - 1] for label in labels if label != 0)

    def ctc_decode(self, indices: Iterable[int]) -> str:
        # Merge first: the blank between two equal labels is what keeps both, so it must still be there.
        merged: list[int] = []
        previous = None
        for label in indices:
            if int(label) != previous:
                merged.append(int(label))
            previous = int(label)
        return self.decode(merged)


def greedy_decode(log_probs: Tensor, encoder: CharEncoder, lengths: Tensor | None = None) -> list[str]:
    """Texts of the best paths, (T', B, V) -> B texts."""
    best = log_probs.argmax(-1).t()  # (B, T')
    frames = [len(log_probs)] * len(best) if lengths is None else lengths.tolist()
    return [encoder.ctc_decode(path[:length].tolist()) for path, length in zip(best, frames, strict=True)]


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
