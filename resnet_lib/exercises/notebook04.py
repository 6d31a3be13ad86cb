"""The exercises of notebook 04, the pre-activation CIFAR ResNets v2."""

from .. import blocks
from . import blockprobes
from .core import (
    Exercise,
    Wrong,
    described,
    expect_numbers,
    judge_number,
    judge_numbers,
    numbers_meant,
)

# 04-blocks: blocks in each stage of ResNet-218 v2


def count_blocks(convolutions=3, outside=2, all_stages=False, layers=False, left_out=0):
    """Return the blocks of a stage, as the parts of the rule have it."""
    blocks_of_a_stage = (218 - outside) / (3 * convolutions) - left_out
    return blocks_of_a_stage * (3 if all_stages else 1) * (convolutions if layers else 1)


BLOCK_MISTAKES = (
    (
        "solves 6n+2 = 218 (the rule for basic blocks)",
        "What is it for bottleneck blocks?",
        {"convolutions": 2},
    ),
    (
        "counts the blocks of all three stages",
        "How many has one?",
        {"all_stages": True},
    ),
    (
        "counts the convolutions of one stage",
        "A bottleneck block has three.",
        {"layers": True},
    ),
    (
        "counts the convolutions of all blocks",
        "How many of them has a block, and how many stages are there?",
        {"all_stages": True, "layers": True},
    ),
    (
        "divides all 218 layers",
        "Two of the 218 layers are in no block: take them away first.",
        {"outside": 0},
    ),
    (
        "leaves out the first block of each stage",
        "It counts like the others.",
        {"left_out": 1},
    ),
)
BLOCKS = numbers_meant(count_blocks, BLOCK_MISTAKES)


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
    "bn relu conv bn relu conv relu": "`x` is not added: this block has no skip. And it ends in a "
    "ReLU, where a convolution should be the last.",
    "bn relu = conv bn relu conv +": "the skip takes what comes out of the first BN and ReLU. That "
    "is the variant for the first block of a stage, with a projection. In an identity block the "
    "skip takes the raw `x`: keep it in a variable of its own.",
    "bn = relu conv bn relu conv +": "the skip takes what comes out of the first batch "
    "normalisation. It takes the raw `x`: keep it in a variable of its own.",
    "bn relu conv = bn relu conv +": "the skip begins after the first convolution. It takes the "
    "raw `x`: keep it in a variable of its own.",
    "skip-relu bn relu conv bn relu conv +": "the skip goes through a ReLU of its own. It must "
    "hand on the raw `x`.",
    "bn relu conv bn relu conv + bn relu": "a third batch normalisation, and a ReLU, follow the "
    "addition. Only the network as a whole ends in them, after its last block; in a block, the "
    "number of batch normalisations is 2.",
    "bn relu conv bn relu conv + bn": "a third batch normalisation follows the addition, and "
    "rescales what the skip hands on. The number of batch normalisations is 2, both on the branch.",
    "skip-bn bn relu conv bn relu conv +": "the skip has a batch normalisation of its own, so that "
    "it does not hand on the raw `x`. The number of batch normalisations is 2: both on the branch.",
    "bn relu conv bn relu conv bn +": "the branch ends in a third batch normalisation. That is a "
    "variant (of PyramidNet), but not asked for here: the number of batch normalisations is 2, one "
    "before each convolution.",
    "relu conv bn relu conv bn +": "the ReLU comes before, batch normalisation after each "
    "convolution. Both come before.",
    "bn conv relu bn conv relu +": "each ReLU comes after its convolution. The order is BN, ReLU, "
    "convolution.",
    "bn relu conv relu bn conv +": "in the second half, the ReLU comes before its batch "
    "normalisation. The order is BN, ReLU, convolution, twice.",
    "relu bn conv relu bn conv +": "each ReLU comes before its batch normalisation. The order is "
    "BN, ReLU, convolution.",
    "bn conv bn conv +": "there is no ReLU in your block.",
    "bn conv bn relu conv +": "there is no ReLU before the first convolution.",
    "bn relu conv bn conv +": "there is no ReLU before the second convolution.",
    "conv bn relu conv + bn relu": "batch normalisation and ReLU come after the addition and "
    "change what the skip hands on. Both belong on the branch.",
    "bn relu conv conv bn relu +": "batch normalisation and ReLU come after the second "
    "convolution. They come before it.",
    "bn relu conv bn relu conv = +": "the branch is added to itself. Has `x` been "
    "overwritten on the way? Keep what came in, in a variable of its own.",
    "bn relu conv bn relu conv *": "the skip is multiplied with the branch. It must be added.",
    "bn relu conv bn relu conv -": "the skip is subtracted. It must be added.",
    "bn relu conv bn relu conv mean": "skip and branch are averaged. Each skip would halve `x`: "
    "add them.",
}
_PREACTIVATION_UNKNOWN = (
    "the parts are right, but with the same weights the output is not that of the block. Compare "
    "the order, step by step, with: BN - ReLU - conv, twice, + x, nothing more."
)


