"""Wrong answers of exercise 2. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

COLLAPSE = "Graves et al. 2006, Section 3.1"

MUTANTS = [
    Mutant(
        "blanks are dropped before repeats are merged",
        "Only the blank between two equal labels tells a double letter from a held one. Without this blank the two labels are merged, and "
        '"hello" becomes "helo".',
        COLLAPSE,
        (("for label in indices:\n            if int", "for label in (i for i in indices if i != 0):\n            if int"),),
    ),
    Mutant(
        "equal labels are merged wherever they stand",
        "Only equal neighbours are one held letter. An equal label later, after a different one, is a new letter.",
        COLLAPSE,
        (("if int(label) != previous:", "if int(label) not in merged or int(label) == 0:"),),
    ),
    Mutant(
        "repeats are not merged",
        "A letter lasts several frames, and the network may output it in each of them. Equal neighbours are one letter.",
        COLLAPSE,
        (("if int(label) != previous:", "if True:"),),
    ),
    Mutant(
        "labels are counted from 0",
        "Label 0 is the blank. The labels of the alphabet begin at 1.",
        "arXiv Section 3.1; the convention of this library",
        (("index(char) + 1", "index(char)"), ("self.alphabet[label - 1]", "self.alphabet[label]")),
    ),
    Mutant(
        "decode merges repeats",
        "decode takes labels as they are, such as those of encode, so it must keep double letters. Only a path is collapsed.",
        "docstring of decode",
        (
            (
                "for label in labels if label != 0)",
                "for i, label in enumerate(labels) if label != 0 and labels[i - 1 : i] != [label])",
            ),
        ),
    ),
    Mutant(
        "capital letters are unknown",
        "The alphabet has only lower case, but transcripts have both. If a letter is not in the alphabet, try its lower case.",
        "docstring of encode",
        (("char = char if char in self.alphabet else char.lower()", "char = char"),),
    ),
    Mutant(
        "the upper case is tried too",
        "Try only the lower case. In an alphabet of capitals a small letter is unknown, and an unknown character raises ValueError.",
        "docstring of encode",
        (
            (
                "char = char if char in self.alphabet else char.lower()",
                "char = next((c for c in (char, char.lower(), char.upper()) if c in self.alphabet), char)",
            ),
        ),
    ),
    Mutant(
        "spaces at the ends are cut off",
        "A space is a character of the alphabet like any other. Each space gets its label, at the ends too.",
        "docstring of encode",
        (("for char in text:", "for char in text.strip():"),),
    ),
    Mutant(
        "characters outside the alphabet are left out silently",
        "The model would be trained as if the digits of a transcript were silent. Leave such characters out only if unknown is 'drop'.",
        "docstring of encode",
        (('elif self.unknown == "error":', 'elif self.unknown == "never":'),),
    ),
    Mutant(
        "an unknown character becomes a blank",
        "The blank belongs to paths, not to targets: the CTC loss refuses targets with 0. A dropped character gives no label at all.",
        "docstring of encode",
        (
            (
                'raise ValueError(f"{char!r} is not in the alphabet")\n',
                'raise ValueError(f"{char!r} is not in the alphabet")\n            else:\n                labels.append(0)\n',
            ),
        ),
    ),
    Mutant(
        "negative labels are accepted",
        "In Python alphabet[-1] is the last character. So a label below 0 silently gives a letter. The docstring asks for a ValueError.",
        "docstring of decode",
        (("if any(not 0 <= label < self.vocab_size", "if any(not label < self.vocab_size"),),
    ),
    Mutant(
        "the padding is decoded too",
        "Frames beyond an utterance's length are padding. The network outputs something there too, but nobody said it.",
        "docstring of greedy_decode",
        (("path[:length]", "path"),),
    ),
]
