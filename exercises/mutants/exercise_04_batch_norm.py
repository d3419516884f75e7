"""Wrong answers of exercise 4. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

EQ6 = "arXiv Section 3.2, Eq. 6"
RUNNING = "arXiv Section 3.2 (running averages at test time); docstring"

MUTANTS = [
    Mutant(
        "statistics over padding",
        "Take mean and variance over valid frames only. If they include the padding, the result for an utterance depends on how "
        "long its neighbours are.",
        "arXiv Section 3.2 and its reference [37]",
        (
            ("mean = (x * mask).sum(dims) / n", "mean = x.mean(dims)"),
            ("var = ((x - mean.view(shape)) * mask).square().sum(dims) / n", "var = x.var(dims, correction=0)"),
        ),
    ),
    Mutant(
        "the sums leave the padding out, the count does not",
        "Divide by the number of valid frames, not by T times B. Otherwise mean and variance come out too small.",
        EQ6,
        (("n = int(lengths.sum()) *", "n = batch * frames *"),),
    ),
    Mutant(
        "the padding is in the variance",
        "The mean leaves the padding out, but x - mean is not 0 in the padding. Apply the mask there again.",
        EQ6,
        (("((x - mean.view(shape)) * mask).square()", "(x * mask - mean.view(shape)).square()"),),
    ),
    Mutant(
        "statistics per time step",
        "There is one mean and one variance for the whole sequence. The paper tried separate statistics for each step and rejected them.",
        "arXiv Section 3.2, Eq. 7",
        (
            (
                "mean = (x * mask).sum(dims) / n",
                "dims, n, shape = (((1,), mask.sum(1).clamp_min(1), (x.shape[0], 1, -1)) if recurrent else ((0, 2), (mask.sum(0)[0] * x.shape[2]).clamp_min(1), (1, x.shape[1], 1, -1)))\n            mean = (x * mask).sum(dims) / n",
            ),
            (
                "y * self.weight.view(shape) + self.bias.view(shape)",
                "y * (self.weight if recurrent else self.weight[:, None, None]) + (self.bias if recurrent else self.bias[:, None, None])",
            ),
            (
                "                self.running_mean.lerp_(mean, self.momentum)\n                self.running_var.lerp_(var * n / max(n - 1, 1), self.momentum)",
                "                pass",
            ),
        ),
    ),
    Mutant(
        "each utterance is normalised by itself",
        "Take mean and variance over all utterances of the batch together. Otherwise a quiet utterance looks the same as a loud one.",
        EQ6,
        (
            (
                "mean = (x * mask).sum(dims) / n",
                "dims, n, shape = (((0,), mask.sum(0).clamp_min(1), (1, x.shape[1], -1)) if recurrent else ((2, 3), (mask.sum(3)[:, 0] * x.shape[2]).clamp_min(1), (x.shape[0], -1, 1, 1)))\n            mean = (x * mask).sum(dims) / n",
            ),
            (
                "y * self.weight.view(shape) + self.bias.view(shape)",
                "y * (self.weight if recurrent else self.weight[:, None, None]) + (self.bias if recurrent else self.bias[:, None, None])",
            ),
            (
                "                self.running_mean.lerp_(mean, self.momentum)\n                self.running_var.lerp_(var * n / max(n - 1, 1), self.momentum)",
                "                pass",
            ),
        ),
    ),
    Mutant(
        "each frequency bin has its own statistics",
        "A filter of a convolution is the same at all frequencies. So in this library each channel has one mean and one variance, over utterances, frequency and time.",
        "docstring (over frequency is [ours]; arXiv Section 3.2 names only the minibatch and time)",
        (
            ("(1, -1, 1, 1), (0, 2, 3))", "(1, x.shape[1], -1, 1), (0, 3))"),
            ("(1 if recurrent else x.shape[2])", "1"),
            ("self.running_mean.lerp_(mean, self", "self.running_mean.lerp_(mean.view(len(self.weight), -1).mean(1), self"),
            ("self.running_var.lerp_(var * n", "self.running_var.lerp_(var.view(len(self.weight), -1).mean(1) * n"),
            (
                "            mean, var = self.running_mean, self.running_var",
                "            mean, var, shape = self.running_mean, self.running_var, ((1, 1, -1) if recurrent else (1, -1, 1, 1))",
            ),
            (
                "y * self.weight.view(shape) + self.bias.view(shape)",
                "y * (self.weight if recurrent else self.weight[:, None, None]) + (self.bias if recurrent else self.bias[:, None, None])",
            ),
        ),
    ),
    Mutant(
        "the variance divides by n - 1",
        "The batch is normalised with the variance that divides by n. Only the running average takes the one that divides by n - 1.",
        "docstring; torch does the same",
        (("square().sum(dims) / n", "square().sum(dims) / max(n - 1, 1)"), ("var * n / max(n - 1, 1)", "var")),
    ),
    Mutant(
        "the running variance divides by n",
        "The running average takes the variance that divides by n - 1. This is n / (n - 1) times the one that divides by n.",
        "docstring; torch does the same",
        (("var * n / max(n - 1, 1)", "var"),),
    ),
    *(
        Mutant(
            f"the running variance of a single value, {result}",
            "A single valid value has variance 0, and n - 1 is 0 too. 0 / 0 would spoil the running average for good. Divide by max(n - 1, 1).",
            "docstring (by 1 if n is 1)",
            (("var * n / max(n - 1, 1)", divided),),
        )
        for result, divided in (("nan", "var * n / (n - 1)"), ("a division by zero", "var * (n / (n - 1))"))
    ),
    Mutant(
        "eps outside the root",
        "It is sqrt(Var + eps), not sqrt(Var) + eps. If the variance is small, the two differ a lot.",
        EQ6,
        (("(var.view(shape) + self.eps).sqrt()", "(var.view(shape).sqrt() + self.eps)"),),
    ),
    Mutant(
        "the padding of the result is not 0",
        "beta shifts the padding too, and the next convolution or recurrence would mix it in. Multiply by the mask at the end.",
        "docstring",
        (
            (
                "(y * self.weight.view(shape) + self.bias.view(shape)) * mask",
                "y * mask * self.weight.view(shape) + self.bias.view(shape)",
            ),
        ),
    ),
    Mutant(
        "gradients do not flow through mean and variance",
        "Mean and variance depend on every valid x. If you take them out of the graph (detach, no_grad, .data), the values are right but the gradient of x is wrong.",
        EQ6,
        (("y = (x - mean.view(shape))", "mean, var = mean.detach(), var.detach()\n        y = (x - mean.view(shape))"),),
    ),
    Mutant(
        "evaluation uses the statistics of the batch",
        "At test time use the running averages. In the paper, statistics of the single sequence made results worse.",
        RUNNING,
        (
            ("        if self.training:\n", "        if True:\n"),
            ("            with torch.no_grad():\n", "            with torch.no_grad():\n              if self.training:\n"),
        ),
    ),
    Mutant(
        "torch.no_grad() is taken for evaluation",
        "self.training tells you the mode. In training mode use the batch's own statistics and update the running averages, even under no_grad.",
        RUNNING,
        (("        if self.training:\n", "        if self.training and torch.is_grad_enabled():\n"),),
    ),
    Mutant(
        "without lengths the size of the batch is taken for the number of frames",
        "None means all T frames of all B utterances: B lengths, each of them T. In (B, C, F, T) T is the last axis.",
        "docstring of forward (lengths)",
        (("torch.full((batch,), frames) if lengths", "torch.full((batch,), min(batch, frames)) if lengths"),),
    ),
    Mutant(
        "evaluation moves the running averages",
        "The running averages are learnt in training and do not change afterwards. Otherwise a transcript would depend on earlier ones.",
        RUNNING,
        (
            (
                "            mean, var = self.running_mean, self.running_var\n",
                "            mean, var = self.running_mean.clone(), self.running_var.clone()\n            n = int(lengths.sum()) * (1 if recurrent else x.shape[2])\n            self.running_mean.lerp_((x.detach() * mask).sum(dims) / n, self.momentum)\n",
            ),
        ),
    ),
    Mutant(
        "momentum weighs the old average",
        "running = (1 - momentum) running + momentum new. So momentum is the weight of the newest batch.",
        RUNNING,
        (
            ("self.running_mean.lerp_(mean, self.momentum)", "self.running_mean.lerp_(mean, 1 - self.momentum)"),
            ("max(n - 1, 1), self.momentum)", "max(n - 1, 1), 1 - self.momentum)"),
        ),
    ),
    Mutant(
        "training normalises with the running averages",
        "In training each batch is normalised with its own statistics. The running averages are only updated.",
        RUNNING,
        (
            (
                "        y = (x - mean.view(shape))",
                "        mean, var = self.running_mean, self.running_var\n        y = (x - mean.view(shape))",
            ),
        ),
    ),
    Mutant(
        "the padding is squared before the mask",
        "A large number in the padding overflows when it is squared, and 0 * inf is nan. Set x - mean to 0 in the padding first, then square.",
        "docstring of forward",
        (
            (
                "            var = ((x - mean.view(shape)) * mask).square().sum(dims) / n\n",
                "            var = ((x - mean.view(shape)).square() * mask).sum(dims) / n\n",
            ),
        ),
    ),
]
