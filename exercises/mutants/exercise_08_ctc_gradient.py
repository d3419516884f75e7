"""Wrong answers of exercise 8. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

G = "Graves et al. 2006, Section 4.1"

MUTANTS = [
    Mutant(
        "labels are compared with `is`",
        "`is` compares objects, and == compares numbers. Python keeps one object for each number up to 256, so small alphabets hide the mistake.",
        "docstring of ctc_backward_variables (differs from)",
        (("entered != 0 and entered != left", "entered != 0 and entered is not left"),),
    ),
    Mutant(
        "one maximum is subtracted for all states",
        "A state that lies 745 or more below the largest one becomes exp(-745) = 0 and is lost, though later it may be the only one that "
        "counts. Use logsumexp over the ways into each state: it subtracts a maximum for each state.",
        "Graves et al. 2006, Section 4.1 (rescaling)",
        (("torch.logsumexp(ways, 0) + y[t]", "(ways - ways.max().clamp_min(-1e30)).exp().sum(0).log() + ways.max() + y[t]"),),
    ),
    Mutant(
        "beta does not count its own frame",
        "Here, as in Graves et al. 2006, beta_t(s) includes y_t(l'_s), at the last frame too. (Other texts leave it out.)",
        G + ", Eq. 9 to 11",
        (
            ("beta[last, -2:] = y[last, -2:]", "beta[last, -2:] = 0.0"),
            (
                "torch.logsumexp(ways, 0) + y[t]",
                "torch.logsumexp(ways + pad(y[t + 1], (0, 2), value=NEVER).unfold(0, len(states), 1), 0)",
            ),
        ),
    ),
    Mutant(
        "frame t is counted twice",
        "alpha and beta both include y_t, so alpha_t(s) beta_t(s) must be divided by y_t(l'_s) once.",
        "Graves et al. 2006, Eq. 14",
        (("both[:frames, b, : len(states)] - y  #", "both[:frames, b, : len(states)]  #"),),
    ),
    Mutant(
        "states of the same symbol are not added up",
        "The blank has U + 1 states and a letter may occur twice: posterior_t(k) is the sum over all states of symbol k. "
        "gradient[..., states] -= x keeps only one of them.",
        G + ", lab(l, k) in the gradient",
        (
            (
                "gradient[:frames, b].index_add_(1, torch.tensor(states), -(joint - total).exp())",
                "gradient[:frames, b, states] -= (joint - total).exp()",
            ),
        ),
    ),
    Mutant(
        "the sign is wrong",
        "The gradient of the loss is y - posterior. So gradient descent lowers y where y is above the posterior.",
        G,
        (("    return gradient\n", "    return -gradient\n"),),
    ),
    Mutant(
        "only the posterior",
        "-posterior is the gradient with respect to the log-probabilities. For the gradient at the inputs of the softmax add y. Then each frame "
        "sums to 0.",
        G,
        (("        gradient[:frames, b] = log_probs[:frames, b].exp()\n", ""),),
    ),
    Mutant(
        "the padding has a gradient",
        "Frames beyond an utterance's length do not affect its loss, so their gradient is 0.",
        "docstring of ctc_gradient",
        (("gradient[:frames, b] = log_probs[:frames, b].exp()", "gradient[:, b] = log_probs[:, b].exp()"),),
    ),
    Mutant(
        "the last frame of the batch instead of the utterance's own",
        "The backward recursion begins at each utterance's own last frame, output_lengths[b] - 1.",
        "docstring (output_lengths)",
        (("int(output_lengths[b]) - 1", "len(y) - 1"),),
    ),
    Mutant(
        "a path ends in the last blank only",
        "At the last frame a path may be in the last label or in the last blank.",
        G + ", Eq. 9",
        (("beta[last, -2:] = y[last, -2:]", "beta[last, -1:] = y[last, -1:]"),),
    ),
    Mutant(
        "the skip looks at the wrong state",
        "A path skips from s to s + 2. So l'_{s+2} must be a label other than l'_s. In the backward recursion the condition looks forward too.",
        G + ", Eq. 10 and 11",
        (
            (
                "entered != 0 and entered != left for left, entered in zip(states, [*states[2:], 0, 0], strict=False)",
                "s >= 2 and label != 0 and label != states[s - 2] for s, label in enumerate(states)",
            ),
        ),
    ),
    Mutant(
        "the blank between equal labels is skipped",
        "Two equal labels without a blank between them collapse into one. So a path may skip to s + 2 only if its label differs from that of s.",
        G + ", Eq. 10 and 11; the collapse, Section 3.1",
        ((" and entered != left", ""),),
    ),
    Mutant(
        "no blank may be skipped",
        "Between two different labels the blank is optional. So add beta_{t+1}(s+2) to the sum.",
        G + ", Eq. 10 and 11",
        (("entered != 0 and entered != left", "False and entered != left"),),
    ),
    Mutant(
        "the gradient is divided by the number of utterances",
        "The division belongs to a mean over the batch. Here you must return each utterance's own gradient.",
        "docstring of ctc_gradient",
        (("    return gradient\n", "    return gradient / log_probs.shape[1]\n"),),
    ),
    Mutant(
        "an utterance without any path has a gradient",
        "There are too few frames, so p(l | x) is 0 and the posterior is 0 / 0. A made-up gradient trains the network to be wrong.",
        "docstring of ctc_gradient",
        (
            (
                '            raise ValueError(f"utterance {b} has no path: {len(labels)} labels, {frames} frames")',
                "            continue",
            ),
        ),
    ),
    Mutant(
        "the best path instead of the sum",
        "CTC sums over all paths. With the maximum you get the posterior of a single alignment.",
        "arXiv Section 3.3, Eq. 9",
        (("beta[t] = torch.logsumexp(ways, 0) + y[t]", "beta[t] = ways.max(0).values + y[t]"),),
    ),
    Mutant(
        "impossible symbols give nan",
        "-inf minus -inf is nan. A state whose symbol has probability 0 has posterior 0.",
        "docstring of ctc_gradient",
        (("        joint = joint.masked_fill(y == NEVER, NEVER)  # -inf - -inf would be nan\n", ""),),
    ),
    Mutant(
        "a finite number stands for log 0",
        "The log-probability of a real path can be below -10000 in a long utterance. Then your code treats it as no path. Use -inf.",
        "docstring of ctc_backward_variables",
        (
            (
                "            after = pad(beta[t + 1], (0, 2), value=NEVER)\n",
                "            after = pad(beta[t + 1].clamp_min(-1e4), (0, 2), value=-1e4)\n",
            ),
            (
                "            beta[t] = torch.logsumexp(ways, 0) + y[t]\n",
                "            beta[t] = torch.logsumexp(ways, 0) + y[t]\n            beta[t] = beta[t].masked_fill(beta[t] < -9e3, NEVER)\n",
            ),
        ),
    ),
]
