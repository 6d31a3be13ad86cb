"""The exercises of notebook 03, the CIFAR ResNets v1."""

import operator

import keras
import numpy as np

from .. import blocks, cifar, datasets, recipes, training
from . import builderprobes
from .builderprobes import Plan
from .core import (
    NOTHING_RETURNED,
    Exercise,
    NotDone,
    Raised,
    Wrong,
    call,
    close,
    described,
    expect_number,
    is_number,
    judge_number,
    judge_numbers,
    numbers_meant,
    plain,
)
from .recipeprobes import network_and_recipe, trained_accuracy, work_told

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


# A stage and the whole network; `blocks` in a line of steps stands for all blocks


def stack(x, filters, n, block, strides, name):
    """Return the output of n blocks, one behind another; the first of them has the stride."""
    return blocks.stack(x, filters, n, block, strides=strides, name=name)


def resnet_v1(depth, block):
    """Return the network of depth 6n+2 whose blocks are `block`."""
    n = cifar.blocks_per_stage(depth, "basic")
    inputs = keras.Input((32, 32, 3))
    x = blocks.bn_relu(blocks.convolution(inputs, 16, name="stem_conv"), name="stem")
    for stage, filters in ((1, 16), (2, 32), (3, 64)):
        strides = 1 if stage == 1 else 2
        x = blocks.stack(x, filters, n, block, strides=strides, name=f"stage{stage}")
    return keras.Model(inputs, blocks.head(x, 10), name=f"ResNet{depth}v1")


BUILDER = Plan(
    widths=((16,), (32,), (64,)),
    step=6,
    right="conv bn relu blocks average dense softmax",
    wrong={
        "conv bn blocks average dense softmax": "no ReLU follows the batch normalisation of the "
        "stem.",
        "conv relu bn blocks average dense softmax": "in the stem, batch normalisation comes after "
        "the ReLU. It follows the convolution, and the ReLU follows it.",
        "conv bn relu blocks max dense softmax": "the head takes the largest pixel of each "
        "channel. It takes the mean.",
        "conv bn relu blocks average dense": "the network ends without a softmax: what it returns "
        "are no probabilities.",
        "conv bn relu blocks average dense softmax softmax": "there are two softmaxes, one behind "
        "the other. The second one makes all probabilities nearly equal.",
        "conv bn relu blocks relu average dense softmax": "a ReLU follows the last block. A "
        "block of v1 ends in one already.",
        "conv blocks bn relu average dense softmax": "batch normalisation and ReLU stand before "
        "the head. They follow the stem; the other place is that of version 2, in notebook 4.",
        "conv relu blocks bn average dense softmax": "batch normalisation stands before the head. "
        "It follows the stem.",
        "conv bn relu blocks average dense relu softmax": "a ReLU stands between the dense layer "
        "and the softmax. It hides every class whose score is negative.",
    },
    otherwise="the blocks are right, but with the same weights the output is not that of the "
    "network. Compare, step by step: convolution, BN, ReLU, the blocks, the mean of each channel, "
    "dense, softmax.",
    norms="It stands in the stem, between convolution and ReLU.",
)


def judge_builder(function):
    """Judge a function (depth, block) -> ResNet v1 of that depth."""
    return builderprobes.judge_builder(function, BUILDER)


# 03-fault-stride


def fast_resnet(depth, block):
    """Return the network of depth 6n+2 whose blocks are `block`."""
    return resnet_v1(depth, block)


def _expect_repaired(calls):
    """Raise NotDone if each stage begins with a stride of 2, the first one as well."""
    if [each.strides for each in calls] == [2, 1, 2, 1, 2, 1]:
        raise NotDone(
            "this is still the faulty one: the feature maps of its stages are not 32x32, 16x16 and "
            "8x8. Find the line, and repair it."
        )


def judge_stride(function):
    """Judge the repair of a builder in which stage 1 has a stride as well."""
    return builderprobes.judge_builder(function, BUILDER, _expect_repaired)


# 03-report: the run to ship, and its accuracy

REPORT = {
    "A": {"last": 90.2, "validation": 91.0, "test": 92.4},
    "B": {"last": 91.8, "validation": 91.7, "test": 91.9},
}
_CHOSEN_ON_TEST = (
    "is the highest of 200 test accuracies. It has been chosen because chance was kind to it, as "
    "the guesses above have shown; other pictures will not be."
)


def judge_report(answer):
    """Judge (run to ship, accuracy in per cent that may be promised)."""
    answer = plain(answer)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong(f'received {described(answer)}. Expected: a letter and a number, ("A", 95.0).')
    run, accuracy = answer
    run = run.strip().upper() if isinstance(run, str) else run
    if run not in ("A", "B"):
        raise Wrong(f'received {described(run)}. Expected: the run, "A" or "B", then a number.')
    if run == "A":
        raise Wrong(
            f"A is ahead in one figure only, 92.4 %, and that {_CHOSEN_ON_TEST} Compare the two "
            "figures that the test pictures had no part in choosing."
        )
    expect_number(accuracy)
    if 0 < accuracy <= 1:
        accuracy = 100 * accuracy
    named = {value: (r, kind) for r, row in REPORT.items() for kind, value in row.items()}
    run, kind = next((named[v] for v in named if close(v, accuracy)), (None, None))
    if (run, kind) == ("B", "test"):
        raise Wrong(f"the run is right, but 91.9 % {_CHOSEN_ON_TEST}")
    if run == "A":
        raise Wrong(f"the run is right, but {accuracy:g} % is a figure of the other one.")
    if run is None:
        raise Wrong(f"the run is right, but {accuracy:g} % is none of its three figures.")


