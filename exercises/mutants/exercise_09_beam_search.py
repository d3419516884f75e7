"""Wrong answers of exercise 9. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

H = "Hannun et al. 2014 (arXiv:1408.2873), the updates of p_b and p_nb"
EQ12 = "arXiv Section 3.8, Eq. 12"

MUTANTS = [
    Mutant(
        "a held letter becomes a double letter",
        "The last label extends the prefix again only after a blank, with p_b. In paths that end in the label itself it is only held.",
        H,
        (("(p_b if again else both)", "both"),),
    ),
    Mutant(
        "double letters are lost",
        "After a blank the last label counts as a new letter: p_b p(c) goes to the prefix with c added. This is why p_b and p_nb are kept apart.",
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
        "Without a blank in between, the last label leaves the prefix as it is: p_nb p(c) goes to its own p_nb.",
        H,
        (("            add(prefix, 1, p_nb + frame[prefix[-1]])", "            pass"),),
    ),
    Mutant(
        "a held letter takes p_b as well as p_nb",
        "A label can be held only in paths that end in it: p_nb p(c). After a blank (p_b) the same label is a new letter.",
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
        "the best path instead of the sum",
        "The probability of a text is the sum over its paths. The maximum would rank texts by their best path.",
        "Graves et al. 2006, Eq. 3",
        (("masses[place] = np.logaddexp(masses[place], mass)", "masses[place] = max(masses[place], mass)"),),
    ),
    Mutant(
        "probabilities are overwritten, not added up",
        "A prefix gets probability from itself and from its parent in the same frame. Add them up; do not overwrite.",
        H,
        (("masses[place] = np.logaddexp(masses[place], mass)", "masses[place] = mass"),),
    ),
    Mutant(
        "the language model comes only at the end",
        "Rank prefixes with alpha log_lm + beta words after each frame. At the end, the text that the language model prefers may be gone already.",
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
        "The language model's log-probability is multiplied by alpha.",
        EQ12,
        (("alpha * log_lm + beta", "log_lm + beta"),),
    ),
    Mutant(
        "the end of the text is not scored",
        "scorer.finish(state) returns what the language model adds for the end of the text: for the last word, and for ending there.",
        "docstring",
        (("scorer.finish(state) if scorer else", "(0.0, 0) if scorer else"),),
    ),
    Mutant(
        "the label is scored in the state after it",
        "Call scores(state, labels) with the state before the labels. Call advance afterwards.",
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
        "scores(state, labels) returns its numbers in the order of the labels: the first number belongs to the first label.",
        "docstring",
        (("scorer.scores(state, np.array(prefix[-1:]))", "scorer.scores(state, np.arange(prefix[-1] + 1)[-2:])"),),
    ),
    Mutant(
        "the beam is not pruned",
        "After each frame keep only the beam_width best prefixes. Otherwise the number of prefixes keeps growing.",
        "docstring",
        (("key=rank.get, reverse=True)[:beam_width]", "key=rank.get, reverse=True)"),),
    ),
    Mutant(
        "the worst comes first",
        "The best hypothesis comes first. It has the highest score, usually a negative number near 0.",
        "docstring",
        (("key=lambda one: -one.score)", "key=lambda one: one.score)"),),
    ),
    Mutant(
        "the worst prefixes are kept",
        "The beam keeps the highest scores. With negative numbers the highest are those near 0.",
        "docstring",
        (("key=rank.get, reverse=True)", "key=rank.get)"),),
    ),
    Mutant(
        "log_ctc leaves out the paths that end in a blank",
        "A text's probability is p_b + p_nb, since its paths may end either way.",
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
        "0 times -inf is nan, and if you skip the term, the ban is lost. A forbidden text must stay out whatever alpha is.",
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
