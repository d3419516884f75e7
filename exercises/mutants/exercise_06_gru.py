"""Wrong answers of exercise 6. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

EQ10 = "arXiv Section 3.4, Eq. 10"
HERE = "docstring; torch's nn.GRU does the same"

MUTANTS = [
    Mutant(
        "z weights the new candidate",
        "The paper does it this way. This loop, like torch's GRU, lets z weight the old state: h = (1 - z) n + z h. Weights trained for one "
        "do not fit the other unless you change the signs of x_z and U_z.",
        HERE,
        (("(1 - z) * n + z * h", "z * n + (1 - z) * h"),),
    ),
    Mutant(
        "the reset gate scales the state before the product",
        "In Eq. 10 the reset gate scales the product: r o (U_n h), not U_n (r o h). Only then is one product enough for all gates.",
        EQ10,
        (("n = torch.tanh(x_n + r * g_n)", "n = torch.tanh(x_n + torch.bmm(r * h, u.chunk(3, dim=1)[2].transpose(1, 2)))"),),
    ),
    Mutant(
        "the reset gate scales the input too",
        "r lets the unit forget the past, not the present: x_n + r o (U_n h), not r o (x_n + U_n h).",
        EQ10,
        (("x_n + r * g_n", "r * (x_n + g_n)"),),
    ),
    Mutant(
        "no reset gate",
        "The candidate is tanh(x_n + r o (U_n h)).",
        EQ10,
        (("x_n + r * g_n", "x_n + g_n"),),
    ),
    Mutant(
        "r and z are swapped",
        "The gates are in torch's order r, z, n, both in x and in the rows of u. (Eq. 10 lists z first.)",
        HERE,
        (("x_r, x_z, x_n = x_s", "x_z, x_r, x_n = x_s"), ("g_r, g_z, g_n =", "g_z, g_r, g_n =")),
    ),
    Mutant(
        "no tanh",
        "The candidate needs a non-linearity that bounds it: here tanh.",
        EQ10,
        (("n = torch.tanh(x_n + r * g_n)", "n = x_n + r * g_n"),),
    ),
    Mutant(
        "a sigmoid for the candidate",
        "r and z are gates between 0 and 1. The candidate uses tanh and may be negative.",
        EQ10,
        (("n = torch.tanh(", "n = torch.sigmoid("),),
    ),
    Mutant(
        "the clipped ReLU for the candidate",
        "The paper chose the clipped ReLU. This loop uses tanh, as torch does.",
        HERE,
        (("n = torch.tanh(x_n + r * g_n)", "n = (x_n + r * g_n).clamp(0, 20)"),),
    ),
    Mutant(
        "U is transposed",
        "(U h)_i = sum_j U_ij h_j. With utterances in the rows of h that is h U^T, gate by gate.",
        EQ10,
        (("torch.bmm(h, u.transpose(1, 2)).chunk(3, dim=-1)", "[torch.bmm(h, part) for part in u.chunk(3, dim=1)]"),),
    ),
    Mutant(
        "both directions use the forward U",
        "Each direction has its own matrices.",
        "arXiv Section 3.1, Eq. 2",
        (("torch.bmm(h, u.transpose(1, 2))", "(h @ u[0].t())"),),
    ),
    Mutant(
        "the mask is not used",
        "Where the mask is 0, the state must become 0. Otherwise the backward direction carries the padding into the utterance.",
        "docstring",
        (("((1 - z) * n + z * h) * mask_s", "((1 - z) * n + z * h)"),),
    ),
    Mutant(
        "where the mask is 0 the old state is kept",
        "Where the mask is 0, the state must become 0: each utterance starts from zero.",
        "docstring",
        (("((1 - z) * n + z * h) * mask_s", "((1 - z) * n + z * h) * mask_s + h * (1 - mask_s)"),),
    ),
    Mutant(
        "only the result is masked",
        "Apply the mask to the state itself: the next step must start from h times mask too.",
        "docstring",
        (("((1 - z) * n + z * h) * mask_s", "((1 - z) * n + z * h)"), ("states.append(h)", "states.append(h * mask_s)")),
    ),
    Mutant(
        "the old state has no weight",
        "The new state is (1 - z) n + z h. Without the second term nothing is remembered.",
        EQ10,
        (("((1 - z) * n + z * h)", "((1 - z) * n)"),),
    ),
    Mutant(
        "the sigmoid is written with exp",
        "exp(1000) is inf. The value 1 / (1 + inf) = 0 is still right, but its gradient is inf / inf, which is nan. Use torch.sigmoid: its gradient is finite.",
        "docstring",
        (
            ("        r = torch.sigmoid(x_r + g_r)\n", "        r = 1 / (1 + torch.exp(-(x_r + g_r)))\n"),
            ("        z = torch.sigmoid(x_z + g_z)\n", "        z = 1 / (1 + torch.exp(-(x_z + g_z)))\n"),
        ),
    ),
]
