"""Exercise 6: the GRU cell.

Why it matters. In Table 3 of the paper GRUs beat the simple recurrence at every depth, with the same number of parameters.
Three slightly different cells are called GRU. They differ in what the update gate weighs and in where the reset gate is
applied. All three can be trained. But if you load the weights of one cell into another, the output is noise, and no error
message says why.

Paper. arXiv Section 3.4, Eq. 10 and Table 3.
Effort. 25 minutes, difficulty 2 of 3.
You may use. torch. Do not use nn.GRU, nn.GRUCell or their relatives.
Check it. python exercises/exercise_06_gru.py

What if. Use the clipped ReLU for the candidate instead of tanh. The paper uses the clipped ReLU, after both worked
about equally well (Section 3.4). What bounded h before, and what bounds it now?
"""

from __future__ import annotations

import torch
from torch import Tensor


def gru_loop(x: Tensor, u: Tensor, mask: Tensor) -> Tensor:
    """The GRU as a plain loop, both directions at once, starting from h = 0. The gates are in torch's order r, z, n::

        r = sigmoid(x_r + U_r h)
        z = sigmoid(x_z + U_z h)
        n = tanh(x_n + r o (U_n h))
        h = (1 - z) o n + z o h

    The caller has already computed x_r = W_r x + b_r and so on; they are in ``x``. The sign o multiplies unit by unit. As in
    Eq. 10, the reset gate r scales the product U_n h, so one product with h serves all three gates. (In other texts r scales h
    before the product.)

    One thing differs from the paper. There z weights the new candidate, h = (1 - z) h + z n. Here, as in torch, z weighs the
    old state. Since sigmoid(-a) = 1 - sigmoid(a), changing the signs of x_z and U_z turns one form into the other.

    Both directions run from step 0 to the last step; the caller has already reversed the backward one. At steps where the mask
    is 0, the state becomes 0. There may be thousands of steps: use a loop, not recursion. Inputs may be as large as 1000, which
    saturates the gates: states and gradients must stay finite.

    Example, to do by hand first. One unit, two steps, the same x in both: x_r = 0, x_z = log 3, x_n = 1, and U_r = U_z = 0,
    U_n = 2. So r = 0.5 and z = 0.75 in both steps. Step 1: n = tanh(1) = 0.762, h = 0.25 * 0.762 = 0.190. Step 2:
    n = tanh(1 + 0.5 * 2 * 0.190) = 0.831, h = 0.25 * 0.831 + 0.75 * 0.190 = 0.350.

    >>> x = torch.tensor([0.0, 1.0986, 1.0]).expand(2, 2, 1, 3)  # log 3 = 1.0986
    >>> u = torch.tensor([[0.0], [0.0], [2.0]]).expand(2, 3, 1)
    >>> gru_loop(x, u, torch.ones(2, 2, 1, 1))[:, 0].flatten()
    tensor([0.1904, 0.3505])

    Args:
        x: (S, 2, B, 3H) input side of S steps. The last axis holds the H values of x_r, then those of x_z, then those of x_n.
            Axis 1 is the direction.
        u: (2, 3H, H) recurrent matrix of each direction: the rows of U_r, then those of U_z, then those of U_n.
        mask: (S, 2, B, 1) with the dtype of x: 1 where the step belongs to the utterance, 0 in the padding.

    Returns:
        (S, 2, B, H) states, with the dtype of x.
    """
    raise NotImplementedError


if __name__ == "__main__":
    from ladder import run_file

    run_file(__file__)
