"""The exercises of notebook 03, the CIFAR ResNets v1."""

import operator

import numpy as np

from .. import cifar
from .core import (
    NOTHING_RETURNED,
    Exercise,
    NotDone,
    Raised,
    Wrong,
    call,
    described,
    is_number,
    judge_number,
    judge_numbers,
    numbers_meant,
)

# 03-blocks: (blocks in each stage, blocks in all, convolutions) of ResNet-74

_N = {
    8: "That solves 9n+2 = 74, the rule for bottleneck blocks. A basic block has two convolutions.",
    24: "That counts convolutions, two to a block. How many blocks are it?",
    36: "That counts the blocks of all three stages.",
    37: "That is 74 / 2. Two of the layers are in no block, and there are three stages.",
    72: "That counts the layers that are in blocks, of all three stages.",
    74 / 6: "Two of the 74 layers are in no block: take them away first.",
    11: "That leaves out the first block of each stage. It counts like the others.",
    9: "That is the n of ResNet-56.",
}
_BLOCKS = {
    12: "That is one stage. There are three.",
    72: "That counts the convolutions in the blocks, two to each.",
    37: "That is 74 / 2. Two of the layers are in no block.",
    24: "That is two stages. There are three.",
    33: "That leaves out the first block of each stage. It counts like the others.",
    38: "That counts the stem and the dense layer as blocks. They are single layers.",
}
_CONVOLUTIONS = {
    72: "That forgets the first convolution, before all blocks, the stem.",
    74: "That counts the dense layer at the end as well: a layer with weights, no convolution.",
    75: "That counts the two projections. The paper's count does not.",
    76: "That counts projections and the dense layer. The paper's count has no projections, and a "
    "dense layer is no convolution.",
    36: "That is one to a block. A basic block has two.",
    37: "That is one to a block, and the stem. A basic block has two.",
    24: "That is one stage only, without the stem.",
    25: "That is the stem and one stage only.",
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

_STAGES = 10 * (16 + 32 + 64)


def count_biases(stem=16, stages=_STAGES, projections=32 + 64, dense=0):
    """Return the conv biases of ResNet-32 from its parts."""
    return stem + stages + projections + dense


BIASES = count_biases()
BIAS_PARTS = [
    ("forgets the stem", "The stem is a convolution, too, the first one.", {"stem": 0}),
    (
        "counts one convolution to a block",
        "A block has two.",
        {"stages": _STAGES // 2},
    ),
    (
        "forgets the two projections",
        "Projections are 1x1 convolutions with biases of their own.",
        {"projections": 0},
    ),
    (
        "counts a projection in stage 1",
        "The stem already outputs the 16 channels of stage 1.",
        {"projections": 16 + 32 + 64},
    ),
    (
        "counts a projection in every block of stages 2 and 3",
        "Only the first block of each changes the shape.",
        {"projections": 5 * (32 + 64)},
    ),
    (
        "counts the biases of the dense layer",
        "The dense layer is no convolution. Nothing behind it takes its biases away.",
        {"dense": 10},
    ),
]
BIAS_MISTAKES = {
    **numbers_meant(count_biases, BIAS_PARTS),
    16 + 6 * (16 + 32 + 64) + 32 + 64: "That is ResNet-20, with n = 3. What is n for a depth of "
    "32?",
    16 + 4 * (16 + 32 + 64) + 32 + 64: "That leaves out one block of each stage. With n = 5 there "
    "are five.",
    3 + (160 + 16 + 9 * 32 + 32 + 9 * 64) + 16 + 32: "That counts the channels that come in. A "
    "bias is added to each channel that a convolution outputs.",
    2 * BIASES: "That is two for each channel, as batch normalisation has: a scale and a shift. A "
    "convolution has one bias for each.",
    31: "That counts convolutions, without projections. Each has one bias for each channel it "
    "outputs.",
    33: "That counts convolutions. Each has one bias for each channel it outputs.",
    2: "That counts the projections only; in this form every convolution has biases.",
    96: "That counts the projections only; in this form every convolution has biases.",
    0: "That is so in the forms 'paper' and 'standard'. In 'example' every convolution has biases.",
}


def judge_biases(answer):
    """Judge the conv biases of ResNet-32 in the form "example"."""
    otherwise = (
        "One bias for each channel that a convolution outputs: the stem, ten convolutions in each "
        "of the stages of 16, 32 and 64 channels, two projections."
    )
    judge_number(answer, BIASES, BIAS_MISTAKES, otherwise)


# 03-depth

_FIRST = (20, 32, 56, 110, 1202, 8)
_NOT_VALID = (2, 18, 21, 29, 54, 57, 1001, 0, -4)
_NINE = "That solves 9n+2, the rule for bottleneck blocks."
_LAYERS = "That counts all layers in blocks. How many blocks of two are it, in three stages?"
_OTHER_COUNTS = (
    (_NINE, lambda depth: (depth - 2) / 9),
    (_NINE, lambda depth: (depth - 2) // 9),
    (
        "That counts the blocks of all three stages; n is those of one.",
        lambda depth: (depth - 2) // 2,
    ),
    (
        "That counts the convolutions of a stage; a basic block has two.",
        lambda depth: (depth - 2) // 3,
    ),
    (_LAYERS, lambda depth: depth - 2),
    ("The +2 of 6n+2 is missing.", lambda depth: depth / 6),
    ("That is one too few. Is the first block of a stage left out?", lambda depth: depth // 6 - 1),
    ("That is one too many. Is the rest of 2 rounded up?", lambda depth: depth // 6 + 1),
)


def blocks_per_stage(depth):
    """Return n where depth = 6n+2 and n is at least 1, else None."""
    n, rest = divmod(depth - 2, 6)
    return n if rest == 0 and n >= 1 else None


def judge_depth(function):
    """Judge a function depth -> n where depth = 6n+2, None for any other depth."""
    _judge_not_empty(function)
    for depth in (*_FIRST, *cifar.valid_depths()):
        _judge_valid_depth(function, depth, (depth - 2) // 6)
    others = [d for d in range(3, cifar.valid_depths()[-1]) if d not in cifar.valid_depths()]
    found = {depth: _n_of(function, depth) for depth in (*_NOT_VALID, *others)}
    _judge_one_value(found)
    for depth, received in found.items():
        _judge_invalid_depth(depth, received)


def _judge_not_empty(function):
    """Raise NotDone if nothing comes back for any depth, as from the stub."""
    if all(_n_of(function, depth) is None for depth in (*_FIRST, 18, 21)):
        raise NotDone(NOTHING_RETURNED)


def _n_of(function, depth):
    """Return what the reader's function returns, None where it returns nothing."""
    expected = "" if depth in cifar.valid_depths() else ". Expected: None"
    try:
        return call(function, depth)
    except NotDone:
        return None
    except Raised as reason:
        raise Wrong(f"{reason} for depth {depth}{expected}.") from None


def _judge_valid_depth(function, depth, n):
    received = _n_of(function, depth)
    found = f"your function returned {described(received)} for depth {depth}"
    if received is None:
        raise Wrong(f"{found}. {depth} is 6 * {n} + 2, with an n of at least 1: there is an n.")
    if received is True:
        raise Wrong(f"{found}. That says that the depth is valid; asked for is n.")
    if isinstance(received, tuple):
        raise Wrong(f"{found}. Expected: one number, n. (divmod returns two, n and the rest.)")
    value = _index_of(received)
    if value is None and not is_number(received):
        raise Wrong(f"{found}. Expected: n, a whole number.")
    if (received if value is None else value) != n:
        raise Wrong(f"{found}. {_meaning_of(function)}")
    if value is None:
        raise Wrong(f"{found}. range() refuses such a count; which division gives an int?")


def _index_of(value):
    """Return a whole number, 0-d array or tensor as an int; None for what range() refuses."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except Exception:  # Whatever a strange value does, it is no whole number.
        return None


def _meaning_of(function):
    """Say what the reader's function computes, if it is one of _OTHER_COUNTS."""
    found = [_n_of(function, depth) for depth in _FIRST]
    counts = ([count(depth) for depth in _FIRST] for _, count in _OTHER_COUNTS)
    texts = (text for (text, _), count in zip(_OTHER_COUNTS, counts, strict=True) if count == found)
    return next(texts, "Put it into 6n+2: what depth comes out?")


def _judge_one_value(found):
    """Raise Wrong if all depths without an n get one value, and that is not None."""
    first, *others = found.values()
    same = first is not None and all(type(each) is type(first) for each in others)
    if first is False or not same or any(repr(each) != repr(first) for each in others):
        return
    raise Wrong(
        f"your function returned {described(first)} for each depth that is not 6n+2, such as 21. "
        "You tell these depths apart, but what reads the result would take that for an n, or for "
        "text. Expected: None."
    )


def _judge_invalid_depth(depth, received):
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
            "of the 74 layers, two are in no block: which ones? The others are in three stages, "
            "and a basic block has two convolutions.",
            "solve 6n+2 = 74 for n. The 6 is three stages of blocks with two convolutions each; "
            "the 2 is the first convolution and the dense layer.",
            "n is 72 divided by 6. Three stages have three times as many blocks. The convolutions "
            "are two to a block and the stem; the dense layer is none.",
        ),
        why="n counts the blocks of one stage, and the depth counts the layers with weights on the "
        "main path, so projections do not make a network deeper.",
    ),
    "03-biases": Exercise(
        judge_biases,
        level="medium",
        minutes=8,
        hints=(
            "a convolution has one bias for each channel it outputs. Which convolutions does "
            "ResNet-32 have? Start with n.",
            "ResNet-32 has n = 5: ten 3x3 convolutions in each stage. Do not forget what lies "
            "outside the blocks' main path.",
            "add up four parts: 16 for the stem; ten times 16 + 32 + 64 for the blocks; 32 and 64 "
            "for the two projections; nothing for the dense layer.",
        ),
        why="a projection has no batch normalisation in this form; every other one of these biases "
        "is followed by one, which subtracts it again, and is there for nothing.",
    ),
    "03-depth": Exercise(
        judge_depth,
        level="medium",
        minutes=6,
        hints=(
            "take 2 away and divide by 6: with which division do you see whether something is "
            "left over?",
            "divmod(depth - 2, 6) gives a quotient and a remainder. When is the quotient n? Mind "
            "a depth of 2.",
            "return the quotient if the remainder is 0 and the quotient at least 1; in all other "
            "cases return None.",
        ),
        why="a builder that rounds a wrong depth builds a network other than its name says; "
        "rl.resnet_v1 raises a ValueError instead.",
        stand_in=blocks_per_stage,
    ),
}
