"""The parts of a residual network: convolution, shortcuts, the residual blocks, stack and head.

Every function but `shortcut_of`, `takes` and `bound` takes a symbolic tensor of shape (batch,
height, width, channels) and returns one; that of `head` has the shape (batch, classes). `name` is
the prefix of a block's layer names: `stage2_block1` gives `stage2_block1_conv1`. A block gets its
convolution as `conv`, a function, and its skip as `shortcut`, a function or an option's letter, so
that a network binds their options once, with `functools.partial`.

Sources: He et al. 2015, arXiv 1512.03385, sections 3.2, 3.3 and 4.1 (blocks, shortcuts A, B, C);
He et al. 2016, arXiv 1603.05027, figure 4(e) and appendix (pre-activation). The blocks of the years
since name theirs.
"""

import inspect
from collections.abc import Callable
from functools import partial, wraps
from itertools import cycle
from typing import Any

from keras import KerasTensor, initializers, layers, ops, regularizers

from . import checks

_FORMAT = "channels_last"


def convolution(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 3,
    strides: int = 1,
    *,
    padding: str = "same",
    groups: int = 1,
    use_bias: bool = False,
    l2: float | None = None,
    name: str,
) -> KerasTensor:
    """Convolve with He-normal kernels.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output.
        kernel_size: side of the square kernel, in pixels.
        strides: step in both directions, in pixels.
        padding: "same", or "valid" for none.
        groups: in how many parts, each with its kernels, the channels are convolved.
        use_bias: whether each output channel has a bias.
        l2: coefficient of the L2 kernel regularizer; None for no regularizer.
        name: name of the layer.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters) with
        padding "same".

    Raises:
        TypeError: if `strides` is not an integer.
    """
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=checks.integer("strides", strides),
        padding=padding,
        data_format=_FORMAT,
        groups=groups,
        use_bias=use_bias,
        kernel_initializer="he_normal",
        kernel_regularizer=None if l2 is None else regularizers.L2(l2),
        name=name,
    )(x)


def bn_relu(x: KerasTensor, *, name: str, index: int | str = "") -> KerasTensor:
    """Batch normalisation, then ReLU: layers `{name}_bn{index}` and `{name}_relu{index}`."""
    x = layers.BatchNormalization(name=f"{name}_bn{index}")(x)
    return layers.ReLU(name=f"{name}_relu{index}")(x)


def relu(x: KerasTensor, *, name: str, index: int | str = "") -> KerasTensor:
    """ReLU without batch normalisation: the layer `{name}_relu{index}`."""
    return layers.ReLU(name=f"{name}_relu{index}")(x)


def layer_norm(x: KerasTensor, *, name: str, index: int | str = "") -> KerasTensor:
    """Layer normalisation over the channels of each pixel: the layer `{name}_ln{index}`."""
    return layers.LayerNormalization(epsilon=1e-6, name=f"{name}_ln{index}")(x)


# Shortcuts: functions of (x, filters, strides, name=…), of the block's channels and step.


def zero_padded_identity(
    x: KerasTensor, filters: int, strides: int = 1, *, name: str
) -> KerasTensor:
    """Shortcut A: keep every `strides`-th pixel and append channels of zeros. No parameters.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output, at least the channels of `x`.
        strides: step in both directions, in pixels.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters); `x` itself
        where that is its shape.

    Raises:
        ValueError: if `filters` is less than the channels of `x`.
        TypeError: if `strides` is not an integer.

    Source: arXiv 1512.03385, section 3.3, option (A).
    """
    missing = filters - x.shape[-1]
    if missing < 0:
        raise ValueError(
            "Shortcut A appends channels and cannot remove any. Expected `filters` to be at least "
            f"{x.shape[-1]}, the channels of the input. Received: filters={filters}"
        )
    if checks.integer("strides", strides) > 1:  # A 1x1 average is the pixel itself.
        pick = layers.AveragePooling2D(
            1, strides=strides, data_format=_FORMAT, name=f"{name}_shortcut_subsample"
        )
        x = pick(x)
    if missing:
        # ZeroPadding2D pads the last two axes of a channels-first tensor: here width, channels.
        pad = layers.ZeroPadding2D(
            ((0, 0), (0, missing)), data_format="channels_first", name=f"{name}_shortcut_pad"
        )
        x = pad(x)
    return x


