"""Wrong answers of exercise 3. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

FORMULA = "floor((T + 2 p - k) / s) + 1, docstring of conv_output_lengths"

MUTANTS = [
    Mutant(
        "rounded up instead of down",
        "A place where the kernel fits only in part gives no frame.",
        FORMULA,
        (("(lengths + 2 * padding - kernel) // stride + 1", "-(-(lengths + 2 * padding - kernel) // stride) + 1"),),
    ),
    Mutant(
        "the first place of the kernel is not counted",
        "The division counts the steps from place to place. There is one place more than there are steps.",
        FORMULA,
        (("- kernel) // stride + 1", "- kernel) // stride"),),
    ),
    Mutant(
        "the padding is counted at one end only",
        "A convolution pads both ends, so add the padding twice.",
        FORMULA,
        (("lengths + 2 * padding", "lengths + padding"),),
    ),
    Mutant(
        "the length of the kernel is not subtracted",
        "T / s is right only for some kernels. Subtract the kernel's length first.",
        FORMULA,
        (("(lengths + 2 * padding - kernel) // stride + 1", "lengths // stride"),),
    ),
    Mutant(
        "lengths go through floating point numbers",
        "float32 holds every integer up to 2^24, but not beyond. And a new dtype breaks the code that uses the lengths later. // keeps integers.",
        "docstring of conv_output_lengths",
        (
            (
                "(lengths + 2 * padding - kernel) // stride + 1",
                "(((lengths + 2 * padding - kernel) / stride).floor() + 1).to(lengths.dtype)",
            ),
        ),
    ),
    Mutant(
        "the result is a floating point number",
        "Lengths count frames: integers in, integers out. The CTC loss and the masks refuse or misread floats.",
        "docstring of conv_output_lengths",
        (("(lengths + 2 * padding - kernel) // stride + 1", "((lengths + 2 * padding - kernel) / stride).floor() + 1"),),
    ),
    Mutant(
        "the mask has one frame too many",
        "Frames are counted from 0, so the last frame of an utterance of n frames is frame n - 1.",
        "docstring of sequence_mask",
        (("[None, :] < lengths", "[None, :] <= lengths"),),
    ),
    Mutant(
        "the mask is True in the padding",
        "True means that the frame belongs to the utterance. (torch's attention layers have it the other way round.)",
        "docstring of sequence_mask",
        (
            (
                "return torch.arange(max_length)[None, :] < lengths[:, None]",
                "return torch.arange(max_length)[None, :] >= lengths[:, None]",
            ),
            ("masked_fill(~", "masked_fill("),
        ),
    ),
    Mutant(
        "frequency is taken for time",
        "Kernels and strides are written frequency x time. Lengths depend on the second number of each pair.",
        "arXiv Section 3.5",
        (
            (
                "self.conv.kernel_size[1], self.conv.stride[1], self.conv.padding[1]",
                "self.conv.kernel_size[0], self.conv.stride[0], self.conv.padding[0]",
            ),
        ),
    ),
    *(
        Mutant(
            f"the {what} of the frequency axis instead of the time axis",
            "Kernels, strides and paddings are pairs, frequency x time. To count frames, take index 1 of all three.",
            "arXiv Section 3.5",
            tuple((f"self.conv.{name}[1]", f"self.conv.{name}[0]") for name in names),
        )
        for what, names in (
            ("kernel", ("kernel_size",)),
            ("padding", ("padding",)),
            ("kernel and stride", ("kernel_size", "stride")),
            ("stride and padding", ("stride", "padding")),
        )
    ),
    Mutant(
        "the lengths of the input are passed on",
        "After a stride of 2 an utterance has half as many frames. Batch norm, recurrence and loss need the new lengths.",
        "arXiv Section 3.6",
        (("        lengths = self.output_lengths(lengths)\n", ""),),
    ),
    Mutant(
        "the padding flows into the last frames",
        "A kernel of k frames reaches k // 2 frames past the end, so the padding is mixed into the utterance. Set it to 0 before "
        "the convolution.",
        "docstring of forward",
        (("        x = x.masked_fill(~sequence_mask(lengths, x.shape[3])[:, None, None, :], 0.0)\n", ""),),
    ),
    Mutant(
        "the mask of the first batch is kept",
        "The next batch has other lengths, even if its shape is the same. Make a new mask at each call.",
        "docstring of forward",
        (
            (
                "x = x.masked_fill(~sequence_mask(lengths, x.shape[3])[:, None, None, :], 0.0)",
                'self.__dict__.setdefault("masks", {}).setdefault(tuple(x.shape), sequence_mask(lengths, x.shape[3]))\n'
                "        x = x.masked_fill(~self.masks[tuple(x.shape)][:, None, None, :], 0.0)",
            ),
        ),
    ),
    Mutant(
        "the padding is multiplied by 0",
        "0 * nan is nan, and so is 0 * inf. So multiplying by the mask does not remove them. Put 0 in their place, with masked_fill or "
        "torch.where.",
        "docstring of forward",
        (
            (
                "x = x.masked_fill(~sequence_mask(lengths, x.shape[3])[:, None, None, :], 0.0)",
                "x = x * sequence_mask(lengths, x.shape[3])[:, None, None, :]",
            ),
        ),
    ),
    Mutant(
        "batch norm is not told the lengths",
        "Without the lengths its mean and variance include the padding, and the padding of the result is not 0.",
        "arXiv Section 3.2",
        (("self.norm(self.conv(x), lengths)", "self.norm(self.conv(x))"),),
    ),
    Mutant(
        "batch norm after the clipped ReLU",
        "The paper normalises before the non-linearity: f(B(w * x)).",
        "arXiv Section 3.2",
        (("self.activation(self.norm(self.conv(x), lengths))", "self.norm(self.activation(self.conv(x)), lengths)"),),
    ),
]
