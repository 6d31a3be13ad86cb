"""Residual networks for 32x32 pictures: v1, v2 and, to compare with, plain.

| depth of v1, plain: 6n+2                       | 20 | 32 | 44 | 56 | 110 | 1202 |
| blocks in each of the three stages, n          | 3  | 5  | 7  | 9  | 18  | 200  |
| depth of v2 with bottleneck blocks: 9n+2       | 20 | 29 | 56 | 110 | 164 | 1001 |
| blocks in each of the three stages, n          | 2  | 3  | 6  | 12  | 18  | 111  |

Forms. "example": the code that most people copy, to the last parameter. "paper": the networks of
the two papers. "standard" (v1 and plain): what many reproductions use. `FORMS_V1` and
`FORMS_V2` say what each of them is. Parameters are asserted against `resnet_lib.paper`.
"""

import sys
from dataclasses import dataclass

import keras
from keras import layers

from . import blocks
from .arguments import checked_classes, checked_shape, choose, integer

STAGE_FILTERS = (16, 32, 64)
SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Form:
    """What sets one way of writing a network apart from another.

    Attributes:
        use_bias: whether convolutions have biases although batch normalisation follows.
        l2: coefficient of the L2 regularizer on convolution kernels; None for none.
        shortcut: option A, B or C.
        projection_bn: whether batch normalisation follows a projection (v1).
    """

    use_bias: bool
    l2: float | None
    shortcut: str
    projection_bn: bool

    @property
    def conv(self):
        """The keyword arguments of every convolution."""
        return {"use_bias": self.use_bias, "l2": self.l2}


FORMS_V1 = {
    "example": Form(use_bias=True, l2=1e-4, shortcut="B", projection_bn=False),
    "paper": Form(use_bias=False, l2=None, shortcut="A", projection_bn=True),
    "standard": Form(use_bias=False, l2=None, shortcut="B", projection_bn=True),
}
FORMS_V2 = {
    "example": Form(use_bias=True, l2=1e-4, shortcut="B", projection_bn=False),
    "paper": Form(use_bias=False, l2=None, shortcut="B", projection_bn=False),
}
DEPTHS = {"basic": (6, 8, 1202), "bottleneck": (9, 11, 1001)}


def resnet_v1(input_shape, depth, num_classes=10, *, form="example", shortcut=None):
    """Build a ResNet v1 of 6n+2 layers: three stages of n basic blocks, 16, 32 and 64 channels.

    Args:
        input_shape: (height, width, channels); height and width at least 8, or None.
        depth: layers with weights, not counting projections: 8, 14, 20, … 1202.
        num_classes: classes of the softmax at the end.
        form: "example", "paper" or "standard", see `FORMS_V1`.
        shortcut: "A", "B" or "C" in place of the form's.

    Returns:
        `keras.Model`, float32 (batch, height, width, channels) -> (batch, num_classes), not
        compiled, named `ResNet20v1` and so on.

    Raises:
        ValueError: for a depth that is not 6n+2 (with the nearest that are), a wrong shape, a class
            count below 1, an unknown form or shortcut.
        TypeError: for a depth or class count that is not an integer.

    Source: arXiv 1512.03385, section 4.2.
    """
    form = choose("form", form, FORMS_V1)
    shortcut = form.shortcut if shortcut is None else _choose_shortcut(shortcut)
    return _post_activation(input_shape, depth, num_classes, form, shortcut, "ResNet{}v1")


def plain_net(input_shape, depth, num_classes=10, *, form="example"):
    """Build the plain counterpart of `resnet_v1`: the same layers without any shortcut.

    Args, returns and errors are those of `resnet_v1`; the model is named `Plain20` and so on.

    Source: arXiv 1512.03385, section 4.2.
    """
    form = choose("form", form, FORMS_V1)
    return _post_activation(input_shape, depth, num_classes, form, None, "Plain{}")


def _post_activation(input_shape, depth, num_classes, form, shortcut, name):
    depth, n = blocks_per_stage(depth, "basic")
    inputs = keras.Input(checked_shape(input_shape, SMALLEST_SIDE), name="images")
    num_classes = checked_classes(num_classes)
    x = blocks.convolution(inputs, STAGE_FILTERS[0], name="stem_conv", **form.conv)
    x = blocks.bn_relu(x, name="stem")
    options = dict(shortcut=shortcut, projection_bn=form.projection_bn, **form.conv)
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        x = stack(blocks.basic_block, x, filters, n, stage=stage, **options)
    return with_head(inputs, x, num_classes, depth, name.format(depth))


def stack(block, x, filters, n, *, stage, **options):
    """Put `n` blocks one behind another; the first of stages 2 and 3 halves height and width.

    Args:
        block: `basic_block` or another function of (x, filters, strides, name=…, **options).
        x: tensor of shape (batch, height, width, channels).
        filters: the block's second argument.
        n: number of blocks.
        stage: 1, 2, 3: decides the stride and the names.
        **options: go to each block.

    Returns:
        The last block's output.
    """
    for index in range(1, n + 1):
        strides = strides_of(stage, index)
        x = block(x, filters, strides, name=f"stage{stage}_block{index}", **options)
    return x


def strides_of(stage, index):
    """Stride of a block: 2 for the first block of stages 2 and 3, else 1."""
    return 2 if stage > 1 and index == 1 else 1