# 03-project: a small network and a recipe, trained by the judge

PROJECT_WORK = 300e9
PROJECT_TARGET = 0.80
PROJECT_PICTURES = 8000


def my_network():
    """Return (network, recipe)."""
    inputs = keras.Input((32, 32, 3))
    x = blocks.bn_relu(blocks.convolution(inputs, 16, 3, 2, name="stem_conv"), name="stem")
    for stage, filters in ((1, 16), (2, 32), (3, 64)):
        strides = 1 if stage == 1 else 2
        x = blocks.stack(x, filters, 1, blocks.basic_block, strides=strides, name=f"stage{stage}")
    recipe = recipes.ONE_CYCLE.changed(
        {"epochs": 10, "batch_size": 64, "peak": 0.2, "augment": False, "sizes": ((1, 1),)}
    )
    return keras.Model(inputs, blocks.head(x, 10), name="Small"), recipe


def judge_project(function):
    """Judge a function () -> (network, recipe) by training it on the drawn shapes."""
    model, recipe = network_and_recipe(call(function))
    told = work_told(model, recipe, PROJECT_PICTURES, most=PROJECT_WORK)
    pictures = datasets.shapes(train=PROJECT_PICTURES, validation=100, test=1000, seed=3)
    accuracy = trained_accuracy(training.train, model, recipe, pictures)
    if accuracy < 0.2:
        raise Wrong(
            f"trained, your network is right for {accuracy:.1%} of the test pictures: hardly more "
            "than a guess. Does its loss fall at all? Train it yourself and look at the curve."
        )
    if accuracy < PROJECT_TARGET:
        raise Wrong(
            f"trained, your network is right for {accuracy:.1%} of the test pictures, with {told}. "
            f"Wanted: {PROJECT_TARGET:.0%}. Where does the work go, and does the rate come down?"
        )
    return f"{accuracy:.1%} of the test pictures, with {told}."


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
    "03-stack": Exercise(
        builderprobes.judge_stack,
        level="easy",
        minutes=8,
        hints=(
            "a loop over the numbers 1 to n. What is different for the first block?",
            "in the loop, `x` becomes what `block` returns for `x`, so that the next round goes on "
            "with it. The stride of the first round is `strides`, of all others 1.",
            "for number in range(1, n + 1): x = block(x, filters, strides if number == 1 else 1, "
            'name=f"{name}_block{number}"); after the loop return `x`.',
        ),
        stand_in=stack,
        why="a stage is nothing but its blocks, and only the first of them may change the shape.",
    ),
    "03-builder": Exercise(
        judge_builder,
        level="medium",
        minutes=15,
        hints=(
            "the table at the beginning is the program: a line of the table is a line of code. "
            "Which of them have a stride?",
            "n from the depth; an Input of (32, 32, 3); convolution of 16 channels without bias, "
            "BN, ReLU; three calls of `stack`, of which the first has strides=1; the mean of each "
            "channel, then a dense layer of ten with softmax; a keras.Model of the first and the "
            "last.",
            'x = stack(x, 16, n, block, 1, name="stage1"), then 32 and 64 channels with strides '
            "of 2; layers.GlobalAveragePooling2D()(x); layers.Dense(10, "
            'activation="softmax")(x); at last keras.Model(inputs, outputs).',
        ),
        stand_in=resnet_v1,
        why="whatever depth and whatever block you hand to it, this plan stays: the networks of "
        "the paper's table 6 differ in n alone.",
    ),
    "03-fault-stride": Exercise(
        judge_stride,
        level="medium",
        minutes=8,
        hints=(
            "print `rl.feature_maps` of the faulty network and hold it against the table at the "
            "beginning of the notebook.",
            "the shapes are 16x16, 8x8 and 4x4: each stage halves. Which argument of "
            "`rl.blocks.stack` is not given, and what is its default?",
            "hand strides=1 to the stack of stage 1, and 2 to the two others: "
            "strides=1 if stage == 1 else 2.",
        ),
        stand_in=fast_resnet,
        why="a convolution fits pictures of every size, so a wrong stride raises no error: print "
        "the feature maps of every network that you build.",
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
    "03-report": Exercise(
        judge_report,
        level="medium",
        minutes=6,
        hints=(
            "which of the three figures of a run were chosen by looking at the test pictures?",
            "leave out the highest test accuracy of both runs. Which run is ahead in what is left?",
            "B is ahead. Promise the accuracy of its last epoch, or that of the epoch which was "
            "best on the validation pictures.",
        ),
        why="a maximum over many epochs grows with their number and with their noise, not with "
        "what the network knows.",
    ),
    "03-project": Exercise(
        judge_project,
        level="hard",
        minutes=60,
        hints=(
            "the convolutions of stage 1 cost as much as those of each other stage. How many "
            "pixels must they see? What does a stem with a stride cost, and what does it spare?",
            "half the height and width is a quarter of the work, and four times the epochs. Try "
            "one block a stage first.",
            "a stem with stride 2, one basic block a stage, 16, 32 and 64 channels: some three "
            "million multiply-adds a picture. Take as many epochs as are allowed, with the "
            "one-cycle schedule.",
        ),
        stand_in=my_network,
        seconds=120,
        why="where the work is limited, the size of the picture, the width and the number of "
        "epochs are paid from one purse.",
    ),
}
