"""Residual networks for 32x32 pictures: v1, v2 and, to compare with, plain.

| depth of v1, plain: 6n+2                       | 20 | 32 | 44 | 56 | 110 | 1202 |
| blocks in each of the three stages, n          | 3  | 5  | 7  | 9  | 18  | 200  |
| parameters of v1, form "paper", in millions    | 0.27 | 0.46 | 0.66 | 0.85 | 1.7 | 19.4 |
| depth of v2 with bottleneck blocks: 9n+2       | 20 | 29 | 56 | 110 | 164 | 1001 |
| blocks in each of the three stages, n          | 2  | 3  | 6  | 12  | 18  | 111  |

Forms. "example": the code that most people copy, to the last parameter. "paper": the networks of
the two papers. "standard" (v1 and plain): what many reproductions use. `FORMS_V1` and
`FORMS_V2` say what each of them is. Parameters are asserted against `resnet_lib.paper`.

Blocks. `BLOCKS_V1` and `BLOCKS_V2` name those that may stand in place of the papers' own:
`resnet_v1((32, 32, 3), 20, block="se")`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras

from . import checks
from .blocks import (
    basic_block,
    bn_relu,
    bottleneck_block,
    bound,
    convnext_block,
    convolution,
    head,
    layer_norm,
    preactivation_basic_block,
    preactivation_bottleneck_block,
    relu,
    resnet_d_block,
    resnext_block,
    se_block,
    shortcut_of,
    skipinit_block,
    stack,
    stochastic_depth_block,
    takes,
    transformer_block,
    wide_block,
)
from .runtime import allow_depth

SMALLEST_SIDE = 8  # Two strides leave 2x2 pixels to average.


@dataclass(frozen=True)
class FormV1:
    """What sets one way of writing a v1 or plain network apart from another.

    Attributes:
        use_bias: whether convolutions have biases although batch normalisation follows.
        l2: coefficient of the L2 regularizer on convolution kernels; None for none.
        shortcut: option A, B or C.
        projection_bn: whether batch normalisation follows a projection.
    """

    use_bias: bool = False
    l2: float | None = None
    shortcut: str = "B"
    projection_bn: bool = True


FORMS_V1 = {
    "example": FormV1(use_bias=True, l2=1e-4, projection_bn=False),
    "paper": FormV1(shortcut="A"),
    "standard": FormV1(),
}


@dataclass(frozen=True)
class FormV2:
    """What sets one way of writing a v2 network apart from another.

    Attributes:
        use_bias: whether convolutions have biases although batch normalisation follows.
        l2: coefficient of the L2 regularizer on convolution kernels; None for none.
        mid: mid-widths of the bottleneck blocks of the three stages, in channels.
        first: where the first BN-ReLU of a stage's first block stands: "branch", "shared" or
            "none", see `blocks.preactivation_basic_block`. In all other blocks: "branch".
        stem_activated: whether BN and ReLU follow the first convolution.
        shortcut: option A, B or C for each kind of block.
    """

    use_bias: bool
    l2: float | None
    mid: tuple[int, int, int]
    first: tuple[str, str, str]
    stem_activated: bool
    shortcut: dict[str, str]


FORMS_V2 = {
    "example": FormV2(
        use_bias=True,
        l2=1e-4,
        mid=(16, 64, 128),
        first=("none", "branch", "branch"),
        stem_activated=True,
        shortcut={"bottleneck": "B", "basic": "B"},
    ),
    "paper": FormV2(
        use_bias=False,
        l2=None,
        mid=(16, 32, 64),
        first=("shared", "shared", "shared"),
        stem_activated=False,
        shortcut={"bottleneck": "B", "basic": "A"},
    ),
}
# Kind of block: step, smallest and largest depth.
DEPTHS = {"basic": (6, 8, 1202), "bottleneck": (9, 11, 1001)}

# The blocks that stand in place of the papers' own, by name.
BLOCKS_V1 = {
    "basic": basic_block,
    "bottleneck": bottleneck_block,
    "resnet-d": resnet_d_block,
    "resnext": resnext_block,
    "se": se_block,
    "stochastic-depth": stochastic_depth_block,
}
BLOCKS_V2 = {
    "basic": preactivation_basic_block,
    "bottleneck": preactivation_bottleneck_block,
    "convnext": convnext_block,
    "skipinit": skipinit_block,
    "transformer": transformer_block,
    "wide": wide_block,
}
_OWN = (basic_block, preactivation_basic_block, preactivation_bottleneck_block)  # The papers'.
_OF_THREE = (bottleneck_block, resnext_block)
_UNNORMALIZED, _LAYER_NORMALIZED = (skipinit_block,), (convnext_block, transformer_block)


def resnet_v1(
    input_shape: tuple[int | None, int | None, int],
    depth: int,
    num_classes: int = 10,
    *,
    form: str = "example",
    shortcut: str | None = None,
    block: str | Callable = "basic",
) -> keras.Model:
    """Build a ResNet v1 of 6n+2 layers: three stages of n basic blocks, 16, 32 and 64 channels.

    Args:
        input_shape: (height, width, channels); height and width at least 8, or None.
        depth: layers with weights, not counting projections: 8, 14, 20, … 1202. With another block
            it says how many there are, as if each had two layers; or three, 11, 20, 29, … 1001,
            with "bottleneck" and "resnext".
        num_classes: classes of the softmax at the end.
        form: "example", "paper" or "standard", see `FORMS_V1`.
        shortcut: "A", "B", "C" or "D" in place of the form's.
        block: another block in place of `basic_block`: a name of `BLOCKS_V1`, or a function of
            (x, filters, strides, name=…). What it takes of `conv`, `shortcut`, `projection_bn` and
            `place` it is given; see `blocks.bound`.

    Returns:
        `keras.Model`, float32 (batch, height, width, channels) -> (batch, num_classes), not
        compiled, named `ResNet20v1` and so on; with another block `ResNet20v1-se`.

    Raises:
        ValueError: for a depth that is not 6n+2 (with the nearest that are), a wrong shape, a class
            count below 1, an unknown form, shortcut or block, a block that takes no shortcut.
        TypeError: for a depth or class count that is not an integer.

    Source: arXiv 1512.03385, section 4.2.
    """
    kind = block_of(block, BLOCKS_V1, shortcut)
    n = blocks_per_stage(depth, layers_of(kind))
    form = checks.choice("form", form, FORMS_V1)
    conv = partial(convolution, use_bias=form.use_bias, l2=form.l2)
    skip = shortcut_of(shortcut or form.shortcut, conv, batch_norm=form.projection_bn)
    unit = bound(kind, 3 * n, conv=conv, shortcut=skip, projection_bn=form.projection_bn)
    inputs = keras.Input(checks.input_shape(input_shape, SMALLEST_SIDE), name="images")
    x = bn_relu(conv(inputs, 16, name="stem_conv"), name="stem")
    x = stack(x, 16, n, unit, strides=1, name="stage1")
    x = stack(x, 32, n, unit, name="stage2")
    x = stack(x, 64, n, unit, name="stage3")
    return keras.Model(inputs, head(x, num_classes), name=f"ResNet{depth}v1{suffix(kind)}")


def plain_net(
    input_shape: tuple[int | None, int | None, int],
    depth: int,
    num_classes: int = 10,
    *,
    form: str = "example",
) -> keras.Model:
    """Build the plain counterpart of `resnet_v1`: the same layers without any shortcut.

    Args, returns and errors are those of `resnet_v1`; the model is named `Plain20` and so on.

    Source: arXiv 1512.03385, section 4.2.
    """
    n = blocks_per_stage(depth, "basic")
    form = checks.choice("form", form, FORMS_V1)
    conv = partial(convolution, use_bias=form.use_bias, l2=form.l2)
    block = partial(basic_block, conv=conv, shortcut=None)
    inputs = keras.Input(checks.input_shape(input_shape, SMALLEST_SIDE), name="images")
    x = bn_relu(conv(inputs, 16, name="stem_conv"), name="stem")
    x = stack(x, 16, n, block, strides=1, name="stage1")
    x = stack(x, 32, n, block, name="stage2")
    x = stack(x, 64, n, block, name="stage3")
    return keras.Model(inputs, head(x, num_classes), name=f"Plain{depth}")


def resnet_v2(
    input_shape: tuple[int | None, int | None, int],
    depth: int,
    num_classes: int = 10,
    *,
    form: str = "example",
    shortcut: str | None = None,
    block: str | Callable = "bottleneck",
) -> keras.Model:
    """Build a pre-activation ResNet: 9n+2 layers of bottleneck blocks, or 6n+2 of basic ones.

    Bottleneck stages output 64, 128 and 256 channels. Their mid-widths are 16, 64 and 128 in the
    form "example" and 16, 32 and 64 in the form "paper". Basic stages have 16, 32 and 64 channels.
    The paper's 110-layer network is basic; its 164 and 1001-layer networks are bottleneck.

    Args:
        input_shape: (height, width, channels); height and width at least 8, or None.
        depth: layers with weights, not counting projections: 11, 20, 29, … 1001 with bottleneck
            blocks; 8, 14, 20, … 1202 with basic ones, and with all others, as if each had two.
        num_classes: classes of the softmax at the end.
        form: "example" or "paper", see `FORMS_V2`.
        shortcut: "A", "B", "C" or "D" in place of the form's. The paper form has B with bottleneck
            blocks and A with basic ones, like the network it was compared with.
        block: a name of `BLOCKS_V2`, or a function of (x, filters, strides, name=…); one that takes
            `filters_out` after `filters` counts as a bottleneck block. What it takes of `conv`,
            `shortcut`, `preactivation` and `place` it is given; see `blocks.bound`.

    Returns:
        `keras.Model`, float32 (batch, height, width, channels) -> (batch, num_classes), not
        compiled, named `ResNet29v2` and so on; with blocks of later papers `ResNet20v2-wide`.

    Raises:
        ValueError: for a depth that does not fit the block (with the nearest that do), a wrong
            shape, a class count below 1, an unknown form, shortcut or block, a block that takes no
            shortcut.
        TypeError: for a depth or class count that is not an integer.

    Source: arXiv 1603.05027, section 5 and appendix.
    """
    kind = block_of(block, BLOCKS_V2, shortcut)
    n = blocks_per_stage(depth, layers_of(kind))
    form = checks.choice("form", form, FORMS_V2)
    conv = partial(convolution, use_bias=form.use_bias, l2=form.l2)
    skip = shortcut_of(shortcut or form.shortcut[layers_of(kind)], conv, batch_norm=False)
    widths = (16, 32, 64)
    if takes(kind, "filters_out"):
        widths = (form.mid[0], 64), (form.mid[1], 128), (form.mid[2], 256)
    unit = bound(kind, 3 * n, conv=conv, shortcut=skip)
    first = [bound(unit, preactivation=where) for where in form.first]
    end = end_of(kind)
    inputs = keras.Input(checks.input_shape(input_shape, SMALLEST_SIDE), name="images")
    x = conv(inputs, 16, name="stem_conv")
    if form.stem_activated:
        x = end(x, name="stem")
    x = stack(x, widths[0], n, unit, first=first[0], strides=1, name="stage1")
    x = stack(x, widths[1], n, unit, first=first[1], name="stage2")
    x = stack(x, widths[2], n, unit, first=first[2], name="stage3")
    x = end(x, name="head")
    return keras.Model(inputs, head(x, num_classes), name=f"ResNet{depth}v2{suffix(kind)}")


def block_of(
    block: str | Callable, known: dict[str, Callable], shortcut: str | Callable | None = None
) -> Callable:
    """Return a block as a function.

    Args:
        block: a name, or a function, which is returned as it is.
        known: name -> function, `BLOCKS_V1` or `BLOCKS_V2`.
        shortcut: the shortcut that it should have; None: which does not matter.

    Raises:
        ValueError: for an unknown name, or if the block takes no shortcut and one is asked for.
    """
    if not callable(block):
        block = _named(block, known)
    if shortcut is not None and not takes(block, "shortcut"):
        raise ValueError(
            f"Expected no `shortcut` for a block that takes none. Received: {shortcut!r}"
        )
    return block


def _named(name, known):
    try:
        return checks.choice("block", name, known)
    except ValueError as error:
        for builder, others in (("resnet_v1", BLOCKS_V1), ("resnet_v2", BLOCKS_V2)):
            if name in list(others):
                raise ValueError(f"{error}, a block of {builder}") from None
        raise


def layers_of(kind: Callable) -> str:
    """Say which depths there are with a block: those of "basic" or of "bottleneck" blocks."""
    of_three = getattr(kind, "func", kind) in _OF_THREE or takes(kind, "filters_out")
    return "bottleneck" if of_three else "basic"


def end_of(kind: Callable) -> Callable:
    """Return what stands before the head of v2: what its blocks begin with, for most BN-ReLU."""
    function = getattr(kind, "func", kind)
    if function in _UNNORMALIZED:
        return relu
    return layer_norm if function in _LAYER_NORMALIZED else bn_relu


def suffix(kind: Callable) -> str:
    """Return what a network's name says of its blocks: "" for the papers' own, or as "-se".

    A function goes by its own name, with the options that are bound: "-wide-widen10".
    """
    if kind in _OWN:
        return ""
    function, options = getattr(kind, "func", kind), getattr(kind, "keywords", {})
    known = (*BLOCKS_V1.items(), *BLOCKS_V2.items())
    name = next((name for name, each in known if each is function), _name(function))
    told = [f"{option}{_name(value)}" for option, value in options.items()]
    return re.sub(r"[^\w.-]", "", "-".join(["", name, *told]))


def _name(value):
    return getattr(value, "__name__", type(value).__name__ if callable(value) else str(value))


def valid_depths(block: str = "basic") -> range:
    """The depths that exist, as a range: 6n+2 of "basic" blocks, 9n+2 of "bottleneck" blocks."""
    step, smallest, largest = checks.choice("block", block, DEPTHS)
    return range(smallest, largest + 1, step)


def blocks_per_stage(depth: int, block: str) -> int:
    """Return n, the blocks in each stage of a network of a valid depth.

    Python is then allowed to go as deep as building such a network takes (`runtime.allow_depth`).

    Raises:
        ValueError: if blocks of this kind, "basic" or "bottleneck", do not make up the depth, with
            the nearest that they do.
        TypeError: for a depth that is not an integer.
    """
    depth, depths = checks.integer("depth", depth), valid_depths(block)
    if depth not in depths:
        below = [d for d in depths if d < depth][-1:]
        above = [d for d in depths if d > depth][:1]
        nearest = " and ".join(map(str, below + above))
        raise ValueError(
            f"Expected a depth of {depths.step}n+2 from {depths[0]} to {depths[-1]} ({block} "
            f"blocks in three stages). Received: depth={depth}; the nearest valid: {nearest}"
        )
    allow_depth(depth)
    return depths.index(depth) + 1
