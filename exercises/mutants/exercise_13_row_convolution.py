"""Wrong answers of exercise 13. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

EQ11, DOC = "arXiv Section 3.7, Eq. 11", "docstring"
SUM = "return sum(self.weight[:, j] * x[j : j + frames] for j in range(self.lookahead + 1))"
PADDED = "return self.over(torch.cat((x, future)))"
MASKED = "x = x * sequence_mask(lengths, len(x)).t()[:, :, None]"

MUTANTS = [
    Mutant(
        "it looks back, not ahead",
        "Frame t takes the frames t to t + tau, not t - tau to t: the past is what the recurrence below has heard already.",
        EQ11,
        (
            ("x[j : j + frames]", "x[self.lookahead - j : self.lookahead - j + frames]"),
            (PADDED, "return self.over(torch.cat((future, x)))"),
        ),
    ),
    Mutant(
        "the zeros stand before the utterance",
        "They belong behind its end, for the future of the last tau frames. Before it, they push all frames back by tau.",
        DOC,
        ((PADDED, "return self.over(torch.cat((future, x)))"),),
    ),
    Mutant(
        "zeros on both sides",
        "Half of them before and half behind is what one does for images: such a window looks as far back as ahead. All tau stand behind.",
        EQ11,
        ((PADDED, "half = self.lookahead // 2\n        return self.over(torch.cat((future[:half], x, future[half:])))"),),
    ),
    Mutant(
        "the window is turned round",
        "The first weight is that of the present frame, the last that of the furthest one. (The convolution of the textbooks turns it round; torch's conv1d does not.)",
        EQ11,
        (("self.weight[:, j] *", "self.weight[:, self.lookahead - j] *"),),
    ),
    Mutant(
        "the window begins one frame late",
        "At j = 1 the equation has h_t, the present frame: h_{t+j-1}, not h_{t+j}.",
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
        "The sum runs to tau + 1: the present frame and tau of the future. range(tau) ends one too early.",
        EQ11,
        (("for j in range(self.lookahead + 1))", "for j in range(self.lookahead))"),),
    ),
    Mutant(
        "features are mixed",
        "r_{t,i} takes feature i alone, h_{.,i}. One group for all features is a full convolution; a row convolution has a group for each.",
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
        "r_{t,i} takes feature i alone, h_{.,i}: no feature hears another one.",
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
        "the padding is heard",
        "The last tau frames of a short utterance look into its padding: without the mask they hear what happens to stand there.",
        DOC,
        ((MASKED, "x = x + 0"),),
    ),
    Mutant(
        "the mask comes after the sum",
        "Then the padding is 0 in the output, but the last tau frames of each utterance have heard it already. Mask x first.",
        DOC,
        ((MASKED, "mask = sequence_mask(lengths, len(x)).t()[:, :, None]\n            return self.forward(x) * mask"),),
    ),
    Mutant(
        "what stands in the padding comes through",
        "Only the frames ahead are masked. The present frame needs the mask too: behind an utterance's end the output is 0.",
        DOC,
        (
            (MASKED, "kept = x\n            " + MASKED),
            (PADDED, PADDED + " + (0 if lengths is None else (kept - x) * self.weight[:, 0])"),
        ),
    ),
    Mutant(
        "the lengths of the call before are kept",
        "A layer that is called without lengths takes all T frames; it must remember nothing of the batch before.",
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
        "An utterance of n frames has the frames 0 to n - 1; frame n is padding.",
        DOC,
        ((MASKED, "x = x * sequence_mask(lengths + 1, len(x)).t()[:, :, None]"),),
    ),
    Mutant(
        "the mask is one frame too short",
        "An utterance of n frames has the frames 0 to n - 1: frame n - 1 is its last one, and is heard.",
        DOC,
        ((MASKED, "x = x * sequence_mask(lengths - 1, len(x)).t()[:, :, None]"),),
    ),
    Mutant(
        "all utterances end with the longest",
        "Each utterance has an end of its own: lengths, not their maximum.",
        DOC,
        ((MASKED, "x = x * (torch.arange(len(x)) < lengths.max())[:, None, None]"),),
    ),
    Mutant(
        "the last tau frames are lost",
        "Without zeros behind the end only T - tau windows fit; forward gives as many frames as it takes.",
        DOC,
        ((PADDED, "return self.over(x)"),),
    ),
    Mutant(
        "tau frames too many come out",
        "Zeros on both sides give T + tau frames. They stand behind the end only.",
        DOC,
        ((PADDED, "return self.over(torch.cat((future, x, future)))"),),
    ),
    Mutant(
        "the last tau frames are set to 0",
        "They still hear themselves and what is left of their future: only what lies behind the end is 0.",
        DOC,
        (
            (
                PADDED,
                "out = self.over(torch.cat((x, future)))\n        return torch.cat((out, future))[: len(x)] * (torch.arange(len(x)) < len(x) - self.lookahead)[:, None, None]",
            ),
        ),
    ),
    Mutant(
        "the last frame is repeated behind the end",
        "Behind the end there is 0, not the last frame once more.",
        DOC,
        ((PADDED, "return self.over(torch.cat((x, x[-1:].expand_as(future))))"),),
    ),
    Mutant(
        "behind the end the beginning comes again",
        "roll turns in a circle: the last frames would hear the first ones. Behind the end there is 0.",
        DOC,
        ((PADDED, "return self.over(torch.cat([x] * (2 + self.lookahead // len(x)))[: len(x) + self.lookahead])"),),
    ),
    Mutant(
        "the mean in place of the sum",
        "Eq. 11 adds up; nothing is divided by the size of the window.",
        EQ11,
        ((SUM, SUM + " / (self.lookahead + 1)"),),
    ),
    Mutant(
        "the frame itself is added once more",
        "The present frame comes in with its weight W_{i,1} only; nothing is added to the sum.",
        EQ11,
        ((SUM, SUM + " + x[:frames]"),),
    ),
    Mutant(
        "a ReLU after the sum",
        "Eq. 11 is a sum, and nothing comes after it: negative values stay.",
        EQ11,
        ((SUM, SUM.replace("return sum(", "return F.relu(sum(") + ")"),),
    ),
    Mutant(
        "the weights are made to sum to one",
        "They are used as they are: no softmax over the window.",
        EQ11,
        (("self.weight[:, j] *", "self.weight.softmax(1)[:, j] *"),),
    ),
    Mutant(
        "the window runs over the utterances",
        "x is (T, B, d): time is axis 0. Along axis 1 an utterance would hear its neighbour.",
        DOC,
        (
            ("        future = x.new_zeros", "        x = x.transpose(0, 1)\n        future = x.new_zeros"),
            (PADDED, "return self.over(torch.cat((x, future))).transpose(0, 1)"),
        ),
    ),
    Mutant(
        "the axes are reshaped, not permuted",
        "reshape and view cut the same numbers into other rows, so that features and utterances get mixed up. permute swaps axes.",
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
        "over gives only the frames whose future is there, T of T + tau. In a stream, zeros in place of frames that are still to come would be heard.",
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
        "self.weight.data is cut off from the gradient, and W would never learn.",
        "docstring",
        (("self.weight[:, j] *", "self.weight.data[:, j] *"),),
    ),
]
