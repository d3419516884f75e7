"""Wrong answers of exercise 11. (They give much away: for the check, not for reading before you are done.)"""

from ladder import Mutant

S33 = "arXiv Section 3.3"
DOC = "docstring"

MUTANTS = [
    Mutant(
        "sorted in every epoch",
        "Only the first epoch is sorted. Afterwards the minibatches come in random order.",
        S33,
        (("sorted_epoch = self.sortagrad and self.epoch == 0", "sorted_epoch = self.sortagrad"),),
    ),
    Mutant(
        "never sorted",
        "In epoch 0 (counted from 0) minibatches come in the order of their longest utterance.",
        S33,
        (("sorted_epoch = self.sortagrad and self.epoch == 0", "sorted_epoch = self.sortagrad and self.epoch == -1"),),
    ),
    Mutant(
        "epochs are counted from 1",
        "The first epoch is epoch 0, as set_epoch says.",
        DOC,
        (("self.epoch == 0", "self.epoch == 1"),),
    ),
    Mutant(
        "the longest first",
        "Short utterances come first.",
        S33,
        (("lengths = self.seconds\n", "lengths = -self.seconds\n"),),
    ),
    Mutant(
        "sortagrad=False changes nothing",
        "Without SortaGrad the first epoch is like the later ones.",
        DOC,
        (("self.sortagrad and self.epoch == 0", "self.epoch == 0"),),
    ),
    Mutant(
        "the last minibatch is dropped",
        "Each utterance comes once per epoch, also those of a last, smaller minibatch. (They are the longest ones.)",
        DOC,
        (("range(0, len(order), self.batch_size)", "range(0, len(order) - self.batch_size + 1, self.batch_size)"),),
    ),
    Mutant(
        "the number of minibatches is rounded down",
        "The last, smaller minibatch counts too.",
        DOC,
        (("-(-len(self.seconds) // self.batch_size)", "len(self.seconds) // self.batch_size"),),
    ),
    Mutant(
        "utterances are shuffled, not minibatches",
        "If you shuffle the utterances, each minibatch mixes short and long ones and is mostly padding. Sort by length with jitter, cut, then shuffle the "
        "minibatches.",
        DOC,
        (("        batches = [", "        if not sorted_epoch:\n            rng.shuffle(order)\n        batches = ["),),
    ),
    Mutant(
        "no jitter",
        "Without jitter the same utterances are together in every epoch. Multiply each length by a factor of its own (one factor for all would not change the order).",
        DOC,
        (("lengths * rng.uniform(1 - self.jitter, 1 + self.jitter, len(lengths))", "lengths * 1.0"),),
    ),
    Mutant(
        "the jitter is in seconds",
        "The jitter is relative: multiply each length by a factor between 1 - jitter and 1 + jitter.",
        DOC,
        (
            (
                "lengths * rng.uniform(1 - self.jitter, 1 + self.jitter, len(lengths))",
                "lengths + rng.uniform(-self.jitter, self.jitter, len(lengths))",
            ),
        ),
    ),
    Mutant(
        "the first epoch has jitter too",
        "In epoch 0 sort by the lengths as they are.",
        S33,
        (("        if not sorted_epoch:\n            lengths", "        if True:\n            lengths"),),
    ),
    Mutant(
        "the minibatches are not shuffled",
        "After epoch 0 they come in random order, not from short to long.",
        S33,
        (("            rng.shuffle(batches)", "            pass"),),
    ),
    Mutant(
        "every epoch has the same order",
        "Seed and epoch together fix the order. Another epoch gives another order.",
        DOC,
        (("default_rng((self.seed, self.epoch))", "default_rng(self.seed)"),),
    ),
    Mutant(
        "every seed gives the same order",
        "Seed and epoch together fix the order. Another seed gives another order.",
        DOC,
        (("default_rng((self.seed, self.epoch))", "default_rng(self.epoch)"),),
    ),
    Mutant(
        "seed and epoch are added up",
        "seed + epoch is the same number for seed 5 in epoch 2 and seed 6 in epoch 1: two runs with neighbouring seeds would share their orders.",
        DOC,
        (("default_rng((self.seed, self.epoch))", "default_rng(self.seed + self.epoch)"),),
    ),
    Mutant(
        "the order depends on what was drawn before",
        "A run that continues after an interruption must get the same minibatches. Make a generator from seed and epoch; do not use the global one.",
        DOC,
        (("rng = np.random.default_rng((self.seed, self.epoch))", "rng = np.random"),),
    ),
    Mutant(
        "the global random state is set",
        "np.random.seed or torch.manual_seed would restart all other random numbers at each epoch.",
        DOC,
        (
            (
                "rng = np.random.default_rng((self.seed, self.epoch))",
                "np.random.seed(abs(hash((self.seed, self.epoch))) % 2**32)\n        rng = np.random",
            ),
        ),
    ),
    Mutant(
        "the smaller minibatch is the first",
        "The smaller minibatch holds what is left at the end of the sorted order: the longest utterances.",
        DOC,
        (
            (
                "batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]",
                "rest = len(order) % self.batch_size\n        batches = ([order[:rest]] if rest else []) + [order[start : start + self.batch_size] for start in range(rest, len(order), self.batch_size)]",
            ),
        ),
    ),
    Mutant(
        "two utterances share one random factor",
        "Then their order is the same in every epoch. Draw as many factors as there are utterances.",
        "docstring",
        (
            (
                "            lengths = lengths * rng.uniform(1 - self.jitter, 1 + self.jitter, len(lengths))\n",
                "            f = rng.uniform(1 - self.jitter, 1 + self.jitter, -(-len(lengths) // 2))\n            lengths = lengths * np.concatenate((f, f[::-1]))[: len(lengths)]\n",
            ),
        ),
    ),
    Mutant(
        "some orders of the minibatches are likelier than others",
        "A shuffle that swaps each place with any other place is not fair. rng.shuffle and rng.permutation are.",
        "docstring",
        (
            (
                "            rng.shuffle(batches)  # the minibatches, not the utterances\n",
                "            for i in range(len(batches)):\n                j = int(rng.integers(0, len(batches)))\n                batches[i], batches[j] = batches[j], batches[i]\n",
            ),
        ),
    ),
]
