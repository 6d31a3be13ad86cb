"""The exercises of notebook 04, the pre-activation CIFAR ResNets v2."""

import keras
import numpy as np
from keras import layers

from .. import blocks, cifar, datasets, inspection
from . import blockprobes, builderprobes, preactivationprobes
from .core import (
    Exercise,
    Wrong,
    call,
    described,
    expect_numbers,
    guarded,
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


# 04-fault-skip: the bottleneck, and 04-first-block: the first one of a stage

_BRANCH = "conv1 bn2 relu conv2 bn3 relu conv3"
_RELU_BEHIND = (
    "a ReLU follows the addition, and cuts the stream at zero in each block. Nothing comes after "
    "the addition."
)
_RELU_ON_BRANCH = (
    "the branch ends in a ReLU, so that it can only add to the stream. It ends in a convolution."
)
_NO_SKIP = "the skip is not added."
_AS_IN_V1 = (
    "each batch normalisation comes after its convolution, as in v1. Pre-activation: BN and ReLU "
    "come before."
)
BOTTLENECK = preactivationprobes.Form(
    channels=8,
    arguments=(4, 8),
    kernels={"conv1": (1, 8, 4, 1), "conv2": (3, 4, 4, 1), "conv3": (1, 4, 8, 1)},
    line=f"bn1 relu {_BRANCH} +",
    planted=f"bn1 relu = {_BRANCH} +",
    wrong={
        f"bn1 = relu {_BRANCH} +": "the skip takes what comes out of the first batch "
        "normalisation. It takes the raw `x`, before anything is done to it.",
        f"bn1 relu {_BRANCH} + relu": _RELU_BEHIND,
        f"bn1 relu = {_BRANCH} + relu": _RELU_BEHIND,
        f"bn1 relu {_BRANCH} relu +": _RELU_ON_BRANCH,
        f"bn1 relu {_BRANCH}": _NO_SKIP,
        "conv1 bn2 relu conv2 bn3 relu conv3 bn1 + relu": _AS_IN_V1,
        "conv1 bn2 relu conv2 bn3 relu conv3 bn1 +": _AS_IN_V1,
        f"bn1 relu {_BRANCH} = +": "the branch is added to itself. Keep `x` in a variable of its "
        "own.",
        f"skip-relu bn1 relu {_BRANCH} +": "the skip goes through a ReLU of its own. It hands on "
        "the raw `x`.",
        f"bn1 {_BRANCH} +": "no ReLU follows the first batch normalisation.",
        f"relu bn1 {_BRANCH} +": "the first ReLU comes before its batch normalisation.",
        f"bn1 relu {_BRANCH} mean": "skip and branch are averaged. They are added.",
    },
)


def judge_skip(function):
    """Judge the repair of a bottleneck (x, filters, filters_out, name) with an activated skip."""
    preactivationprobes.judge_block(function, BOTTLENECK)


def bottleneck(x, filters, filters_out, name):
    """Return the output of a pre-activated bottleneck; it has the shape of `x`."""
    return blocks.preactivation_bottleneck_block(x, filters, filters_out, name=name)


FIRST = preactivationprobes.Form(
    channels=8,
    arguments=(6, 10, 2),
    kernels={
        "conv1": (1, 8, 6, 2),
        "conv2": (3, 6, 6, 1),
        "conv3": (1, 6, 10, 1),
        "shortcut": (1, 8, 10, 2),
    },
    line=f"bn1 relu = {_BRANCH} skip-shortcut +",
    wrong={
        f"bn1 relu {_BRANCH} skip-shortcut +": "the projection takes the raw stream. That is how "
        "the Keras example has it; in the paper, branch and projection both take the stream after "
        "BN and ReLU.",
        f"bn1 = relu {_BRANCH} skip-shortcut +": "the projection takes the stream after BN, "
        "without the ReLU.",
        f"bn1 relu = {_BRANCH} skip-shortcut + relu": _RELU_BEHIND,
        f"bn1 relu = {_BRANCH} relu skip-shortcut +": _RELU_ON_BRANCH,
        f"bn1 relu = {_BRANCH} skip-shortcut skip-relu +": "the projection is followed by a ReLU.",
        f"bn1 = {_BRANCH} skip-shortcut +": "no ReLU follows the first batch normalisation.",
        f"relu bn1 = {_BRANCH} skip-shortcut +": "the first ReLU comes before its batch "
        "normalisation.",
    },
    mistakes=(
        (
            {"conv1": (1, 8, 6, 1), "conv2": (3, 6, 6, 2)},
            "the stride of the branch is on the 3x3 convolution. In this network the first 1x1 "
            "convolution has it.",
        ),
        (
            {"conv1": (1, 8, 6, 1), "conv3": (1, 6, 10, 2)},
            "the stride of the branch is on the last convolution. The first 1x1 convolution has "
            "it.",
        ),
        (
            {"shortcut": (3, 8, 10, 2)},
            "the projection is a 3x3 convolution. It is a 1x1 convolution.",
        ),
    ),
)


def judge_first_block(function):
    """Judge a function (x, filters, filters_out, strides, name) -> first block of a stage."""
    preactivationprobes.judge_block(function, FIRST)


def first_block(x, filters, filters_out, strides, name):
    """Return the output of the first block of a stage."""
    return blocks.preactivation_bottleneck_block(
        x, filters, filters_out, strides, preactivation="shared", name=name
    )


# 04-builder; `blocks` in a line of steps stands for all blocks


def resnet_v2(depth, first, block):
    """Return the network of depth 9n+2; `first` makes the first block of a stage."""
    n = cifar.blocks_per_stage(depth, "bottleneck")
    inputs = keras.Input((32, 32, 3))
    x = blocks.convolution(inputs, 16, name="stem_conv")
    for stage, (mid, out) in enumerate(((16, 64), (32, 128), (64, 256)), start=1):
        x = first(x, mid, out, 1 if stage == 1 else 2, name=f"stage{stage}_block1")
        for number in range(2, n + 1):
            x = block(x, mid, out, name=f"stage{stage}_block{number}")
    x = blocks.bn_relu(x, name="head")
    return keras.Model(inputs, blocks.head(x, 10), name=f"ResNet{depth}v2")


BUILDER = builderprobes.Plan(
    widths=((16, 64), (32, 128), (64, 256)),
    step=9,
    first=True,
    right="conv blocks bn relu average dense softmax",
    wrong={
        "conv bn relu blocks average dense softmax": "batch normalisation and ReLU follow the "
        "stem, as in v1. Here the first block begins with them, and they are needed behind the "
        "last block.",
        "conv blocks bn average dense softmax": "no ReLU follows the batch normalisation before "
        "the head.",
        "conv blocks relu bn average dense softmax": "before the head, batch normalisation comes "
        "after the ReLU.",
        "conv relu blocks bn relu average dense softmax": "a ReLU follows the stem. The first "
        "block begins with BN and ReLU.",
        "conv blocks bn relu max dense softmax": "the head takes the largest pixel of each "
        "channel. It takes the mean.",
        "conv blocks bn relu average dense": "the network ends without a softmax.",
        "conv blocks bn relu average dense softmax softmax": "there are two softmaxes, one behind "
        "the other.",
    },
    otherwise="the blocks are right, but with the same weights the output is not that of the "
    "network. Compare, step by step: convolution, the blocks, BN, ReLU, the mean of each channel, "
    "dense, softmax.",
    norms="It stands behind the last block, with a ReLU: nothing else normalises the stream.",
)


def judge_builder(function):
    """Judge a function (depth, first, block) -> ResNet v2 of that depth."""
    return builderprobes.judge_builder(function, BUILDER)


# 04-project: a v2 network whose gradients are even before training

PROJECT_SPREAD = 5
_LAYERS, _PARAMETERS = 56, 853_018


def even_network():
    """Return a v2 network of 56 layers, basic blocks, with even gradients."""
    network = cifar.resnet_v2((32, 32, 3), 56, form="paper", block="basic")
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D) and "block" in layer.name:
            layer.kernel.assign(0.25 * layer.kernel)
    return network


