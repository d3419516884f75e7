"""Wrong answers of exercise 12. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

MUTANTS = [
    Mutant(
        "forward returns the lengths before the convolutions",
        "After strides an utterance has fewer frames. Recurrence, loss and decoding need the lengths after the convolutions.",
        "arXiv Section 3.6",
        ((".log_softmax(-1), lengths", ".log_softmax(-1), feature_lengths"),),
    ),
    Mutant(
        "the recurrences get the lengths before the convolutions",
        "Batch norm and the mask would treat padding as speech. Pass on the lengths that the last convolution returned.",
        "arXiv Section 3.6",
        (("layer(self.dropout(x), lengths)", "layer(self.dropout(x), feature_lengths)"),),
    ),
    Mutant(
        "the CTC functions get the lengths before the convolutions",
        "log_probs has one row per output frame. Loss and gradient need the lengths that the model returns, not batch.feature_lengths.",
        "docstring of forward (output_lengths)",
        (("batch.targets, lengths, batch", "batch.targets, batch.feature_lengths, batch"),),
    ),
    Mutant(
        "only the first convolution counts for the lengths",
        "Each convolution changes the lengths. Pass them through all blocks.",
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
        "The CTC loss and the search need log-probabilities: each row of exp(log_probs) must sum to 1.",
        "arXiv Section 3.1, Eq. 5",
        ((".log_softmax(-1), lengths", ", lengths"),),
    ),
    Mutant(
        "softmax without the logarithm",
        "The CTC loss and the search need the logarithm of the softmax.",
        "arXiv Section 3.1, Eq. 5",
        ((".log_softmax(-1), lengths", ".softmax(-1), lengths"),),
    ),
    Mutant(
        "the softmax over the wrong axis",
        "The softmax runs over the symbols, the last axis. The probabilities of one frame of one utterance sum to 1.",
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
        "axes are joined without being permuted first",
        "reshape and view do not swap axes. Permute first, or time and frequency get mixed up.",
        "docstring of forward",
        (("x.permute(3, 0, 1, 2).flatten(2)", "x.reshape(x.shape[3], x.shape[0], -1)"),),
    ),
    Mutant(
        "no dropout",
        "Apply self.dropout before each recurrence and before the output.",
        "docstring of forward",
        (("layer(self.dropout(x), lengths)", "layer(x, lengths)"), ("self.output(self.dropout(x))", "self.output(x)")),
    ),
    Mutant(
        "gradients pile up",
        "backward adds to the gradients that are there already. Set them to zero before each step.",
        "docstring of train_step",
        (("    optimizer.zero_grad()\n", ""),),
    ),
    Mutant(
        "the gradient is not clipped",
        "If the norm exceeds max_norm, scale the gradient down to it. Do this after backward, which computes the gradient, and before the step.",
        "arXiv Section 6",
        (("    nn.utils.clip_grad_norm_(model.parameters(), max_norm)  # after backward, before the step\n", ""),),
    ),
    Mutant(
        "each value is clipped by itself",
        "Limit the norm of all gradients together: that keeps their direction. Clipping single values changes the direction.",
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
        "Loss and gradient are means over the utterances. Otherwise the step grows with the minibatch.",
        "docstring of train_step",
        (("(*arguments).mean()", "(*arguments).sum()"), (" / len(batch.target_lengths)", "")),
    ),
    Mutant(
        "only the loss is a mean, the gradient is not",
        "ctc_gradient returns each utterance's own gradient. Divide it by the number of utterances.",
        "docstring of train_step",
        ((" / len(batch.target_lengths)", ""),),
    ),
    Mutant(
        "evaluation mode while training",
        "Call model.train(): then batch norm uses the statistics of the minibatch and updates its running averages.",
        "arXiv Section 3.2",
        (("    model.train()\n", "    model.eval()\n"),),
    ),
    Mutant(
        "the mode is left as it was",
        "After an evaluation the model is in evaluation mode. So each step must call model.train() itself.",
        "docstring of train_step",
        (("    model.train()\n", ""),),
    ),
    Mutant(
        "no step",
        "Only optimizer.step() changes the weights.",
        "docstring of train_step",
        (("    optimizer.step()\n", ""),),
    ),
    Mutant(
        "uphill",
        "The optimizer itself steps against the gradient. A minus sign before the gradient makes the loss grow.",
        "docstring of train_step",
        (("log_probs.backward(ctc_gradient", "log_probs.backward(-ctc_gradient"),),
    ),
    Mutant(
        "an infinite loss goes unnoticed",
        "If there are too few frames for the text, raise ValueError and update no weight.",
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
        "The docstring asks for a float. A tensor keeps its graph in memory as long as anyone keeps the loss.",
        "docstring of train_step",
        (("    return float(loss)\n", "    return loss\n"),),
    ),
]
