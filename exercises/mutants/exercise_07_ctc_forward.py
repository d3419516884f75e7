"""Wrong answers of exercise 7. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

G = "Graves et al. 2006, Section 4.1"

MUTANTS = [
    Mutant(
        "the blank between equal labels is skipped",
        "A path must pass through the blank between two equal labels. Without it both collapse into one. Skip only if l'_s differs from l'_{s-2}.",
        G + " (recursion); the collapse, Section 3.1",
        ((" and label != states[s - 2]", ""),),
    ),
    Mutant(
        "labels are compared with `is`",
        "`is` compares objects, and == compares numbers. Python keeps one object for each number up to 256, so small alphabets hide the mistake.",
        "docstring of ctc_forward_variables (differs from)",
        (("label != states[s - 2]", "label is not states[s - 2]"),),
    ),
    Mutant(
        "one maximum is subtracted for all states",
        "A state that lies 745 or more below the largest one becomes exp(-745) = 0 and is lost, though later it may be the only one that "
        "counts. Use logsumexp over the ways into each state: it subtracts a maximum for each state.",
        G + " (rescaling); docstring (logarithms throughout)",
        (("torch.logsumexp(ways, 0) + y[t]", "(ways - ways.max().clamp_min(-1e30)).exp().sum(0).log() + ways.max() + y[t]"),),
    ),
    Mutant(
        "no blank may be skipped",
        "Between two different labels the blank is optional. So add alpha_{t-1}(s-2) to the sum.",
        G + " (recursion)",
        (("s >= 2 and label != 0 and label != states[s - 2]", "False"),),
    ),
    Mutant(
        "labels are skipped",
        "A path from one blank straight to the next leaves out the label between them. A path may skip only into a label.",
        G + " (recursion)",
        (("s >= 2 and label != 0 and label != states[s - 2]", "s >= 2 and (label == 0 or label != states[s - 2])"),),
    ),
    Mutant(
        "a path never stays in a state",
        "A symbol may be held. So add alpha_{t-1}(s) itself to the sum.",
        G + " (recursion)",
        (("torch.stack((before[2:], before[1:-1], ", "torch.stack((before[1:-1], "),),
    ),
    Mutant(
        "the best path instead of the sum",
        "CTC sums over all paths. The maximum gives the best alignment (that is Eq. 13, for another purpose).",
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
        "At the first frame a path may be in the first blank or in the first label.",
        G + " (initial values)",
        (("alpha[0, :2] = y[0, :2]", "alpha[0, :1] = y[0, :1]"),),
    ),
    Mutant(
        "a path begins anywhere",
        "At the first frame a path can be only in the first blank or the first label. It may not leave out a label.",
        G + " (initial values)",
        (("alpha[0, :2] = y[0, :2]", "alpha[0] = y[0]"),),
    ),
    Mutant(
        "the last frame of the batch instead of the utterance's own",
        "Frames beyond output_lengths[b] are padding. Take the sum at frame output_lengths[b] - 1.",
        "docstring (output_lengths)",
        (("range(1, int(output_lengths[b]))", "range(1, len(y))"), ("alphas[frames - 1, b", "alphas[-1, b")),
    ),
    Mutant(
        "the last state of the batch instead of the utterance's own",
        "A shorter target has fewer states. With U labels its last state is 2U.",
        "docstring (target_lengths)",
        (("max(0, 2 * labels - 1) : 2 * labels + 1", "-2:"),),
    ),
    Mutant(
        "probabilities instead of logarithms",
        "A product of hundreds of probabilities is too small for a float and becomes 0. Use logarithms throughout: logsumexp.",
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
        "If there are too few frames, no path exists: the probability is 0 and the loss is infinite. A loss of 0 would hide such pairs.",
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
        "targets holds the labels of all utterances, one utterance after the other. The labels of the second begin where those of the first end.",
        "docstring (targets)",
        (("enumerate(targets.split(target_lengths.tolist()))", "enumerate([targets[:n] for n in target_lengths.tolist()])"),),
    ),
    Mutant(
        "a finite number stands for log 0",
        "The log-probability of a real path can be below -10000 in a long utterance. Then your code treats it as no path. Use -inf.",
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