def projected(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    conv: Callable = convolution,
    batch_norm: bool = True,
    always: bool = False,
    name: str,
) -> KerasTensor:
    """Shortcuts B and C: a 1x1 convolution where the shape changes (B), or `always` (C).

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output.
        strides: step in both directions, in pixels.
        conv: `convolution`, with its options bound.
        batch_norm: whether batch normalisation follows the convolution.
        always: whether there is a convolution where the shape stays as well.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters); `x` itself
        where that is its shape, unless `always`.

    Source: arXiv 1512.03385, equation 2 and section 4.1, "Identity vs. Projection Shortcuts".
    """
    same_shape = strides == 1 and filters == x.shape[-1]
    if same_shape and not always:
        return x
    x = conv(x, filters, 1, strides, name=f"{name}_shortcut_conv")
    return layers.BatchNormalization(name=f"{name}_shortcut_bn")(x) if batch_norm else x


def pooled_projection(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    conv: Callable = convolution,
    batch_norm: bool = True,
    name: str,
) -> KerasTensor:
    """Shortcut D, of ResNet-D: where the shape changes, an average pooling and a 1x1 convolution.

    The pooling takes the step, over `strides` x `strides` pixels. So every pixel counts, where the
    1x1 convolution of shortcut B leaves out all but one; parameters and multiply-adds are those
    of B.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output.
        strides: step in both directions, in pixels.
        conv: `convolution`, with its options bound.
        batch_norm: whether batch normalisation follows the convolution.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters); `x` itself
        where that is its shape.

    Raises:
        TypeError: if `strides` is not an integer.

    Source: He et al. 2018, Bag of Tricks, arXiv 1812.01187, figure 2(c).
    """
    if checks.integer("strides", strides) > 1:
        pool = layers.AveragePooling2D(
            strides, padding="same", data_format=_FORMAT, name=f"{name}_shortcut_pool"
        )
        x = pool(x)
    elif filters == x.shape[-1]:
        return x
    x = conv(x, filters, 1, name=f"{name}_shortcut_conv")
    return layers.BatchNormalization(name=f"{name}_shortcut_bn")(x) if batch_norm else x


def shortcut_of(
    option: str | Callable | None, conv: Callable = convolution, *, batch_norm: bool = True
) -> Callable | None:
    """Return the shortcut of an option as a function.

    Args:
        option: "A": identity, zero-padded where the shape changes; "B": identity, a projection
            where the shape changes; "C": always a projection; "D": as B, with an average pooling
            that takes the step. A function of (x, filters, strides, name=…), or None for a plain
            block, is returned as it is.
        conv: `convolution`, with its options bound, for the projections.
        batch_norm: whether batch normalisation follows a projection.

    Raises:
        ValueError: if `option` is a text but not one of the four.

    Source: A, B, C: arXiv 1512.03385, section 4.1, "Identity vs. Projection Shortcuts"; D: the
    shortcut of ResNet-D, arXiv 1812.01187, figure 2(c).
    """
    if option is None or callable(option):
        return option
    projection = partial(projected, conv=conv, batch_norm=batch_norm)
    always = partial(projection, always=True)
    pooled = partial(pooled_projection, conv=conv, batch_norm=batch_norm)
    options = {"A": zero_padded_identity, "B": projection, "C": always, "D": pooled}
    return checks.choice("shortcut", option, options)


# Blocks: functions of (x, filters, strides, name=…); the pre-activated bottleneck has two widths.