def judge_project(function):
    """Judge a function () -> v2 network by the gradients of its convolutions before training."""
    model = call(function)
    if not isinstance(model, keras.Model):
        raise Wrong(f"your function returned {described(model)}. Expected: a keras.Model.")
    _judge_network(model)
    found = [_spread(model, seed) for seed in (0, 1)]
    if not np.isfinite(found).all():
        raise Wrong(
            "the kernel of a convolution gets no gradient at all, or none that is a number: it "
            "would not learn in the first step. Which layer starts at zero?"
        )
    if max(found) > PROJECT_SPREAD:
        raise Wrong(
            f"the largest gradient is {max(found):.1f} times the smallest. At most "
            f"{PROJECT_SPREAD} is wanted. What makes the stream grow, and what scales the gradient "
            "of a kernel that has a BN behind it?"
        )
    return f"the largest gradient is {max(found):.1f} times the smallest."


def _judge_network(model):
    if tuple(model.input_shape[1:]) != (32, 32, 3) or tuple(model.output_shape[1:]) != (10,):
        raise Wrong("your network does not go from (32, 32, 3) to ten probabilities.")
    found = [x for x in model._flatten_layers() if isinstance(x, layers.Conv2D)]
    kernels = [x for x in found if x.kernel_size != (1, 1)]
    if len(kernels) != _LAYERS - 1:
        raise Wrong(
            f"your network has {len(kernels)} 3x3 convolutions. ResNet-56 of basic blocks has "
            f"{_LAYERS - 1}."
        )
    count = inspection.count_parameters(model).trainable
    if count != _PARAMETERS:
        raise Wrong(
            f"your network has {count:,} trainable parameters. Expected: {_PARAMETERS:,}, as in "
            "the paper's form."
        )
    if _relu_on_the_stream(model):
        raise Wrong("an addition of your network is followed by a ReLU: that is v1.")


