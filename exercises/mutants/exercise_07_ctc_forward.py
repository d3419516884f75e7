"""Wrong answers of exercise 7. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

G = "Graves et al. 2006, Section 4.1"

MUTANTS = [
    Mutant(
        "the blank between equal labels is skipped",
        "A path must pass the blank between two equal labels: without it both collapse into one. Skip only where l'_s differs from l'_{s-2}.",
        G + " (recursion); the collapse, Section 3.1",
        ((" and label != states[s - 2]", ""),),
    ),
    Mutant(
        "labels are compared with `is`",
        "is and is not tell objects apart, == and != numbers. Python keeps one object for each number up to 256, so small alphabets hide it.",
        "docstring of ctc_forward_variables (not the same as)",
        (("label != states[s - 2]", "label is not states[s - 2]"),),
    ),
    Mutant(
        "one maximum is subtracted for all states",
        "exp of what lies 745 and more below the largest of all states is 0, and such a state is lost, though later it may be the only one that "
        "counts. logsumexp over the ways into each state has a maximum for each.",
        G + " (rescaling); docstring (stay with logarithms)",
        (("torch.logsumexp(ways, 0) + y[t]", "(ways - ways.max().clamp_min(-1e30)).exp().sum(0).log() + ways.max() + y[t]"),),
    ),
    Mutant(
        "no blank may be skipped",
        "Between two different labels the blank is optional: alpha_{t-1}(s-2) belongs to the sum.",
        G + " (recursion)",
        (("s >= 2 and label != 0 and label != states[s - 2]", "False"),),
    ),
    Mutant(
        "labels are skipped",
        "From one blank straight to the next a path would leave out the label between. Only into a label may it skip.",
        G + " (recursion)",
        (("s >= 2 and label != 0 and label != states[s - 2]", "s >= 2 and (label == 0 or label != states[s - 2])"),),
    ),
    Mutant(
        "a path never stays in a state",
        "A symbol may be held: alpha_{t-1}(s) itself belongs to the sum.",
        G + " (recursion)",
        (("torch.stack((before[2:], before[1:-1], ", "torch.stack((before[1:-1], "),),
    ),
    Mutant(
        "the best path in place of the sum",
        "CTC sums over all paths; the maximum gives the best alignment (that is Eq. 13, for another purpose).",
        "arXiv Section 3.3, Eq. 9",
        (("torch.logsumexp(ways, 0) + y[t]", "ways.max(0).values + y[t]"),),
    ),
    Mutant(
        "a path ends in the last blank only",
        "It may also end in the last label: alpha_T(S) + alpha_T(S - 1).",
        G + ", Eq. 8",
        (("max(0, 2 * labels - 1) : 2", "2 * labels : 2"),),
    ),
    Mutant(
        "a path ends in the last label only",
        "It may also end in the blank after it: alpha_T(S) + alpha_T(S - 1).",
        G + ", Eq. 8",
        (("max(0, 2 * labels - 1) : 2 * labels + 1", "max(0, 2 * labels - 1) : max(1, 2 * labels)"),),
    ),
    Mutant(
        "a path begins in the blank only",
        "At the first frame it stands in the first blank or in the first label.",
        G + " (initial values)",
        (("alpha[0, :2] = y[0, :2]", "alpha[0, :1] = y[0, :1]"),),
    ),
    Mutant(
        "a path begins anywhere",
        "At the first frame only the first blank and the first label are possible: no label may be left out.",
        G + " (initial values)",
        (("alpha[0, :2] = y[0, :2]", "alpha[0] = y[0]"),),
    ),
    Mutant(
        "the last frame of the batch in place of the utterance's own",
        "Frames beyond output_lengths[b] are padding: the sum is read off at frame output_lengths[b] - 1.",
        "docstring (output_lengths)",
        (("range(1, int(output_lengths[b]))", "range(1, len(y))"), ("alphas[frames - 1, b", "alphas[-1, b")),
    ),
    Mutant(
        "the last state of the batch in place of the utterance's own",
        "A shorter target has fewer states: it ends at 2 * its own labels.",
        "docstring (target_lengths)",
        (("max(0, 2 * labels - 1) : 2 * labels + 1", "-2:"),),
    ),
    Mutant(
        "probabilities in place of logarithms",
        "A product of hundreds of probabilities is smaller than the smallest number and becomes 0. Stay with logarithms: logsumexp.",
        G + " (rescaling); arXiv Appendix A.2 (log space)",
        (("torch.logsumexp(ways, 0) + y[t]", "(ways.exp().sum(0) * y[t].exp()).log()"),),
    ),
    Mutant(
        "no blanks at the ends of the extended target",
        "A path may begin and end with blanks: l' has 2U + 1 states.",
        G,
        (("    return extended\n", "    return extended[1:-1]\n"),),
    ),
    Mutant(
        "infinite losses become 0",
        "Where the frames are too few no path exists, the probability is 0 and the loss infinite. Zeroed, such pairs go unseen.",
        "docstring of ctc_loss_by_recursion",
        (("return torch.stack(losses)", "return torch.nan_to_num(torch.stack(losses), posinf=0.0)"),),
    ),
    Mutant(
        "the loss is divided by the number of labels",
        "Eq. 9 has no such division (torch's reduction='mean' does it).",
        "arXiv Section 3.3, Eq. 9",
        (("return torch.stack(losses)", "return torch.stack(losses) / target_lengths.clamp_min(1)"),),
    ),
    Mutant(
        "each utterance takes the labels from the beginning",
        "targets holds the labels of all utterances one after the other: those of the second begin where the first one's end.",
        "docstring (targets)",
        (("enumerate(targets.split(target_lengths.tolist()))", "enumerate([targets[:n] for n in target_lengths.tolist()])"),),
    ),
    Mutant(
        "a finite number stands for log 0",
        "The log-probability of a long utterance falls below -10000 too, so a real path is taken for none. Use -inf.",
        "docstring of ctc_forward_variables",
        (
            (
                "            before = pad(alpha[t - 1], (2, 0), value=NEVER)  # so that s - 1 and s - 2 exist for every s\n",
                "            before = pad(alpha[t - 1].clamp_min(-1e4), (2, 0), value=-1e4)  # so that s - 1 and s - 2 exist for every s\n",
            ),
            (
                "            alpha[t] = torch.logsumexp(ways, 0) + y[t]\n",
                "            alpha[t] = torch.logsumexp(ways, 0) + y[t]\n            alpha[t] = alpha[t].masked_fill(alpha[t] < -9e3, NEVER)\n",
            ),
        ),
    ),
]
