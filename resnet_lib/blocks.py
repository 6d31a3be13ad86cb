"""The parts of a residual network: convolution, shortcuts, the residual blocks, stack and head.

Every function but `shortcut_of` takes a symbolic tensor of shape (batch, height, width, channels)
and returns one; that of `head` has the shape (batch, classes). `name` is the prefix of a block's
layer names: `stage2_block1` gives `stage2_block1_conv1`. A block gets its convolution as `conv`, a
function, and its skip as `shortcut`, a function or an option's letter, so that a network binds
their options once, with `functools.partial`.

Sources: He et al. 2015, arXiv 1512.03385, sections 3.2, 3.3 and 4.1 (blocks, shortcuts A, B, C);
He et al. 2016, arXiv 1603.05027, figure 4(e) and appendix (pre-activation).
"""

from collections.abc import Callable
from functools import partial

from keras import KerasTensor, layers, regularizers

from . import checks

_FORMAT = "channels_last"


def convolution(
    x: KerasTensor,
    filters: int,
    kernel_size: int = 3,
    strides: int = 1,
    *,
    padding: str = "same",
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
        use_bias=use_bias,
        kernel_initializer="he_normal",
        kernel_regularizer=None if l2 is None else regularizers.L2(l2),
        name=name,
    )(x)


def bn_relu(x: KerasTensor, *, name: str, index: int | str = "") -> KerasTensor:
    """Batch normalisation, then ReLU: layers `{name}_bn{index}` and `{name}_relu{index}`."""
    x = layers.BatchNormalization(name=f"{name}_bn{index}")(x)
    return layers.ReLU(name=f"{name}_relu{index}")(x)


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


def shortcut_of(
    option: str | Callable | None, conv: Callable = convolution, *, batch_norm: bool = True
) -> Callable | None:
    """Return the shortcut of an option as a function.

    Args:
        option: "A": identity, zero-padded where the shape changes; "B": identity, a projection
            where the shape changes; "C": always a projection. A function of (x, filters, strides,
            name=…), or None for a plain block, is returned as it is.
        conv: `convolution`, with its options bound, for the projections.
        batch_norm: whether batch normalisation follows a projection.

    Raises:
        ValueError: if `option` is a text but not one of the three.

    Source: arXiv 1512.03385, section 4.1, "Identity vs. Projection Shortcuts".
    """
    if option is None or callable(option):
        return option
    projection = partial(projected, conv=conv, batch_norm=batch_norm)
    always = partial(projection, always=True)
    return checks.choice(
        "shortcut", option, {"A": zero_padded_identity, "B": projection, "C": always}
    )


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


def _preactivate(x, preactivation, name):
    """Return what enters the shortcut and what enters the first convolution."""
    checks.choice("preactivation", preactivation, PREACTIVATIONS)
    if preactivation == "none":
        return x, x
    activated = bn_relu(x, name=name, index=1)
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
