"""Wrong answers of exercise 12. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

MUTANTS = [
    Mutant(
        "forward gives back the lengths before the convolutions",
        "After strides an utterance has fewer frames; recurrence, loss and decoding need the lengths after the convolutions.",
        "arXiv Section 3.6",
        ((".log_softmax(-1), lengths", ".log_softmax(-1), feature_lengths"),),
    ),
    Mutant(
        "the recurrences get the lengths before the convolutions",
        "Batch norm and mask would take the padding for speech: pass on the lengths that the last convolution gave back.",
        "arXiv Section 3.6",
        (("layer(self.dropout(x), lengths)", "layer(self.dropout(x), feature_lengths)"),),
    ),
    Mutant(
        "the CTC functions get the lengths before the convolutions",
        "log_probs has one row per output frame: loss and gradient need the lengths that the model gives back, not batch.feature_lengths.",
        "docstring of forward (output_lengths)",
        (("batch.targets, lengths, batch", "batch.targets, batch.feature_lengths, batch"),),
    ),
    Mutant(
        "only the first convolution counts for the lengths",
        "Each convolution changes the lengths: pass them through all blocks.",
        "arXiv Section 3.5",
        (
            (
                "        for block in self.convolutions:\n            feature_lengths",
                "        for block in self.convolutions[:1]:\n            feature_lengths",
            ),
        ),
    ),
    Mutant(
        "no log-softmax",
        "The CTC loss and the search take log-probabilities: each row of exp(log_probs) sums to 1.",
        "arXiv Section 3.1, Eq. 5",
        ((".log_softmax(-1), lengths", ", lengths"),),
    ),
    Mutant(
        "softmax without the logarithm",
        "The CTC loss and the search take the logarithm of the softmax.",
        "arXiv Section 3.1, Eq. 5",
        ((".log_softmax(-1), lengths", ".softmax(-1), lengths"),),
    ),
    Mutant(
        "the softmax over the wrong axis",
        "It runs over the symbols, the last axis: the probabilities of one frame of one utterance sum to 1.",
        "arXiv Section 3.1, Eq. 5",
        ((".log_softmax(-1)", ".log_softmax(1)"),),
    ),
    Mutant(
        "bins first, then channels",
        "In each frame the F' bins of the first channel come first, then those of the second: (B, C, F', T') becomes (T', B, C, F'), and the last two are "
        "joined.",
        "docstring of forward",
        (("x.permute(3, 0, 1, 2)", "x.permute(3, 0, 2, 1)"),),
    ),
    Mutant(
        "axes are joined without being put in order",
        "reshape and view do not move values to other axes: permute first, or time and frequency are mixed.",
        "docstring of forward",
        (("x.permute(3, 0, 1, 2).flatten(2)", "x.reshape(x.shape[3], x.shape[0], -1)"),),
    ),
    Mutant(
        "no dropout",
        "self.dropout stands before each recurrence and before the output.",
        "docstring of forward",
        (("layer(self.dropout(x), lengths)", "layer(x, lengths)"), ("self.output(self.dropout(x))", "self.output(x)")),
    ),
    Mutant(
        "gradients pile up",
        "backward adds to the gradients that are there: set them to zero before each step.",
        "docstring of train_step",
        (("    optimizer.zero_grad()\n", ""),),
    ),
    Mutant(
        "the gradient is not clipped",
        "Where its norm exceeds max_norm it is rescaled to it: after backward (before it there is nothing to clip) and before the step.",
        "arXiv Section 6",
        (("    nn.utils.clip_grad_norm_(model.parameters(), max_norm)  # after backward, before the step\n", ""),),
    ),
    Mutant(
        "each value is clipped by itself",
        "The norm of all gradients together is limited, which keeps their direction; clipping single values turns it.",
        "arXiv Section 6",
        (("nn.utils.clip_grad_norm_(model.parameters(), max_norm)", "nn.utils.clip_grad_value_(model.parameters(), max_norm)"),),
    ),
    Mutant(
        "max_norm is always 400",
        "400 is only the default.",
        "docstring of train_step",
        (("model.parameters(), max_norm)", "model.parameters(), 400.0)"),),
    ),
    Mutant(
        "the sum over the utterances",
        "Loss and gradient are means over the utterances: else the step grows with the minibatch.",
        "docstring of train_step",
        (("(*arguments).mean()", "(*arguments).sum()"), (" / len(batch.target_lengths)", "")),
    ),
    Mutant(
        "only the loss is a mean, the gradient is not",
        "ctc_gradient gives each utterance's own gradient: divide by the number of utterances.",
        "docstring of train_step",
        ((" / len(batch.target_lengths)", ""),),
    ),
    Mutant(
        "evaluation mode while training",
        "model.train(): batch norm then uses the statistics of the minibatch and moves its running averages.",
        "arXiv Section 3.2",
        (("    model.train()\n", "    model.eval()\n"),),
    ),
    Mutant(
        "the mode is left as it was",
        "After an evaluation the model is in evaluation mode: each step calls model.train() itself.",
        "docstring of train_step",
        (("    model.train()\n", ""),),
    ),
    Mutant(
        "no step",
        "optimizer.step() is what changes the weights.",
        "docstring of train_step",
        (("    optimizer.step()\n", ""),),
    ),
    Mutant(
        "uphill",
        "The optimizer goes against the gradient by itself; a minus before it makes the loss grow.",
        "docstring of train_step",
        (("log_probs.backward(ctc_gradient", "log_probs.backward(-ctc_gradient"),),
    ),
    Mutant(
        "an infinite loss goes unnoticed",
        "Too few frames for the text: ValueError, and no weight is updated.",
        "docstring of train_step",
        (
            (
                '    if torch.isinf(loss):  # before the optimizer has touched anything\n        raise ValueError("an utterance has too few output frames for its text")\n',
                "    if torch.isinf(loss):\n        return float(loss)\n",
            ),
        ),
    ),
    Mutant(
        "the loss comes back as a tensor",
        "A float, as the docstring asks; a tensor would keep the graph alive in every list of losses.",
        "docstring of train_step",
        (("    return float(loss)\n", "    return loss\n"),),
    ),
]