def basic_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """Two 3x3 convolutions, the shortcut added before the last ReLU.

    conv - BN - ReLU - conv - BN, + shortcut, ReLU. Where the shape stays as it is, the shortcut is
    `x` itself: an identity block. Where it changes, `shortcut` says how: with B or C it becomes
    a projection block.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C" or a function (see `shortcut_of`), or None for a plain block.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: arXiv 1512.03385, figure 5, left.
    """
    shortcut = shortcut_of(shortcut, conv)
    y = conv(x, filters, 3, strides, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=1)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    if shortcut:
        y = layers.Add(name=f"{name}_add")([shortcut(x, filters, strides, name=name), y])
    return layers.ReLU(name=f"{name}_relu2")(y)


def bottleneck_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    expansion: int = 4,
    stride_at: str = "1x1",
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """1x1, 3x3 and 1x1 convolutions, the shortcut added before the last ReLU.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the first two convolutions, the mid-width.
        strides: step of the block, in pixels.
        expansion: the last convolution has `expansion * filters` channels.
        stride_at: which convolution takes the step: "1x1", the first, as in the paper; "3x3", as
            in the variant called v1.5.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C" or a function (see `shortcut_of`), or None for a plain block.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape
        (batch, ceil(height / strides), ceil(width / strides), expansion * filters).

    Raises:
        ValueError: if `stride_at` is neither "1x1" nor "3x3".

    Source: arXiv 1512.03385, figure 5, right.
    """
    shortcut, out = shortcut_of(shortcut, conv), expansion * filters
    first, second = checks.choice(
        "stride_at", stride_at, {"1x1": (strides, 1), "3x3": (1, strides)}
    )
    y = conv(x, filters, 1, first, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=1)
    y = conv(y, filters, 3, second, name=f"{name}_conv2")
    y = bn_relu(y, name=name, index=2)
    y = conv(y, out, 1, name=f"{name}_conv3")
    y = layers.BatchNormalization(name=f"{name}_bn3")(y)
    if shortcut:
        y = layers.Add(name=f"{name}_add")([shortcut(x, out, strides, name=name), y])
    return layers.ReLU(name=f"{name}_relu3")(y)


PREACTIVATIONS = ("branch", "shared", "none")


def _preactivate(x, preactivation, name, activate=bn_relu):
    """Return what enters the shortcut and what enters the first convolution."""
    checks.choice("preactivation", preactivation, PREACTIVATIONS)
    if preactivation == "none":
        return x, x
    activated = activate(x, name=name, index=1)
    return (activated if preactivation == "shared" else x), activated


def preactivation_basic_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    preactivation: str = "branch",
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """Two 3x3 convolutions, each after BN and ReLU; nothing after the addition.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        preactivation: where the first BN-ReLU stands. "branch": before the convolutions only, the
            shortcut takes the raw `x`; "shared": before both; "none": nowhere, `x` comes
            activated.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C" or a function (see `shortcut_of`), or None for a plain block; a
            projection has no BN.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: arXiv 1603.05027, figure 4(e).
    """
    shortcut = shortcut_of(shortcut, conv, batch_norm=False)
    x, y = _preactivate(x, preactivation, name)
    y = conv(y, filters, 3, strides, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=2)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    if shortcut:
        y = layers.Add(name=f"{name}_add")([shortcut(x, filters, strides, name=name), y])
    return y


