"""The exercises of notebook 02, identity and projection blocks."""

from . import probes
from .core import Exercise, judge_number, judge_numbers

# 02-parameters: a basic block from 32 to 64 channels, no conv bias, projection with BN

_FIRST, _SECOND, _PROJECTION = 3 * 3 * 32 * 64, 3 * 3 * 64 * 64, 1 * 1 * 32 * 64
_KERNELS = _FIRST + _SECOND + _PROJECTION
_SCALE_AND_SHIFT = 2 * 64
_BIASES = 3 * 64
PARAMETERS = _KERNELS + 3 * _SCALE_AND_SHIFT
_MOVING = 3 * _SCALE_AND_SHIFT
_STRIDE = (
    "That counts fewer weights because of the stride. A kernel has the same weights wherever and "
    "however often it is applied: a stride changes the output's size, not the kernel's."
)
_SQUARE = (
    "That has two 3x3 kernels of one size. How many channels go into the first, and the second?"
)
PARAMETER_MISTAKES = {
    _FIRST + _SECOND + 2 * _SCALE_AND_SHIFT: "That forgets the projection: its kernel and its "
    "batch normalisation.",
    _FIRST
    + _SECOND: "That counts the two 3x3 kernels only: no projection, no batch normalisation.",
    PARAMETERS
    - _SCALE_AND_SHIFT: "That forgets the batch normalisation that follows the projection.",
    PARAMETERS - _PROJECTION: "That forgets the kernel of the projection.",
    _KERNELS: "That forgets batch normalisation: each has a scale and a shift for each channel.",
    _KERNELS + 3 * 64: "That counts one number a channel for each batch normalisation. How many "
    "does it learn?",
    PARAMETERS + _MOVING: "That counts the moving mean and variance too. They are measured, not "
    "trained.",
    PARAMETERS + _BIASES: "That counts a bias for each channel of each convolution; these "
    "convolutions have none.",
    PARAMETERS + _MOVING + _BIASES: "That counts biases, which these convolutions do not have, and "
    "the moving statistics, which are not trained.",
    PARAMETERS - _FIRST + _FIRST // 4: _STRIDE,
    PARAMETERS - _FIRST - _PROJECTION + (_FIRST + _PROJECTION) // 4: _STRIDE,
    2 * _SECOND + _PROJECTION + 3 * _SCALE_AND_SHIFT: _SQUARE,
    2 * _FIRST + _PROJECTION + 3 * _SCALE_AND_SHIFT: _SQUARE,
    PARAMETERS - _PROJECTION + _FIRST: "That counts the projection as a 3x3 convolution.",
    14528: "That is the block from 16 to 32 channels, the notebook's example.",
}


def judge_parameters(answer):
    """Judge the trainable parameters of a basic projection block."""
    otherwise = (
        "Count three kernels, side * side * channels in * channels out, then three batch "
        "normalisations. Which of these parts is another in yours?"
    )
    judge_number(answer, PARAMETERS, PARAMETER_MISTAKES, otherwise)


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
    "conv bn relu conv + bn relu": "the skip is added before the second batch normalisation, "
    "which then rescales `x`, too. The skip would not be an identity any more.",
    "conv bn relu = conv bn + relu": "the skip begins after the first convolution. It begins at "
    "the block's input: keep `x` in a variable of its own.",
    "bn relu conv bn relu conv +": "this is the pre-activation order of notebook 04. Here each "
    "convolution comes first, and the last ReLU after the addition.",
    "skip-relu conv bn relu conv bn + relu": "the skip goes through a ReLU of its own. It must "
    "hand on `x` itself.",
    "conv bn relu conv bn * relu": "the skip is multiplied with the branch. It must be added.",
    "conv bn relu conv bn - relu": "the skip is subtracted. It must be added.",
}
_IDENTITY_UNKNOWN = (
    "the parts are right, but with the same weights the output is not that of the block. Compare "
    "the order, step by step, with: conv - BN - ReLU - conv - BN, + x, ReLU."
)


def judge_identity_block(function):
    """Judge a function (x, filters, name) -> basic identity block without biases."""
    after = "one after each convolution"
    probes.judge_block(function, IDENTITY_BLOCK, IDENTITY_MISTAKES, _IDENTITY_UNKNOWN, after)


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
    if isinstance(answer, tuple | list) and len(answer) == 4:
        answer = answer[1:]  # With the batch, as Keras shows it.
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
            "list the layers: two 3x3 convolutions and a 1x1 projection, each followed by batch "
            "normalisation. A kernel has side * side * channels in * channels out weights.",
        ),
        why="nearly all of the block's parameters are in the two 3x3 kernels; a projection costs "
        "little.",
    ),
    "02-identity-block": Exercise(
        judge_identity_block,
        level="medium",
        minutes=10,
        hints=(
            "keep `x` for later and work on `y`. Biases: none. The order is conv - BN - ReLU - "
            "conv - BN, then the addition, then the last ReLU.",
        ),
        why="this block, stacked, is all that a CIFAR ResNet has between its stem and its head, "
        "but for two projection blocks.",
    ),
    "02-bottleneck-shape": Exercise(
        judge_bottleneck_shape,
        level="easy",
        minutes=3,
        hints=(
            "follow the three convolutions: 1x1, 3x3, 1x1. One of them has the stride; the last "
            "one has more channels than `filters`.",
        ),
        why="a bottleneck computes its 3x3 convolution on few channels and hands on four times as "
        "many.",
    ),
}
