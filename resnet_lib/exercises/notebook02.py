"""The exercises of notebook 02, identity and projection blocks."""

from .. import blocks
from . import blockprobes
from .core import (
    Exercise,
    Wrong,
    described,
    judge_number,
    judge_numbers,
    numbers_meant,
    without_batch,
)

# 02-parameters: a basic block from 32 to 64 channels, no conv bias, projection with BN

_FIRST, _SECOND, _PROJECTION = 3 * 3 * 32 * 64, 3 * 3 * 64 * 64, 1 * 1 * 32 * 64
_EXAMPLE = 14528


def count_parameters(
    first=_FIRST, second=_SECOND, projection=_PROJECTION, norms=3, per_channel=2, biases=0
):
    """Return the block's parameters: of three kernels, of batch normalisations, of biases."""
    kernels = [kernel for kernel in (first, second, projection) if kernel]
    return sum(kernels) + 64 * (norms * per_channel + biases * len(kernels))


PARAMETERS = count_parameters()
_STRIDE = (
    "A kernel has the same weights wherever and however often it is applied: a stride changes the "
    "output's size, not the kernel's."
)
_SQUARE = (
    "Those are two 3x3 kernels of one size. How many channels go into the first, and the second?"
)
PARAMETER_MISTAKES = (
    (
        "forgets the projection",
        "A projection has a kernel and a batch normalisation.",
        {"projection": 0, "norms": 2},
    ),
    ("forgets the kernel of the projection", "It is a convolution, too.", {"projection": 0}),
    (
        "forgets the batch normalisation that follows the projection",
        "Each of the three convolutions has one.",
        {"norms": 2},
    ),
    (
        "forgets batch normalisation",
        "Each has a scale and a shift for each channel.",
        {"norms": 0},
    ),
    (
        "counts one number a channel for each batch normalisation",
        "How many does a batch normalisation learn for a channel?",
        {"per_channel": 1},
    ),
    (
        "counts the moving mean and variance too",
        "They are measured, not trained.",
        {"per_channel": 4},
    ),
    (
        "counts a bias for each channel of each convolution",
        "These convolutions have no biases.",
        {"biases": 1},
    ),
    (
        "counts fewer weights in the first kernel because of the stride",
        _STRIDE,
        {"first": _FIRST // 4},
    ),
    (
        "counts fewer weights in the projection because of the stride",
        _STRIDE,
        {"projection": _PROJECTION // 4},
    ),
    ("takes 64 channels into both 3x3 kernels", _SQUARE, {"first": _SECOND}),
    ("takes 32 channels into both 3x3 kernels", _SQUARE, {"second": _FIRST}),
    (
        "counts the projection as a 3x3 convolution",
        "A projection looks at one pixel.",
        {"projection": _FIRST},
    ),
)
PARAMETER_MEANINGS = {
    **numbers_meant(count_parameters, PARAMETER_MISTAKES),
    _EXAMPLE: "That is the block from 16 to 32 channels, the notebook's example.",
}


def judge_parameters(answer):
    """Judge the trainable parameters of a basic projection block."""
    otherwise = (
        "Count three kernels, side * side * channels in * channels out, then three batch "
        "normalisations. Which of these parts is another in yours?"
    )
    judge_number(answer, PARAMETERS, PARAMETER_MEANINGS, otherwise)


# 02-identity-block

IDENTITY_BLOCK = "conv bn relu conv bn + relu"
_ADDED_LATE = (
    "the skip is added after the last ReLU (or: the branch has a ReLU before the addition). The "
    "branch could then only add to `x`, never take anything away. The ReLU acts on the sum."
)
_NO_INNER_RELU = (
    "there is no ReLU between the two convolutions. With nothing but linear layers between them, "
    "they are one linear layer."
)
_BEGINS_LATE = (
    "the skip begins after the first convolution. It begins at the block's input: keep `x` in a "
    "variable of its own."
)
_NO_LAST_RELU = "there is no ReLU after the addition."
_NO_SKIP = "`x` is not added: this is a plain block, without a skip."
IDENTITY_MISTAKES = {
    "conv bn relu conv bn +": _NO_LAST_RELU,
    "conv bn relu conv bn relu +": _ADDED_LATE,
    "conv bn relu conv bn relu + relu": "there is a ReLU on the branch before the addition, and a "
    "second one after it. Only the sum goes through one.",
    "conv bn relu conv bn relu": _NO_SKIP,
    "conv bn relu conv bn": f"{_NO_SKIP} And the last ReLU is missing.",
    "conv bn conv bn + relu": _NO_INNER_RELU,
    "conv bn conv bn +": f"{_NO_INNER_RELU} Nor is there one after the addition.",
    "conv bn conv bn relu +": f"{_NO_INNER_RELU} And {_ADDED_LATE}",
    "conv relu bn conv bn + relu": "batch normalisation comes after the ReLU. In this block it "
    "follows the convolution, and the ReLU follows it.",
    "conv relu bn conv relu bn +": "batch normalisation comes after the ReLU, twice, and the sum "
    "goes through no ReLU.",
    "conv relu bn conv relu bn + relu": "each convolution is followed by a ReLU at once, and batch "
    "normalisation comes after it. (The argument `activation` of Conv2D does that.)",
    "conv bn relu conv relu bn + relu": "in the second half, batch normalisation comes after a "
    "ReLU. There is none between the second convolution and the addition.",
    "conv bn relu conv + bn relu": "the skip is added before the second batch normalisation, "
    "which then rescales `x`, too. The skip would not be an identity any more.",
    "conv bn relu conv bn + bn relu": "a third batch normalisation acts on the sum, and rescales "
    "`x`, too. The number of batch normalisations is 2: both on the branch.",
    "conv bn relu conv bn + relu bn": "a third batch normalisation comes after the last ReLU, so "
    "that `x` does not leave the block as the skip handed it on. The number of batch "
    "normalisations is 2: both on the branch.",
    "conv bn relu conv bn skip-bn + relu": "the skip has a batch normalisation of its own, so that "
    "it does not hand on `x` itself. The number of batch normalisations is 2: both on the branch.",
    "conv = bn relu conv bn + relu": _BEGINS_LATE,
    "conv bn = relu conv bn + relu": _BEGINS_LATE,
    "conv bn relu = conv bn + relu": _BEGINS_LATE,
    "bn relu conv bn relu conv +": "this is the pre-activation order of notebook 04. Here each "
    "convolution comes first, and the last ReLU after the addition.",
    "bn relu conv bn relu conv + relu": "batch normalisation and ReLU come before each "
    "convolution, as in notebook 04. Here each convolution comes first.",
    "skip-relu conv bn relu conv bn + relu": "the skip goes through a ReLU of its own. It must "
    "hand on `x` itself.",
    "conv bn relu conv bn = + relu": "the branch is added to itself. Has `x` been "
    "overwritten on the way? Keep what came in, in a variable of its own.",
    "conv bn relu conv bn * relu": "the skip is multiplied with the branch. It must be added.",
    "conv bn relu conv bn - relu": "the skip is subtracted. It must be added.",
    "conv bn relu conv bn mean relu": "skip and branch are averaged. Each skip would halve `x`: "
    "add them.",
}
_IDENTITY_UNKNOWN = (
    "the parts are right, but with the same weights the output is not that of the block. Compare "
    "the order, step by step, with: conv - BN - ReLU - conv - BN, + x, ReLU."
)


def judge_identity_block(function):
    """Judge a function (x, filters, name) -> basic identity block without biases."""
    judged = (IDENTITY_BLOCK, IDENTITY_MISTAKES, _IDENTITY_UNKNOWN)
    return blockprobes.judge_block(function, *judged, "one after each convolution")


def identity_block(x, filters, name):
    """Return the output of the library's basic block; it has the shape of `x`."""
    return blocks.basic_block(x, filters, name=name)


# 02-bottleneck-shape: bottleneck_block(filters=128, strides=2) on (32, 32, 256)

_SIDES = {
    32: "That is the size of the input: what does strides=2 do?",
    8: "The stride would act twice. Only one of the three convolutions has it.",
    4: "The stride would act three times. Only one of the three convolutions has it.",
    15: "The convolutions pad: padding 'same' loses no pixels at the edge.",
    14: "The convolutions pad: padding 'same' loses no pixels at the edge.",
    64: "A stride of 2 makes the feature map smaller, not larger.",
}
_CHANNELS = {
    128: "That is the mid-width, what goes through the 3x3 convolution. The last 1x1 widens it.",
    256: "That is what comes in. Where the stride is 2, the shortcut is a projection: the channels "
    "need not stay.",
    1024: "`filters` counts for the mid-width; the expansion applies to it, not to the input.",
}


def judge_bottleneck_shape(answer):
    """Judge the output shape of a bottleneck block."""
    answer = without_batch(answer)
    if isinstance(answer, tuple | list) and tuple(answer) == (512, 16, 16):
        raise Wrong(f"received {described(answer)}. The numbers are right; the channels come last.")
    side = "Height and width depend on the stride alone."
    channels = "The last convolution has `expansion * filters` channels; see its default."
    judge_numbers(
        answer,
        ("height", "width", "channels"),
        (16, 16, 512),
        (_SIDES, _SIDES, _CHANNELS),
        (side, side, channels),
    )


EXERCISES = {
    "02-parameters": Exercise(
        judge_parameters,
        level="easy",
        minutes=5,
        hints=(
            "list the layers first: what stands on the branch, what on the shortcut? Then count "
            "the weights of each.",
            "two 3x3 convolutions and a 1x1 projection, each followed by batch normalisation. A "
            "kernel has side * side * channels in * channels out weights; only two of the three "
            "take 32 channels.",
            "3 * 3 * 32 * 64 for the first kernel, 3 * 3 * 64 * 64 for the second, 1 * 1 * 32 * 64 "
            "for the projection; and two numbers a channel for each of three batch "
            "normalisations. Add them up.",
        ),
        why="nearly all of the block's parameters are in the two 3x3 kernels; a projection costs "
        "little.",
    ),
    "02-identity-block": Exercise(
        judge_identity_block,
        level="medium",
        minutes=10,
        hints=(
            "keep `x` for later and work on `y`. What has to hold so that `x` can be added to it "
            "in the end: which padding, which stride, how many filters?",
            "the order is conv - BN - ReLU - conv - BN, then the addition, then the last ReLU. "
            "Biases: none. All layers are made inside the function, with names of their own.",
            "seven layers, each called on what the one before returned: Conv2D(filters, 3, "
            'padding="same", use_bias=False), BatchNormalization, ReLU, the same Conv2D once more, '
            "BatchNormalization; Add takes the list of `x` and what you have; ReLU, and return it. "
            'Names: f"{name}_conv1", f"{name}_bn1" and so on.',
        ),
        stand_in=identity_block,
        why="this block, stacked, is all that a CIFAR ResNet has between its stem and its head, "
        "but for two projection blocks.",
    ),
    "02-bottleneck-shape": Exercise(
        judge_bottleneck_shape,
        level="easy",
        minutes=3,
        hints=(
            "follow the three convolutions: 1x1, 3x3, 1x1. Which of them changes height and "
            "width, and which the channels?",
            "one of them has the stride of 2; all are padded, so nothing else changes height and "
            "width. The last one has more channels than `filters`.",
            "height and width are halved once. The channels are `expansion` times `filters`, and "
            "`expansion` is 4 where nothing else is said.",
        ),
        why="a bottleneck computes its 3x3 convolution on few channels and hands on four times as "
        "many.",
    ),
}