def preactivation_bottleneck_block(
    x: KerasTensor,
    filters: int,
    filters_out: int,
    strides: int = 1,
    *,
    preactivation: str = "branch",
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """1x1, 3x3 and 1x1 convolutions, each after BN and ReLU; nothing after the addition.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the first two convolutions, the mid-width.
        filters_out: channels of the last convolution and of the block.
        strides: step of the first convolution and of the shortcut, in pixels.
        preactivation: as in `preactivation_basic_block`.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C" or a function (see `shortcut_of`), or None for a plain block; a
            projection has no BN.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters_out).

    Source: arXiv 1603.05027, figure 4(e) and section 4.2.
    """
    shortcut = shortcut_of(shortcut, conv, batch_norm=False)
    x, y = _preactivate(x, preactivation, name)
    y = conv(y, filters, 1, strides, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=2)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    y = bn_relu(y, name=name, index=3)
    y = conv(y, filters_out, 1, name=f"{name}_conv3")
    if shortcut:
        y = layers.Add(name=f"{name}_add")([shortcut(x, filters_out, strides, name=name), y])
    return y


# Blocks of the years since. Those that follow the first form end in a ReLU, as `basic_block`; those
# that follow the pre-activated one leave the stream alone, as `preactivation_basic_block`.


def resnet_d_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    conv: Callable = convolution,
    projection_bn: bool = True,
    name: str,
) -> KerasTensor:
    """A basic block with the shortcut of ResNet-D, `pooled_projection`.

    Any other block has it as `shortcut="D"`. ResNet-50-D is made of `bottleneck_block` with that
    and `stride_at="3x3"`, behind another stem.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        conv: `convolution`, with its options bound.
        projection_bn: whether batch normalisation follows the shortcut's convolution.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: arXiv 1812.01187, figure 2(c).
    """
    shortcut = shortcut_of("D", conv, batch_norm=projection_bn)
    y = conv(x, filters, 3, strides, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=1)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    y = layers.Add(name=f"{name}_add")([shortcut(x, filters, strides, name=name), y])
    return layers.ReLU(name=f"{name}_relu2")(y)


