"""Wrong answers of exercise 5. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

EQ3, EQ8, S31 = "arXiv Section 3.1, Eq. 3", "arXiv Section 3.2, Eq. 8", "arXiv Section 3.1"

MUTANTS = [
    Mutant(
        "a ReLU without a clip",
        "The function is min(max(x, 0), 20). The upper bound keeps a recurrence with ReLU from exploding.",
        S31,
        (
            ("return x.clamp(0.0, self.clip)", "return x.clamp_min(0.0)"),
            (".clamp(0.0, clip) * mask_s", ".clamp_min(0.0) * mask_s"),
        ),
    ),
    Mutant(
        "the clip is not the one that was given",
        "20 is only the default. ClippedReLU(clip) and rnn_loop(..., clip) may get another clip.",
        "docstrings",
        (("x.clamp(0.0, self.clip)", "x.clamp(0.0, 20.0)"), (".clamp(0.0, clip)", ".clamp(0.0, 20.0)")),
    ),
    Mutant(
        "only rnn_loop forgets its clip",
        "The state is clipped at each step, with the clip that rnn_loop was given.",
        EQ3,
        ((".clamp(0.0, clip) * mask_s", ".clamp_min(0.0) * mask_s"),),
    ),
    Mutant(
        "negative values are not cut off",
        "The function is min(max(x, 0), clip): everything below 0 becomes 0, not -clip.",
        S31,
        (("x.clamp(0.0, self.clip)", "x.clamp(-self.clip, self.clip)"), (".clamp(0.0, clip)", ".clamp(-clip, clip)")),
    ),
    Mutant(
        "the clipped ReLU is a difference of two",
        "relu(x) - relu(x - clip) is right only on paper: inf - inf is nan, and a difference of large numbers loses digits. Use clamp.",
        "docstring of ClippedReLU",
        (("return x.clamp(0.0, self.clip)", "return x.relu() - (x - self.clip).relu()"),),
    ),
    Mutant(
        "negative values are multiplied by 0",
        "x * (x > 0) is nan where x is -inf, since 0 * inf is nan. Use clamp, maximum or where.",
        "docstring of ClippedReLU",
        (("return x.clamp(0.0, self.clip)", "return (x * (x > 0)).clamp(max=self.clip)"),),
    ),
    Mutant(
        "U is transposed",
        "(U h)_i = sum_j U_ij h_j. With utterances in the rows of h that is h U^T, not h U.",
        EQ3,
        (("torch.bmm(h, u.transpose(1, 2))", "torch.bmm(h, u)"),),
    ),
    Mutant(
        "the non-linearity only sees the input side",
        "f takes the whole sum: f(W x + U h). f(W x) + U h is another function, and nothing bounds it.",
        EQ3,
        (
            (
                "(x_s + torch.bmm(h, u.transpose(1, 2))).clamp(0.0, clip)",
                "(x_s.clamp(0.0, clip) + torch.bmm(h, u.transpose(1, 2)))",
            ),
        ),
    ),
    Mutant(
        "the mask is not used in the loop",
        "Where the mask is 0, the state must become 0. Otherwise the backward direction carries its state from the padding into the utterance.",
        "docstring of rnn_loop",
        ((".clamp(0.0, clip) * mask_s", ".clamp(0.0, clip)"),),
    ),
    Mutant(
        "where the mask is 0 the old state is kept",
        "Where the mask is 0, the state must become 0: each utterance starts from zero.",
        "docstring of rnn_loop",
        ((".clamp(0.0, clip) * mask_s", ".clamp(0.0, clip) * mask_s + h * (1 - mask_s)"),),
    ),
    Mutant(
        "both directions use the forward U",
        "In the paper's simple recurrence U has an arrow: there is one U for each direction. W has no arrow.",
        "arXiv Section 3.1, Eq. 2 and 3",
        (("torch.bmm(h, u.transpose(1, 2))", "(h @ u[0].t())"),),
    ),
    Mutant(
        "the result begins with the state before the first step",
        "Step s of the result is the state after step s. The zero state at the beginning is not part of the result.",
        EQ3,
        (("        h = (x_s", "        before = h\n        h = (x_s"), ("states.append(h)", "states.append(before)")),
    ),
    Mutant(
        "the directions are concatenated",
        "The paper adds them: the layer's output is H wide. (This library's default concatenates.)",
        S31,
        (("return states[:, 0] + states[:, 1].flip(0)", "return torch.cat((states[:, 0], states[:, 1].flip(0)), -1)"),),
    ),
    Mutant(
        "the larger of the two directions",
        "The output is the sum ->h + <-h, not their maximum.",
        S31,
        (("return states[:, 0] + states[:, 1].flip(0)", "return torch.maximum(states[:, 0], states[:, 1].flip(0))"),),
    ),
    Mutant(
        "the mean of the two directions",
        "The output is the sum ->h + <-h, not half of it.",
        S31,
        (("return states[:, 0] + states[:, 1].flip(0)", "return (states[:, 0] + states[:, 1].flip(0)) / 2"),),
    ),
    Mutant(
        "the result of the backward direction is not reversed",
        "Step s of the backward direction belongs to frame T - 1 - s. If you do not reverse its result, the first frame is added to the last.",
        "arXiv Section 3.1, Eq. 2",
        (("states[:, 1].flip(0)", "states[:, 1]"),),
    ),
    Mutant(
        "the backward direction runs forward",
        "The backward direction must see the frames from the last to the first. Only then does it know at frame t what comes later.",
        "arXiv Section 3.1, Eq. 2",
        (
            ("torch.stack((side, side.flip(0)), dim=1)", "torch.stack((side, side), dim=1)"),
            ("torch.stack((mask, mask.flip(0)), dim=1)", "torch.stack((mask, mask), dim=1)"),
            ("states[:, 1].flip(0)", "states[:, 1]"),
        ),
    ),
    Mutant(
        "the mask of the backward direction is not reversed",
        "In reversed order the padding of a short utterance comes first. A mask that is not reversed cuts off the utterance and lets the padding in.",
        "docstring of BidirectionalRNNLayer",
        (("torch.stack((mask, mask.flip(0)), dim=1)", "torch.stack((mask, mask), dim=1)"),),
    ),
    Mutant(
        "the loop runs through the padding",
        "Make the mask from the lengths and give it to the loop. Frames after an utterance's end must have no influence, and the output there is 0.",
        "docstring of BidirectionalRNNLayer",
        (
            (
                "states = rnn_loop(steps, self.weight_hh, masks,",
                "states = rnn_loop(steps, self.weight_hh, torch.ones_like(masks),",
            ),
        ),
    ),
    Mutant(
        "batch norm on the output",
        "Eq. 8 normalises only the input side W x, before U h is added. The output is not normalised. (This library's default normalises the output.)",
        EQ8,
        (
            ("side = self.norm(x @ self.weight_ih[0].t(), lengths)", "side = x @ self.weight_ih[0].t()"),
            ("return states[:, 0] + states[:, 1].flip(0)", "return self.norm(states[:, 0] + states[:, 1].flip(0), lengths)"),
        ),
    ),
    Mutant(
        "batch norm on the layer's input",
        "Eq. 8 normalises W x, not x: B(W x).",
        EQ8,
        (
            (
                "side = self.norm(x @ self.weight_ih[0].t(), lengths)",
                "side = self.norm(x, lengths) @ self.weight_ih[0].t() if x.shape[2] == self.hidden_size else self.norm(x @ self.weight_ih[0].t(), lengths) * 0",
            ),
        ),
    ),
    Mutant(
        "no batch norm",
        "Eq. 8 has B(W x) where Eq. 3 has W x + b.",
        EQ8,
        (("side = self.norm(x @ self.weight_ih[0].t(), lengths)", "side = x @ self.weight_ih[0].t()"),),
    ),
    Mutant(
        "batch norm is not told the lengths",
        "Without the lengths the statistics of batch norm include the padding.",
        "arXiv Section 3.2",
        (("self.weight_ih[0].t(), lengths)", "self.weight_ih[0].t())"),),
    ),
    Mutant(
        "the clip of the layer is not passed on",
        "The layer must pass its clip on to its recurrence.",
        "docstring of BidirectionalRNNLayer",
        (("masks, self.clip)", "masks)"),),
    ),
]
