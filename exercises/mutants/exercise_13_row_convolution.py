"""Wrong answers of exercise 13. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

EQ11, DOC = "arXiv Section 3.7, Eq. 11", "docstring"
SUM = "return sum(self.weight[:, j] * x[j : j + frames] for j in range(self.lookahead + 1))"
PADDED = "return self.over(torch.cat((x, future)))"
MASKED = "x = x * sequence_mask(lengths, len(x)).t()[:, :, None]"

MUTANTS = [
    Mutant(
        "it looks back, not ahead",
        "Output frame t uses the frames t to t + tau, not t - tau to t. The recurrence below has already heard the past.",
        EQ11,
        (
            ("x[j : j + frames]", "x[self.lookahead - j : self.lookahead - j + frames]"),
            (PADDED, "return self.over(torch.cat((future, x)))"),
        ),
    ),
    Mutant(
        "the zeros stand before the utterance",
        "The zeros belong after the utterance's end: they are the future of the last tau frames. Zeros before the utterance shift all frames by tau.",
        DOC,
        ((PADDED, "return self.over(torch.cat((future, x)))"),),
    ),
    Mutant(
        "zeros on both sides",
        "For images it is usual to put half of the zeros before and half after. Such a window looks as far back as ahead. Here all tau zeros come after the end.",
        EQ11,
        ((PADDED, "half = self.lookahead // 2\n        return self.over(torch.cat((future[:half], x, future[half:])))"),),
    ),
    Mutant(
        "the window is reversed",
        "The first weight is for the present frame, the last for the furthest one. (Convolution in textbooks reverses the window; torch's conv1d does not.)",
        EQ11,
        (("self.weight[:, j] *", "self.weight[:, self.lookahead - j] *"),),
    ),
    Mutant(
        "the window begins one frame late",
        "At j = 1 the equation uses h_t, the present frame. It has h_{t+j-1}, not h_{t+j}.",
        EQ11,
        (("x[j : j + frames]", "torch.cat((x[1:], torch.zeros_like(x[:1])))[j : j + frames]"),),
    ),
    Mutant(
        "the present frame has no weight",
        "The window holds tau + 1 frames: the present one, with the first weight, and the next tau.",
        EQ11,
        (("for j in range(self.lookahead + 1))", "for j in range(1, self.lookahead + 1))"),),
    ),
    Mutant(
        "the last frame of the window is left out",
        "The sum has tau + 1 terms: the present frame and the next tau frames. range(tau) ends one too early.",
        EQ11,
        (("for j in range(self.lookahead + 1))", "for j in range(self.lookahead))"),),
    ),
    Mutant(
        "features are mixed",
        "r_{t,i} uses only feature i, h_{.,i}. One group for all features is a full convolution. A row convolution has one group per feature.",
        EQ11,
        (
            (
                SUM,
                "return sum((x[j : j + frames] @ self.weight[:, j])[..., None].expand(-1, -1, self.features) for j in range(self.lookahead + 1))",
            ),
        ),
    ),
    Mutant(
        "the features are added up first",
        "r_{t,i} uses only feature i, h_{.,i}. No feature sees another one.",
        EQ11,
        (("x[j : j + frames]", "x[j : j + frames].sum(-1, keepdim=True)"),),
    ),
    Mutant(
        "all features have the same weights",
        "W has a row for each feature, W_{i,j}.",
        EQ11,
        (("self.weight[:, j] *", "self.weight[0, j] *"),),
    ),
    Mutant(
        "the padding is not masked",
        "The last tau frames of a short utterance look into its padding. Without the mask they see whatever is there.",
        DOC,
        ((MASKED, "x = x + 0"),),
    ),
    Mutant(
        "the mask comes after the sum",
        "With a late mask the padding of the output is 0, but the last tau frames of each utterance have already seen the padding of x. Mask x first.",
        DOC,
        ((MASKED, "mask = sequence_mask(lengths, len(x)).t()[:, :, None]\n            return self.forward(x) * mask"),),
    ),
    Mutant(
        "the padding shows in the output",
        "Only the frames ahead are masked. The present frame needs the mask too: after an utterance's end the output is 0.",
        DOC,
        (
            (MASKED, "kept = x\n            " + MASKED),
            (PADDED, PADDED + " + (0 if lengths is None else (kept - x) * self.weight[:, 0])"),
        ),
    ),
    Mutant(
        "the lengths of the previous call are kept",
        "A layer that is called without lengths uses all T frames. It must remember nothing from the previous batch.",
        DOC,
        (
            (
                MASKED,
                "self.lengths = lengths\n        if (lengths := getattr(self, 'lengths', None)) is not None and len(lengths) == x.shape[1]:\n            "
                + MASKED,
            ),
        ),
    ),
    Mutant(
        "the mask is one frame too long",
        "An utterance of n frames has the frames 0 to n - 1. Frame n is padding.",
        DOC,
        ((MASKED, "x = x * sequence_mask(lengths + 1, len(x)).t()[:, :, None]"),),
    ),
    Mutant(
        "the mask is one frame too short",
        "An utterance of n frames has the frames 0 to n - 1. Frame n - 1 is its last one, and it counts.",
        DOC,
        ((MASKED, "x = x * sequence_mask(lengths - 1, len(x)).t()[:, :, None]"),),
    ),
    Mutant(
        "all utterances end with the longest",
        "Each utterance has its own end. Use lengths, not their maximum.",
        DOC,
        ((MASKED, "x = x * (torch.arange(len(x)) < lengths.max())[:, None, None]"),),
    ),
    Mutant(
        "the last tau frames are lost",
        "Without zeros after the end only T - tau windows fit. forward must return as many frames as it gets.",
        DOC,
        ((PADDED, "return self.over(x)"),),
    ),
    Mutant(
        "tau frames too many come out",
        "Zeros on both sides give T + tau frames. Add them only after the end.",
        DOC,
        ((PADDED, "return self.over(torch.cat((future, x, future)))"),),
    ),
    Mutant(
        "the last tau frames are set to 0",
        "The last tau frames of an utterance still see themselves and the frames that follow. Only frames after the end are 0.",
        DOC,
        (
            (
                PADDED,
                "out = self.over(torch.cat((x, future)))\n        return torch.cat((out, future))[: len(x)] * (torch.arange(len(x)) < len(x) - self.lookahead)[:, None, None]",
            ),
        ),
    ),
    Mutant(
        "the last frame is repeated after the end",
        "After the end come zeros, not the last frame again.",
        DOC,
        ((PADDED, "return self.over(torch.cat((x, x[-1:].expand_as(future))))"),),
    ),
    Mutant(
        "after the end the beginning comes again",
        "roll goes round in a circle, so the last frames would see the first ones. After the end come zeros.",
        DOC,
        ((PADDED, "return self.over(torch.cat([x] * (2 + self.lookahead // len(x)))[: len(x) + self.lookahead])"),),
    ),
    Mutant(
        "the mean instead of the sum",
        "Eq. 11 is a sum. Do not divide it by the size of the window.",
        EQ11,
        ((SUM, SUM + " / (self.lookahead + 1)"),),
    ),
    Mutant(
        "the frame itself is added once more",
        "The present frame is already in the sum, with its weight W_{i,1}. Add nothing more.",
        EQ11,
        ((SUM, SUM + " + x[:frames]"),),
    ),
    Mutant(
        "a ReLU after the sum",
        "Eq. 11 is a sum with nothing after it. Negative values stay negative.",
        EQ11,
        ((SUM, SUM.replace("return sum(", "return F.relu(sum(") + ")"),),
    ),
    Mutant(
        "the weights are made to sum to one",
        "Use the weights as they are. There is no softmax over the window.",
        EQ11,
        (("self.weight[:, j] *", "self.weight.softmax(1)[:, j] *"),),
    ),
    Mutant(
        "the window runs over the utterances",
        "x is (T, B, d), so time is axis 0. Along axis 1 an utterance would see its neighbour.",
        DOC,
        (
            ("        future = x.new_zeros", "        x = x.transpose(0, 1)\n        future = x.new_zeros"),
            (PADDED, "return self.over(torch.cat((x, future))).transpose(0, 1)"),
        ),
    ),
    Mutant(
        "the axes are reshaped, not permuted",
        "reshape and view cut the same numbers into other rows. So features and utterances get mixed up. permute swaps axes.",
        DOC,
        (
            (
                SUM,
                "_, batch, features = x.shape\n        r = F.conv1d(x.reshape(batch, features, len(x)), self.weight[:, None], groups=features)\n        return r.reshape(frames, batch, features)",
            ),
        ),
    ),
    Mutant(
        "over adds zeros of its own",
        "over returns only the frames whose future is in x: T of T + tau. In a stream, zeros would stand in for frames that are still to come.",
        "docstring of over",
        (
            (PADDED, "return self.over(x)"),
            (
                "        frames = len(x) - self.lookahead",
                "        frames = len(x)\n        x = torch.cat((x, x.new_zeros(self.lookahead, *x.shape[1:])))",
            ),
        ),
    ),
    Mutant(
        "no gradient for the weights",
        "self.weight.data gets no gradient, so W would never learn.",
        "docstring",
        (("self.weight[:, j] *", "self.weight.data[:, j] *"),),
    ),
]