def squeeze_excitation(x: KerasTensor, *, reduction: int = 16, name: str) -> KerasTensor:
    """Weigh the channels of each picture by what all of its pixels say.

    Global average (squeeze), two dense layers without biases and a sigmoid (excitation); each
    channel is multiplied by its number, from 0 to 1.

    Args:
        x: tensor of shape (batch, height, width, channels).
        reduction: the first dense layer has `channels // reduction` units, at least 1.
        name: prefix of the layers' names.

    Returns:
        Tensor of the shape of `x`.

    Source: Hu et al. 2017, arXiv 1709.01507, section 3 and figure 3.
    """
    channels = x.shape[-1]
    units = max(1, channels // checks.count("reduction", reduction))
    y = layers.GlobalAveragePooling2D(
        data_format=_FORMAT, keepdims=True, name=f"{name}_se_squeeze"
    )(x)
    y = layers.Dense(units, activation="relu", use_bias=False, name=f"{name}_se_dense1")(y)
    y = layers.Dense(channels, activation="sigmoid", use_bias=False, name=f"{name}_se_dense2")(y)
    return layers.Multiply(name=f"{name}_se_scale")([x, y])


def se_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    reduction: int = 16,
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """A basic block with squeeze-and-excitation at the end of its branch.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        reduction: see `squeeze_excitation`.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C", "D" or a function (see `shortcut_of`), or None for a plain block.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: arXiv 1709.01507, figure 3.
    """
    shortcut = shortcut_of(shortcut, conv)
    y = conv(x, filters, 3, strides, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=1)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    y = squeeze_excitation(y, reduction=reduction, name=name)
    if shortcut:
        y = layers.Add(name=f"{name}_add")([shortcut(x, filters, strides, name=name), y])
    return layers.ReLU(name=f"{name}_relu2")(y)


def resnext_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    groups: int = 32,
    width: int = 4,
    expansion: int = 4,
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """A bottleneck block whose 3x3 convolution is made of many narrow ones, side by side.

    With 32 groups of width 4 it has about the parameters and multiply-adds of `bottleneck_block` at
    the same `filters`. Time is another matter: on the CPU, Keras leaves convolutions in groups to
    XLA, which is many times slower there.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: the mid-width that the block would have without groups.
        strides: step of the 3x3 convolution and of the shortcut, in pixels.
        groups: number of groups, the paper's cardinality C.
        width: channels of a group where `filters` is 64, the paper's d; they grow with `filters`.
        expansion: the last convolution has `expansion * filters` channels.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C", "D" or a function (see `shortcut_of`), or None for a plain block.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape
        (batch, ceil(height / strides), ceil(width / strides), expansion * filters).

    Raises:
        ValueError: if a group would have less than one channel.

    Source: Xie et al. 2016, arXiv 1611.05431, figure 3(c) and tables 1 and 2.
    """
    shortcut, out = shortcut_of(shortcut, conv), expansion * filters
    mid = groups * checks.count("width * filters // 64", width * filters // 64)
    y = conv(x, mid, 1, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=1)
    y = conv(y, mid, 3, strides, groups=groups, name=f"{name}_conv2")
    y = bn_relu(y, name=name, index=2)
    y = conv(y, out, 1, name=f"{name}_conv3")
    y = layers.BatchNormalization(name=f"{name}_bn3")(y)
    if shortcut:
        y = layers.Add(name=f"{name}_add")([shortcut(x, out, strides, name=name), y])
    return layers.ReLU(name=f"{name}_relu3")(y)


def stochastic_depth_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    survival: float = 0.5,
    place: tuple[int, int] = (1, 1),
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """A basic block whose branch is left out of some training pictures: these pass by the shortcut.

    Block l of L keeps its branch with probability 1 - l/L (1 - `survival`). A branch that is kept
    in training is divided by that, so that its mean is the branch that inference computes. The
    paper draws once for a batch, this draws for each picture.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        survival: probability of the last block's branch, above 0, at most 1.
        place: number of this block, from 1, and how many there are; see `bound`.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C", "D" or a function (see `shortcut_of`).
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Raises:
        ValueError: if `survival` is out of its range, or `shortcut` is None: nothing would be left.

    Source: Huang et al. 2016, arXiv 1603.09382, section 3 and equation 4.
    """
    checks.number("survival", survival, above=0, most=1)
    number, last = place
    if shortcut is None:
        raise ValueError("Expected a shortcut, by which pictures pass the branch. Received: None")
    shortcut = shortcut_of(shortcut, conv)
    y = conv(x, filters, 3, strides, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=1)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    share = number / last * (1 - survival)
    y = layers.Dropout(share, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
    y = layers.Add(name=f"{name}_add")([shortcut(x, filters, strides, name=name), y])
    return layers.ReLU(name=f"{name}_relu2")(y)


def wide_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    widen: int = 4,
    dropout: float = 0.0,
    preactivation: str = "branch",
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """A pre-activated basic block of `widen` times the channels, with dropout in its middle.

    WRN-28-10 is `resnet_v2(shape, 26, form="paper", shortcut="B", block=partial(wide_block,
    widen=10))`: its name counts convolutions, the three of the shortcuts among them.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels that are widened.
        strides: step of the first convolution and of the shortcut, in pixels.
        widen: the paper's k.
        dropout: share of the values between the convolutions that are set to zero in training.
        preactivation: as in `preactivation_basic_block`.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C", "D" or a function (see `shortcut_of`), or None for a plain block; a
            projection has no BN.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), widen * filters).

    Source: Zagoruyko and Komodakis 2016, arXiv 1605.07146, figure 1(c, d) and table 1.
    """
    shortcut = shortcut_of(shortcut, conv, batch_norm=False)
    filters = checks.count("widen", widen) * filters
    x, y = _preactivate(x, preactivation, name)
    y = conv(y, filters, 3, strides, name=f"{name}_conv1")
    y = bn_relu(y, name=name, index=2)
    if checks.number("dropout", dropout, below=1):
        y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    if shortcut:
        y = layers.Add(name=f"{name}_add")([shortcut(x, filters, strides, name=name), y])
    return y


def scaled(x: KerasTensor, numbers: int = 1, start: float = 0.0, *, name: str) -> KerasTensor:
    """Multiply by one number that is trained, or by one for each channel, and nothing else.

    The numbers are the kernel of a dense layer that takes a 1.

    Args:
        x: tensor of shape (batch, height, width, channels).
        numbers: 1, or the channels of `x`.
        start: their value before training.
        name: prefix of the layers' names.

    Returns:
        Tensor of the shape of `x`.
    """
    one = ops.ones_like(x[:, :1, :1, :1])
    scale = layers.Dense(
        numbers,
        use_bias=False,
        kernel_initializer=initializers.Constant(start),
        name=f"{name}_scale",
    )
    return layers.Multiply(name=f"{name}_scaled")([x, scale(one)])


def skipinit_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    preactivation: str = "branch",
    conv: Callable = convolution,
    shortcut: str | Callable | None = "B",
    name: str,
) -> KerasTensor:
    """A pre-activated basic block without BN: its branch is multiplied by a trained number.

    The number starts at 0, and so the block at its shortcut, as BN makes deep networks do about.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        preactivation: where the first ReLU stands, as in `preactivation_basic_block`.
        conv: `convolution`, with its options bound.
        shortcut: "A", "B", "C", "D" or a function (see `shortcut_of`); a projection has no BN.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Raises:
        ValueError: if `shortcut` is None: the block would return zeros.

    Source: De and Smith 2020, arXiv 2002.10444, section 3, "SkipInit".
    """
    if shortcut is None:
        raise ValueError("Expected a shortcut, for the branch starts at 0. Received: None")
    shortcut = shortcut_of(shortcut, conv, batch_norm=False)
    x, y = _preactivate(x, preactivation, name, relu)
    y = conv(y, filters, 3, strides, name=f"{name}_conv1")
    y = relu(y, name=name, index=2)
    y = conv(y, filters, 3, name=f"{name}_conv2")
    y = scaled(y, name=name)
    return layers.Add(name=f"{name}_add")([shortcut(x, filters, strides, name=name), y])


def _downsampled(x, filters, strides, name):
    """Where the shape changes: layer normalisation, then a convolution as wide as its step."""
    if checks.integer("strides", strides) == 1 and filters == x.shape[-1]:
        return x
    down = layers.Conv2D(
        filters,
        strides,
        strides,
        padding="same",
        data_format=_FORMAT,
        kernel_initializer=_truncated(),
        name=f"{name}_down_conv",
    )
    return down(layer_norm(x, name=f"{name}_down"))


def _truncated():
    return initializers.TruncatedNormal(stddev=0.02)


def convnext_block(
    x: KerasTensor,
    filters: int,
    strides: int = 1,
    *,
    kernel_size: int = 7,
    layer_scale: float = 1e-6,
    name: str,
) -> KerasTensor:
    """ConvNeXt: a 7x7 convolution of each channel, then two dense layers on each pixel.

    Depthwise convolution, layer normalisation, dense layer of 4 `filters`, GELU, dense layer, a
    trained number for each channel; added to `x`. Where the shape changes, the stream itself goes
    through layer normalisation and a convolution first. All with biases; no stochastic depth.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output.
        strides: step of the convolution in front of the block, in pixels.
        kernel_size: side of the depthwise kernels, in pixels.
        layer_scale: the channels' numbers before training.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: Liu et al. 2022, arXiv 2201.03545, section 2.6, figure 4, and appendix A.
    """
    x = _downsampled(x, filters, strides, name)
    y = layers.DepthwiseConv2D(
        kernel_size,
        padding="same",
        data_format=_FORMAT,
        depthwise_initializer=_truncated(),
        name=f"{name}_conv1",
    )(x)
    y = layer_norm(y, name=name)
    dense = partial(layers.Dense, kernel_initializer=_truncated())
    y = dense(4 * filters, activation="gelu", name=f"{name}_dense1")(y)
    y = dense(filters, name=f"{name}_dense2")(y)
    y = scaled(y, filters, layer_scale, name=name)
    return layers.Add(name=f"{name}_add")([x, y])


def transformer_block(
    x: KerasTensor, filters: int, strides: int = 1, *, heads: int = 1, name: str
) -> KerasTensor:
    """A transformer's block on the pixels: attention, then two dense layers, both pre-normalised.

    Layer normalisation, self-attention of all pixels, added to `x`; layer normalisation, dense
    layer of 4 `filters`, GELU, dense layer, added. Nothing else stands on the stream, as in a
    pre-activated block. Where the shape changes, the stream goes through layer normalisation and a
    convolution first, as in `convnext_block`. The block knows no positions but by what stands in
    front of it. It computes a number for each pair of pixels and head: at 32x32 pixels a million.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output.
        strides: step of the convolution in front of the block, in pixels.
        heads: number of heads, of `filters // heads` channels each.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Raises:
        ValueError: if `heads` does not divide `filters`.

    Source: Dosovitskiy et al. 2020, arXiv 2010.11929, section 3.1, equations 2 and 3; Xiong et al.
    2020, arXiv 2002.04745, figure 1(b), for the order.
    """
    if filters % checks.count("heads", heads):
        raise ValueError(f"Expected `heads` to divide {filters} channels. Received: {heads}")
    x = _downsampled(x, filters, strides, name)
    attention = layers.MultiHeadAttention(
        heads, filters // heads, attention_axes=(1, 2), name=f"{name}_attention"
    )
    y = layer_norm(x, name=name, index=1)
    x = layers.Add(name=f"{name}_add1")([x, attention(y, y)])
    y = layer_norm(x, name=name, index=2)
    y = layers.Dense(4 * filters, activation="gelu", name=f"{name}_dense1")(y)
    y = layers.Dense(filters, name=f"{name}_dense2")(y)
    return layers.Add(name=f"{name}_add2")([x, y])


# What a network hands to its blocks


def takes(block: Callable, option: str) -> bool:
    """Say whether a block has an option by this name that is not bound yet."""
    bound = getattr(inspect.unwrap(block), "keywords", {})
    return option in inspect.signature(block).parameters and option not in bound


def bound(block: Callable, blocks: int = 1, **options: Any) -> Callable:
    """Return a block with those options bound that it takes; the others it does in its own way.

    A block that takes `place` is told at each call which block it is of the network's: (1, blocks),
    (2, blocks) and so on, then (1, blocks) again.

    Args:
        block: function of (x, filters, strides, name=…); with `functools.partial`, what is bound
            stays.
        blocks: number of blocks in the network.
        options: such as conv, shortcut and preactivation.

    Returns:
        Function, for `stack`.
    """
    block = partial(block, **{name: each for name, each in options.items() if takes(block, name)})
    return _numbered(block, blocks) if takes(block, "place") else block


def _numbered(block, blocks):
    """Return a block that is told its `place` at each call."""
    places = cycle((number, blocks) for number in range(1, blocks + 1))

    @wraps(block)
    def placed(*args, **options):
        return block(*args, place=next(places), **options)

    signature = inspect.signature(block)
    left = [each for name, each in signature.parameters.items() if name != "place"]
    placed.__signature__ = signature.replace(parameters=left)
    return placed


# Networks of them


def stack(
    x: KerasTensor,
    filters: int | tuple[int, int],
    n: int,
    block: Callable,
    *,
    first: Callable | None = None,
    strides: int = 2,
    name: str,
) -> KerasTensor:
    """Put `n` blocks one behind another: a stage, whose first block takes the step.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of each block; of `preactivation_bottleneck_block`, the mid-width and
            the channels that leave it.
        n: number of blocks.
        block: function of (x, *filters, strides=…, name=…), such as `basic_block`.
        first: the function for the first block; None: `block`.
        strides: step of the first block, in pixels.
        name: prefix of the blocks' names: "stage2" gives `stage2_block1`.

    Returns:
        Tensor: the last block's output.
    """
    widths = filters if isinstance(filters, tuple) else (filters,)
    x = (first or block)(x, *widths, strides=strides, name=f"{name}_block1")
    for number in range(2, n + 1):
        x = block(x, *widths, name=f"{name}_block{number}")
    return x


def head(x: KerasTensor, num_classes: int) -> KerasTensor:
    """The end of a network: global average pooling and softmax.

    Args:
        x: the last feature map, a tensor of shape (batch, height, width, channels).
        num_classes: classes of the softmax.

    Returns:
        Tensor of shape (batch, num_classes), probabilities in float32 under any policy.
    """
    x = layers.GlobalAveragePooling2D(data_format=_FORMAT, name="head_pool")(x)
    softmax = layers.Dense(
        checks.classes(num_classes),
        activation="softmax",
        kernel_initializer="he_normal",
        dtype="float32",  # A softmax in half precision loses small probabilities.
        name="head_dense",
    )
    return softmax(x)