def _relu_on_the_stream(model):
    """Say whether a ReLU takes the output of an addition."""
    sums = {id(x.output) for x in model.layers if isinstance(x, layers.Add)}
    return any(isinstance(x, layers.ReLU) and id(x.input) in sums for x in model.layers)


def _spread(model, seed):
    """Return the largest norm of a convolution's gradient over the smallest."""
    pictures = datasets.shapes(train=32, validation=1, test=1, seed=seed).train
    images = pictures.images.astype("float32") / 255
    images -= images.mean()
    signal = guarded(inspection.gradient_norms, model, images, pictures.labels)
    norms = np.asarray(signal.values[:-1])
    return norms.max() / norms.min() if norms.min() > 0 else np.inf


EXERCISES = {
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
    "04-fault-skip": Exercise(
        judge_skip,
        level="medium",
        minutes=8,
        hints=(
            "what does the skip hand on: what came into the block, or something that was made of "
            "it?",
            "the first line gives the name `x` to something else. What is added in the last line?",
            "call the activated tensor `y` in the first line, and go on with `y`; then `x` is "
            "still what came in.",
        ),
        stand_in=bottleneck,
        why="a name that is used again is all that it takes: such a network trains, and is not the "
        "one of the paper.",
    ),
    "04-first-block": Exercise(
        judge_first_block,
        level="medium",
        minutes=10,
        hints=(
            "take the bottleneck and ask: which two layers take the stride? What does each of the "
            "two paths start from?",
            "BN and ReLU first, and both paths go on from there. The branch is three convolutions, "
            "the first with the stride; the skip is one 1x1 convolution with the stride.",
            "x = bn_relu(x); y = conv(x, filters, 1, strides), then the 3x3 and the last 1x1, each "
            "behind bn_relu; x = conv(x, filters_out, 1, strides); Add of both. Names begin with "
            "`name`.",
        ),
        stand_in=first_block,
        why="only these three blocks of the network touch the stream; in all others nothing does.",
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
    "04-builder": Exercise(
        judge_builder,
        level="hard",
        minutes=15,
        hints=(
            "take your builder of notebook 3. What is different behind the stem, in the first "
            "block of a stage, and before the head?",
            "n is (depth - 2) // 9. The stem is a convolution alone. Each stage is `first`, then "
            "n - 1 times `block`. Behind the last block stand BN and ReLU.",
            "for mid, out in ((16, 64), (32, 128), (64, 256)): x = first(x, mid, out, strides, "
            "name=…), with a stride of 1 in stage 1 and of 2 in the others; then a loop over "
            "range(2, n + 1) with x = block(x, mid, out, name=…).",
        ),
        stand_in=resnet_v2,
        why="with your two blocks this is the paper's network of 164 and of 1001 layers.",
    ),
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
    "04-project": Exercise(
        judge_project,
        level="hard",
        minutes=45,
        hints=(
            "the stream of v2 grows from block to block, and its gradient shrinks. What would keep "
            "the branches from adding so much before training?",
            "a smaller kernel at the end of each branch does. But a kernel that has a BN behind it "
            "gets a larger gradient the smaller it is: try the same factor on both kernels.",
            'build rl.resnet_v2((32, 32, 3), 56, form="paper", block="basic") and multiply the '
            "kernels of all convolutions in blocks by one factor between 0.1 and 0.5: "
            "layer.kernel.assign(factor * layer.kernel).",
        ),
        stand_in=even_network,
        seconds=60,
        why="how even the norms are before training depends on the scale of the kernels; they "
        "alone do not say which network trains better.",
    ),
}