def resnet_v2(
    input_shape, depth, num_classes=10, *, form="example", shortcut=None, block="bottleneck"
):
    """Build a pre-activation ResNet: 9n+2 layers of bottleneck blocks, or 6n+2 of basic ones.

    Bottleneck stages put out 64, 128 and 256 channels. Their mid-widths are 16, 64 and 128 in the
    form "example" and 16, 32 and 64 in the form "paper". Basic stages have 16, 32 and 64 channels.
    The paper's 110-layer network is basic; its 164 and 1001-layer networks are bottleneck.

    Args:
        input_shape: (height, width, channels); height and width at least 8, or None.
        depth: layers with weights, not counting projections: 11, 20, 29, … 1001 with bottleneck
            blocks; 8, 14, 20, … 1202 with basic ones.
        num_classes: classes of the softmax at the end.
        form: "example" or "paper", see `FORMS_V2`.
        shortcut: "A", "B" or "C" in place of the form's. The paper form has B with bottleneck
            blocks and A with basic ones, like the network it was compared with.
        block: "bottleneck" or "basic".

    Returns:
        `keras.Model`, float32 (batch, height, width, channels) -> (batch, num_classes), not
        compiled, named `ResNet29v2` and so on.

    Raises:
        ValueError: for a depth that does not fit the block (with the nearest that do), a wrong
            shape, a class count below 1, an unknown form, shortcut or block.
        TypeError: for a depth or class count that is not an integer.

    Source: arXiv 1603.05027, section 5 and appendix.
    """
    spec = choose("form", form, FORMS_V2)
    choose("block", block, DEPTHS)
    if shortcut is None:
        shortcut = "A" if (form, block) == ("paper", "basic") else spec.shortcut
    depth, n = blocks_per_stage(depth, block)
    inputs = keras.Input(checked_shape(input_shape, SMALLEST_SIDE), name="images")
    num_classes = checked_classes(num_classes)
    x = blocks.convolution(inputs, STAGE_FILTERS[0], name="stem_conv", **spec.conv)
    if form == "example":
        x = blocks.bn_relu(x, name="stem")
    options = dict(shortcut=_choose_shortcut(shortcut), **spec.conv)
    for stage in (1, 2, 3):
        x = _preactivation_stack(x, n, stage=stage, form=form, block=block, **options)
    x = blocks.bn_relu(x, name="head")
    return with_head(inputs, x, num_classes, depth, f"ResNet{depth}v2")


def _preactivation_stack(x, n, *, stage, form, block, **options):
    """The blocks of one stage of a v2 network; each form starts its stages in its own way."""
    for index in range(1, n + 1):
        strides = strides_of(stage, index)
        where = {
            "preactivation": _where_to_activate(form, stage, index),
            "name": f"stage{stage}_block{index}",
        }
        if block == "basic":
            filters = STAGE_FILTERS[stage - 1]
            x = blocks.preactivation_basic_block(x, filters, strides, **where, **options)
        else:
            mid, out = BOTTLENECK_FILTERS[form][stage - 1]
            x = blocks.preactivation_bottleneck_block(x, mid, out, strides, **where, **options)
    return x


BOTTLENECK_FILTERS = {
    "example": ((16, 64), (64, 128), (128, 256)),
    "paper": ((16, 64), (32, 128), (64, 256)),
}


def _where_to_activate(form, stage, index):
    """Where the first BN-ReLU of a block stands; only the first block of a stage is special."""
    if index > 1:
        return "branch"
    if form == "paper":
        return "shared"
    return "none" if stage == 1 else "branch"


def with_head(inputs, x, num_classes, depth, name):
    """Put the head on, global average pooling and softmax, and return the `keras.Model`.

    Args:
        inputs: the network's input tensor.
        x: its last feature map, a tensor of shape (batch, height, width, channels).
        num_classes: classes of the softmax.
        depth: layers with weights; see `allow_depth`.
        name: name of the model.
    """
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="head_pool")(x)
    softmax = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer="he_normal",
        dtype="float32",  # A softmax in half precision loses small probabilities.
        name="head_dense",
    )
    allow_depth(depth)
    return keras.Model(inputs, softmax(x), name=name)


def allow_depth(depth):
    """Raise Python's recursion limit, never lower it, to what a network of `depth` layers needs.

    Keras walks through a graph with one Python call inside another for each layer of it, four or
    five for each layer that has weights. It does so when a model is built, cloned and loaded, so
    the limit stays up. To load a saved ResNet-1202 in a new process, call this first.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 5 * depth))


def valid_depths(block="basic"):
    """The depths that exist, as a range: 6n+2 of "basic" blocks, 9n+2 of "bottleneck" blocks."""
    step, smallest, largest = choose("block", block, DEPTHS)
    return range(smallest, largest + 1, step)


def blocks_per_stage(depth, block):
    """Return the depth as an int and n, the blocks in each stage.

    Raises:
        ValueError: if blocks of this kind, "basic" or "bottleneck", do not make up the depth, with
            the nearest that they do.
        TypeError: for a depth that is not an integer.
    """
    depth = integer("depth", depth)
    depths = valid_depths(block)
    if depth not in depths:
        below = [d for d in depths if d < depth][-1:]
        above = [d for d in depths if d > depth][:1]
        nearest = " and ".join(map(str, below + above))
        raise ValueError(
            f"Expected a depth of {depths.step}n+2 from {depths[0]} to {depths[-1]} ({block} "
            f"blocks in three stages). Received: depth={depth}; the nearest valid: {nearest}"
        )
    return depth, depths.index(depth) + 1


def _choose_shortcut(shortcut):
    choose("shortcut", shortcut, dict.fromkeys(blocks.SHORTCUTS))
    return shortcut
