"""The exercises of notebook 03, the CIFAR ResNets v1."""

import numbers

from .. import cifar
from .core import (
    Exercise,
    Raised,
    Wrong,
    call,
    described,
    guarded,
    is_number,
    judge_number,
    judge_numbers,
)

# 03-blocks: (blocks in each stage, blocks in all, convolutions) of ResNet-74

_N = {
    8: "That solves 9n+2 = 74, the rule for bottleneck blocks. A basic block has two convolutions.",
    24: "That counts convolutions, two to a block. How many blocks are it?",
    36: "That counts the blocks of all three stages.",
    37: "That is 74 / 2. Two of the layers are in no block, and there are three stages.",
    74 / 6: "Two of the 74 layers are in no block: take them away first.",
    11: "That leaves out the first block of each stage. It counts like the others.",
}
_BLOCKS = {
    12: "That is one stage. There are three.",
    72: "That counts the convolutions in the blocks, two to each.",
    37: "That is 74 / 2. Two of the layers are in no block.",
    24: "That is two stages. There are three.",
}
_CONVOLUTIONS = {
    72: "That forgets the first convolution, before all blocks, the stem.",
    74: "That counts the dense layer at the end as well: a layer with weights, no convolution.",
    75: "That counts the two projections. The paper's count does not.",
    76: "That counts projections and the dense layer. The paper's count has no projections, and a "
    "dense layer is no convolution.",
    36: "That is one to a block. A basic block has two.",
    24: "That is one stage only, without the stem.",
}


def judge_blocks(answer):
    """Judge (blocks in each stage, blocks in all, convolutions) of ResNet-74."""
    judge_numbers(
        answer,
        ("blocks in each stage", "blocks in all", "convolutions"),
        (12, 36, 73),
        (_N, _BLOCKS, _CONVOLUTIONS),
        (
            "Solve 6n+2 = 74.",
            "Three stages have the same number of blocks.",
            "Two in each block, and which one besides? Projections do not count.",
        ),
    )


# 03-biases: the conv biases of ResNet-32 in the form "example"

_STEM, _STAGES, _PROJECTIONS = 16, 10 * (16 + 32 + 64), 32 + 64
BIASES = _STEM + _STAGES + _PROJECTIONS
BIAS_MISTAKES = {
    _STEM + _STAGES: "That forgets the two projections: 1x1 convolutions with biases of their own.",
    _STAGES + _PROJECTIONS: "That forgets the first convolution, the stem.",
    _STAGES: "That forgets the stem and the two projections.",
    BIASES + 10: "That counts the biases of the dense layer, too. It is no convolution; no batch "
    "normalisation follows it, and it needs them.",
    BIASES + 16: "That counts a projection in stage 1, too. The stem already puts out 16 channels.",
    _STEM + _STAGES // 2 + _PROJECTIONS: "That counts one convolution to a block. It has two.",
    31: "That counts convolutions, without projections. Each has one bias for each channel it puts "
    "out.",
    33: "That counts convolutions. Each has one bias for each channel it puts out.",
    2: "That counts the projections only; in this form every convolution has biases.",
    0: "That is so in the forms 'paper' and 'standard'. In 'example' every convolution has biases.",
}


def judge_biases(answer):
    """Judge the conv biases of ResNet-32 in the form "example"."""
    otherwise = (
        "One bias for each channel that a convolution puts out: the stem, ten convolutions in each "
        "of the stages of 16, 32 and 64 channels, two projections."
    )
    judge_number(answer, BIASES, BIAS_MISTAKES, otherwise)


# 03-depth


def judge_depth(function):
    """Judge a function depth -> n where depth = 6n+2, None for any other depth."""
    for depth, n in ((20, 3), (32, 5), (56, 9), (110, 18), (1202, 200), (8, 1)):
        _judge_valid_depth(depth, n, call(function, depth))
    for depth in (2, 18, 21, 29, 54, 57, 1001, 0, -4):
        _judge_invalid_depth(depth, function)
    for depth in range(3, cifar.valid_depths()[-1]):
        if depth not in cifar.valid_depths():
            _judge_invalid_depth(depth, function)


def _judge_valid_depth(depth, n, received):
    found = f"your function returned {described(received)} for depth {depth}"
    if received is True:
        raise Wrong(f"{found}. That says that the depth is valid; asked for is n.")
    if not is_number(received):
        raise Wrong(f"{found}. Expected: n, a whole number.")
    if received != n:
        meanings = {
            (depth - 2) / 9: "That solves 9n+2, the rule for bottleneck blocks.",
            3 * n: "That counts the blocks of all three stages; n is those of one.",
            2 * n: "That counts the convolutions of a stage; a basic block has two.",
            depth / 6: "The +2 of 6n+2 is missing.",
        }
        raise Wrong(f"{found}. {meanings.get(received, 'Put it into 6n+2: what depth comes out?')}")
    if not isinstance(received, numbers.Integral):
        raise Wrong(f"{found}. range() refuses such a count; which division gives an int?")


def _judge_invalid_depth(depth, function):
    try:
        received = guarded(function, depth)
    except Raised as reason:
        raise Wrong(f"{reason} for depth {depth}. Expected: None.") from None
    if received is None:
        return
    found = f"your function returned {described(received)} for depth {depth}"
    if received is False:
        raise Wrong(f"{found}. Expected: None. False counts as 0, a number of blocks.")
    if depth <= 2:
        raise Wrong(f"{found}. Is that a network? It has less than one block in each stage.")
    raise Wrong(
        f"{found}. No n gives 6n+2 = {depth}; expected: None. A division that rounds hides it: a "
        "network of another depth would be built without a word."
    )


EXERCISES = {
    "03-blocks": Exercise(
        judge_blocks,
        level="easy",
        minutes=5,
        hints=(
            "solve 6n+2 = 74 for n. The 6 is three stages of blocks with two convolutions each; "
            "the 2 is the first convolution and the dense layer.",
        ),
        why="n counts the blocks of one stage, and the depth counts the layers with weights on the "
        "main path, so projections do not make a network deeper.",
    ),
    "03-biases": Exercise(
        judge_biases,
        level="medium",
        minutes=8,
        hints=(
            "a convolution has one bias for each channel it outputs. ResNet-32 has n = 5: ten 3x3 "
            "convolutions in each stage. Do not forget what lies outside the blocks' main path.",
        ),
        why="a projection has no batch normalisation in this form; every other one of these biases "
        "is followed by one, which subtracts it again, and is there for nothing.",
    ),
    "03-depth": Exercise(
        judge_depth,
        level="medium",
        minutes=6,
        hints=(
            "divmod(depth - 2, 6) gives a quotient and a remainder. When is the quotient n? Mind "
            "a depth of 2.",
        ),
        why="a builder that rounds a wrong depth builds a network other than its name says; "
        "rl.resnet_v1 raises a ValueError instead.",
    ),
}
