"""Wrong answers of exercise 9. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

H = "Hannun et al. 2014 (arXiv:1408.2873), the updates of p_b and p_nb"
EQ12 = "arXiv Section 3.8, Eq. 12"

MUTANTS = [
    Mutant(
        "a held letter becomes a double letter",
        "The last label again extends the prefix only after a blank, with p_b. Paths that end in the label itself hold it.",
        H,
        (("(p_b if again else both)", "both"),),
    ),
    Mutant(
        "double letters are lost",
        "After a blank the last label again is a new letter: p_b p(c) goes to the prefix with c added. That is what the two masses are kept apart for.",
        H,
        (
            (
                "            add((*prefix, label), 1, (p_b if again else both) + frame[label])",
                "            if not again:\n                add((*prefix, label), 1, both + frame[label])",
            ),
        ),
    ),
    Mutant(
        "a letter cannot be held",
        "The last label again, without a blank, leaves the prefix as it is: p_nb p(c) goes to its own p_nb.",
        H,
        (("            add(prefix, 1, p_nb + frame[prefix[-1]])", "            pass"),),
    ),
    Mutant(
        "a held letter takes both masses",
        "Held can only be what is being said: p_nb p(c). After a blank (p_b) the same label is a new letter.",
        H,
        (("add(prefix, 1, p_nb + frame", "add(prefix, 1, both + frame"),),
    ),
    Mutant(
        "the blank takes only p_b",
        "A blank may follow a label as well as a blank: (p_b + p_nb) p(blank).",
        H,
        (("add(prefix, 0, both + frame[0])", "add(prefix, 0, p_b + frame[0])"),),
    ),
    Mutant(
        "the best path in place of the sum",
        "The probability of a text is the sum over its paths; the maximum ranks texts by their best path.",
        "Graves et al. 2006, Eq. 3",
        (("masses[place] = np.logaddexp(masses[place], mass)", "masses[place] = max(masses[place], mass)"),),
    ),
    Mutant(
        "masses are overwritten, not added up",
        "A prefix gets mass from itself and from its parent in the same frame: accumulate, do not assign.",
        H,
        (("masses[place] = np.logaddexp(masses[place], mass)", "masses[place] = mass"),),
    ),
    Mutant(
        "the language model comes only at the end",
        "Prefixes are ranked with alpha log_lm + beta words after each frame; at the end the text that the model wants may long be gone.",
        EQ12 + "; docstring",
        (
            (
                "rank = {prefix: score(np.logaddexp(*masses), *language(prefix)[1:])",
                "rank = {prefix: score(np.logaddexp(*masses), 0.0, 0)",
            ),
        ),
    ),
    Mutant(
        "words are not counted",
        "beta word_count(y) is the third term of Q(y).",
        EQ12,
        (("alpha * log_lm + beta * words)", "alpha * log_lm)"),),
    ),
    Mutant(
        "alpha is not used",
        "The language model's log-probability is weighed by alpha.",
        EQ12,
        (("alpha * log_lm + beta", "log_lm + beta"),),
    ),
    Mutant(
        "the end of the text is not scored",
        "scorer.finish(state) says what the model adds where the text ends: its last word, and that it ends there.",
        "docstring",
        (("scorer.finish(state) if scorer else", "(0.0, 0) if scorer else"),),
    ),
    Mutant(
        "the label is scored in the state after it",
        "scores(state, labels) is asked of the state before the labels; advance comes afterwards.",
        "docstring",
        (
            (
                "                added, counted = scorer",
                "                state = scorer.advance(state, prefix[-1])\n                added, counted = scorer",
            ),
            ("                state = scorer.advance(state, prefix[-1])\n            known", "            known"),
        ),
    ),
    Mutant(
        "only the last label counts for the language model",
        "log_lm and words of a prefix are the sums over all its labels.",
        "docstring",
        (
            (
                "log_lm, words = log_lm + float(added[0]), words + int(counted[0])",
                "log_lm, words = float(added[0]), int(counted[0])",
            ),
        ),
    ),
    Mutant(
        "the answer belongs to another label",
        "scores(state, labels) answers in the order of the labels asked: the first answer is that of the first label.",
        "docstring",
        (("scorer.scores(state, np.array(prefix[-1:]))", "scorer.scores(state, np.arange(prefix[-1] + 1)[-2:])"),),
    ),
    Mutant(
        "the beam is not pruned",
        "After each frame only the beam_width best prefixes go on; otherwise their number keeps growing.",
        "docstring",
        (("key=rank.get, reverse=True)[:beam_width]", "key=rank.get, reverse=True)"),),
    ),
    Mutant(
        "the worst comes first",
        "Best first: the highest score, which is a negative number near 0.",
        "docstring",
        (("key=lambda one: -one.score)", "key=lambda one: one.score)"),),
    ),
    Mutant(
        "the worst prefixes are kept",
        "The beam keeps the highest scores: negative numbers near 0 are the high ones.",
        "docstring",
        (("key=rank.get, reverse=True)", "key=rank.get)"),),
    ),
    Mutant(
        "log_ctc leaves the paths that end in blank out",
        "A text's probability is p_b + p_nb: its paths may end either way.",
        H,
        (
            (
                "log_ctc = log_lm + log_end, words + words_end, float(np.logaddexp(*masses))",
                "log_ctc = log_lm + log_end, words + words_end, float(masses[1])",
            ),
        ),
    ),
    Mutant(
        "what the model forbids comes back at alpha = 0",
        "0 times -inf is nan, or nothing if the term is skipped; a forbidden text must stay out whatever alpha is.",
        "docstring (alpha)",
        (("return NEVER if log_lm == NEVER else float(", "log_lm = max(log_lm, -1e9) if alpha else 0.0\n        return float("),),
    ),
    Mutant(
        "cutoff and max_labels are not used",
        "Only kept_labels(frame, cutoff, max_labels) may extend a prefix.",
        "arXiv Section 7.3",
        (("kept_labels(frame, cutoff, max_labels))", "kept_labels(frame, 1.0, None))"),),
    ),
]
