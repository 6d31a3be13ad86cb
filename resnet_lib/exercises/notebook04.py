"""The exercises of notebook 04, the pre-activation CIFAR ResNets v2."""

from . import probes
from .core import Exercise, Wrong, described, expect_numbers, judge_number, judge_numbers

# 04-blocks: blocks in each stage of ResNet-218 v2

BLOCKS = {
    36: "That solves 6n+2 = 218, the rule for basic blocks. What is it for bottleneck blocks?",
    72: "That counts the blocks of all three stages, or the convolutions of one.",
    216: "That counts the convolutions of all blocks.",
    218 / 9: "Two of the 218 layers are in no block: take them away first.",
    23: "That leaves out the first block of each stage. It counts like the others.",
}


def judge_blocks(answer):
    """Judge the blocks in each stage of ResNet-218 v2."""
    otherwise = (
        "Two layers are in no block; three stages share the others; a bottleneck has three "
        "convolutions."
    )
    judge_number(answer, 24, BLOCKS, otherwise)


# 04-preactivation

PREACTIVATION_BLOCK = "bn relu conv bn relu conv +"
_POST = (
    "this is the order of v1: convolution first, then batch normalisation and ReLU. "
    "Pre-activation turns each of these groups around."
)
_RELU_AFTER = (
    "a ReLU follows the addition. Then what the skip hands on is cut at zero in each block, and "
    "the path is no identity any more. Nothing comes after the addition."
)
PREACTIVATION_MISTAKES = {
    "conv bn relu conv bn + relu": _POST,
    "conv bn relu conv bn +": f"{_POST} (Leaving out the last ReLU alone is not enough.)",
    "conv bn relu conv bn relu +": _POST,
    "bn relu conv bn relu conv + relu": _RELU_AFTER,
    "bn relu conv bn relu conv relu +": "the branch ends in a ReLU, so it can only add to `x`, "
    "never take anything away. It ends in a convolution.",
    "bn relu conv bn relu conv": "`x` is not added: this block has no skip.",
    "bn relu = conv bn relu conv +": "the skip takes what comes out of the first BN and ReLU. In "
    "an identity block it takes the raw `x`: keep it in a variable of its own.",
    "relu conv bn relu conv bn +": "the ReLU comes before, batch normalisation after each "
    "convolution. Both come before.",
    "relu bn conv relu bn conv +": "each ReLU comes before its batch normalisation. The order is "
    "BN, ReLU, convolution.",
    "bn conv bn conv +": "there is no ReLU in your block.",
    "bn conv bn relu conv +": "there is no ReLU before the first convolution.",
    "bn relu conv bn conv +": "there is no ReLU before the second convolution.",
    "conv bn relu conv + bn relu": "batch normalisation and ReLU come after the addition and "
    "change what the skip hands on. Both belong on the branch.",
    "bn relu conv conv bn relu +": "batch normalisation and ReLU come after the second "
    "convolution. They come before it.",
    "bn relu conv bn relu conv *": "the skip is multiplied with the branch. It must be added.",
    "bn relu conv bn relu conv -": "the skip is subtracted. It must be added.",
}
_PREACTIVATION_UNKNOWN = (
    "the parts are right, but with the same weights the output is not that of the block. Compare "
    "the order, step by step, with: BN - ReLU - conv, twice, + x, nothing more."
)


def judge_preactivation(function):
    """Judge a function (x, filters, name) -> basic pre-activation block, identity shortcut."""
    before = "one before each convolution"
    judged = (PREACTIVATION_BLOCK, PREACTIVATION_MISTAKES, _PREACTIVATION_UNKNOWN)
    probes.judge_block(function, *judged, before)


# 04-mid-widths: of the paper's v2, stage by stage

_WIDTHS = ("stage 1", "stage 2", "stage 3")
_WHOLE = {
    (16, 64, 128): "Those are the widely copied example's, not the paper's: its mid-widths are a "
    "quarter of the output in stage 1 and a half in stages 2 and 3.",
    (64, 128, 256): "Those are the channels that the stages put out. The mid-widths lie inside.",
    (32, 64, 128): "Those are halves of what the stages put out.",
    (16, 16, 16): "Those stay at the stem's 16 channels. Each stage doubles.",
    (64, 64, 64): "Those are equal. Each stage doubles.",
}
_QUARTER = "In each stage the last 1x1 convolution widens the mid-width by a factor of four."


def judge_mid_widths(answer):
    """Judge the mid-widths of the paper's v2."""
    expect_numbers(answer, _WIDTHS)
    if tuple(answer) in _WHOLE:
        raise Wrong(f"received {described(answer)}. {_WHOLE[tuple(answer)]}")
    judge_numbers(answer, _WIDTHS, (16, 32, 64), ({}, {}, {}), (_QUARTER, _QUARTER, _QUARTER))


EXERCISES = {
    "04-blocks": Exercise(
        judge_blocks,
        level="easy",
        minutes=3,
        hints=(
            "the rule is 9n+2: three stages of n blocks with three convolutions each, and two "
            "layers besides.",
        ),
        why="the same depth is another network with another block: 218 layers are 24 bottleneck "
        "blocks a stage, or 36 basic ones.",
    ),
    "04-preactivation": Exercise(
        judge_preactivation,
        level="medium",
        minutes=10,
        hints=(
            "start the branch from `x` with batch normalisation. Write the group BN - ReLU - conv "
            "twice; the addition is the last thing that happens.",
        ),
        why="nothing stands between one addition and the next, so the skips of all blocks of a "
        "stage form one clean path from its first block to its last.",
    ),
    "04-mid-widths": Exercise(
        judge_mid_widths,
        level="medium",
        minutes=4,
        hints=(
            "the stages put out 64, 128 and 256 channels. By what factor does the paper's "
            "bottleneck widen its mid-width?",
        ),
        why="the widely copied example has 16, 64 and 128, and so nearly three times the "
        "parameters at depth 164: its results are not the paper's network.",
    ),
}