def judge_preactivation(function):
    """Judge a function (x, filters, name) -> basic pre-activation block, identity shortcut."""
    judged = (PREACTIVATION_BLOCK, PREACTIVATION_MISTAKES, _PREACTIVATION_UNKNOWN)
    return blockprobes.judge_block(function, *judged, "one before each convolution")


def preactivation_block(x, filters, name):
    """Return the output of the library's pre-activation block; it has the shape of `x`."""
    return blocks.preactivation_basic_block(x, filters, name=name)


# 04-mid-widths: of the paper's v2, stage by stage

_WIDTHS = ("stage 1", "stage 2", "stage 3")
_WHOLE = {
    (16, 64, 128): "Those are the widely copied example's, not the paper's: its mid-widths are a "
    "quarter of the output in stage 1 and a half in stages 2 and 3.",
    (64, 128, 256): "Those are the channels that the stages output. The mid-widths lie inside.",
    (32, 64, 128): "Those are halves of what the stages output.",
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
            "how many convolutions has a bottleneck block, how many stages has the network, and "
            "which layers are in no block?",
            "the rule is 9n+2: three stages of n blocks with three convolutions each, and two "
            "layers besides.",
            "take the two layers away from 218, and divide the rest by 9.",
        ),
        why="the same depth is another network with another block: 218 layers are 24 bottleneck "
        "blocks a stage, or 36 basic ones.",
    ),
    "04-preactivation": Exercise(
        judge_preactivation,
        level="medium",
        minutes=10,
        hints=(
            "take the layers of the v1 block and ask of each convolution: what stands before it? "
            "And which `x` does the skip hand on: before or after that?",
            "start the branch from `x` with batch normalisation. Write the group BN - ReLU - conv "
            "twice; the addition is the last thing that happens.",
            'seven layers: BatchNormalization, ReLU, Conv2D(filters, 3, padding="same", '
            "use_bias=False), the same three once more on what came out, and Add of the raw `x` "
            'and that; return the sum. Names: f"{name}_bn1", f"{name}_conv1" and so on.',
        ),
        stand_in=preactivation_block,
        why="nothing stands between one addition and the next, so the skips of all blocks of a "
        "stage form one clean path from its first block to its last.",
    ),
    "04-mid-widths": Exercise(
        judge_mid_widths,
        level="medium",
        minutes=4,
        hints=(
            "the stages output 64, 128 and 256 channels. By what factor does the paper's "
            "bottleneck widen its mid-width?",
            "the last 1x1 convolution of a bottleneck has four times as many channels as its 3x3 "
            "convolution: the mid-width is a quarter of the output, in each stage.",
            "divide 64, 128 and 256 by four; the answer is a tuple of the three.",
        ),
        why="the widely copied example has 16, 64 and 128, and so nearly three times the "
        "parameters at depth 164: its results are not the paper's network.",
    ),
}
