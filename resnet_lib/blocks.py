"""The parts of a residual network: convolution, shortcuts and the residual blocks.

Every function takes a symbolic tensor of shape (batch, height, width, channels) and returns one.
`name` is the prefix of a block's layer names: `stage2_block1` gives `stage2_block1_conv1`.

Sources: He et al. 2015, arXiv 1512.03385, sections 3.2, 3.3 and 4.1 (blocks, shortcuts A, B, C);
He et al. 2016, arXiv 1603.05027, figure 4(e) and appendix (pre-activation).
"""

from keras import layers, regularizers

SHORTCUTS = ("A", "B", "C")
_FORMAT = "channels_last"


def convolution(
    x, filters, kernel_size=3, strides=1, *, padding="same", use_bias=False, l2=None, name
):
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
    """
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        data_format=_FORMAT,
        use_bias=use_bias,
        kernel_initializer="he_normal",
        kernel_regularizer=None if l2 is None else regularizers.L2(l2),
        name=name,
    )(x)


def bn_relu(x, *, name, index=""):
    """Batch normalisation, then ReLU: layers `{name}_bn{index}` and `{name}_relu{index}`."""
    x = layers.BatchNormalization(name=f"{name}_bn{index}")(x)
    return layers.ReLU(name=f"{name}_relu{index}")(x)


def zero_padded_identity(x, filters, strides=1, *, name):
    """Shortcut A: keep every `strides`-th pixel and append channels of zeros. No parameters.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output, at least the channels of `x`.
        strides: step in both directions, in pixels.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Raises:
        ValueError: if `filters` is less than the channels of `x`.

    Source: arXiv 1512.03385, section 3.3, option (A).
    """
    missing = filters - x.shape[-1]
    if missing < 0:
        raise ValueError(
            "Shortcut A appends channels and cannot remove any: expected `filters` of at least "
            f"{x.shape[-1]}, the channels of the input. Received: filters={filters}"
        )
    if strides > 1:  # A 1x1 average is the pixel itself.
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


def projection(x, filters, strides=1, *, batch_norm=True, name, **conv):
    """Shortcuts B and C: a 1x1 convolution, with batch normalisation unless told otherwise.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the output.
        strides: step in both directions, in pixels.
        batch_norm: whether batch normalisation follows the convolution.
        name: prefix of the layers' names.
        **conv: `use_bias` and `l2` of `convolution`.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: arXiv 1512.03385, equation 2.
    """
    x = convolution(x, filters, 1, strides, name=f"{name}_shortcut_conv", **conv)
    return layers.BatchNormalization(name=f"{name}_shortcut_bn")(x) if batch_norm else x


def shortcut_branch(x, filters, strides=1, *, shortcut="B", projection_bn=True, name, **conv):
    """Choose the shortcut of a block by option A, B or C.

    A: identity, zero-padded where the shape changes. B: identity, a projection where the shape
    changes. C: always a projection.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels that the block puts out.
        strides: step of the block, in pixels.
        shortcut: "A", "B" or "C".
        projection_bn: whether batch normalisation follows a projection.
        name: prefix of the layers' names.
        **conv: `use_bias` and `l2` of `convolution`.

    Returns:
        `x` itself, or a tensor of shape
        (batch, ceil(height / strides), ceil(width / strides), filters).

    Raises:
        ValueError: if `shortcut` is not one of the three.

    Source: arXiv 1512.03385, section 4.1, "Identity vs. Projection Shortcuts".
    """
    if shortcut not in SHORTCUTS:
        raise ValueError(f"Expected shortcut 'A', 'B' or 'C'. Received: shortcut={shortcut!r}")
    if isinstance(strides, bool) or not isinstance(strides, int):
        raise TypeError(f"Expected `strides` to be an integer. Received: {strides!r}")
    same_shape = strides == 1 and x.shape[-1] == filters
    if same_shape and shortcut != "C":
        return x
    if shortcut == "A":
        return zero_padded_identity(x, filters, strides, name=name)
    return projection(x, filters, strides, batch_norm=projection_bn, name=name, **conv)


def add_shortcut(x, y, filters, strides, *, shortcut, name, **options):
    """Add to `y` the shortcut of `x`; with `shortcut=None` return `y` alone (a plain block)."""
    if shortcut is None:
        return y
    x = shortcut_branch(x, filters, strides, shortcut=shortcut, name=name, **options)
    return layers.Add(name=f"{name}_add")([x, y])


def basic_block(x, filters, strides=1, *, shortcut="B", projection_bn=True, name, **conv):
    """Two 3x3 convolutions, the shortcut added before the last ReLU.

    conv - BN - ReLU - conv - BN, + shortcut, ReLU. Where the shape stays as it is, the shortcut is
    `x` itself: an identity block. Where it changes, `shortcut` says how: with B or C it becomes
    a projection block.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        shortcut: "A", "B" or "C" (see `shortcut_branch`), or None for a plain block.
        projection_bn: whether batch normalisation follows a projection.
        name: prefix of the layers' names.
        **conv: `use_bias` and `l2` of `convolution`.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: arXiv 1512.03385, figure 5, left.
    """
    y = convolution(x, filters, 3, strides, name=f"{name}_conv1", **conv)
    y = bn_relu(y, name=name, index=1)
    y = convolution(y, filters, 3, name=f"{name}_conv2", **conv)
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    options = dict(shortcut=shortcut, projection_bn=projection_bn, name=name, **conv)
    y = add_shortcut(x, y, filters, strides, **options)
    return layers.ReLU(name=f"{name}_relu2")(y)


def bottleneck_block(
    x,
    filters,
    strides=1,
    *,
    expansion=4,
    stride_at="1x1",
    shortcut="B",
    projection_bn=True,
    name,
    **conv,
):
    """1x1, 3x3 and 1x1 convolutions, the shortcut added before the last ReLU.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the first two convolutions, the mid-width.
        strides: step of the block, in pixels.
        expansion: the last convolution has `expansion * filters` channels.
        stride_at: which convolution takes the step: "1x1", the first, as in the paper; "3x3", as
            in the variant called v1.5.
        shortcut: "A", "B" or "C" (see `shortcut_branch`), or None for a plain block.
        projection_bn: whether batch normalisation follows a projection.
        name: prefix of the layers' names.
        **conv: `use_bias` and `l2` of `convolution`.

    Returns:
        Tensor of shape
        (batch, ceil(height / strides), ceil(width / strides), expansion * filters).

    Raises:
        ValueError: if `stride_at` is neither "1x1" nor "3x3".

    Source: arXiv 1512.03385, figure 5, right.
    """
    if stride_at not in ("1x1", "3x3"):
        raise ValueError(f"Expected stride_at '1x1' or '3x3'. Received: stride_at={stride_at!r}")
    first, second = (strides, 1) if stride_at == "1x1" else (1, strides)
    y = convolution(x, filters, 1, first, name=f"{name}_conv1", **conv)
    y = bn_relu(y, name=name, index=1)
    y = convolution(y, filters, 3, second, name=f"{name}_conv2", **conv)
    y = bn_relu(y, name=name, index=2)
    y = convolution(y, expansion * filters, 1, name=f"{name}_conv3", **conv)
    y = layers.BatchNormalization(name=f"{name}_bn3")(y)
    options = dict(shortcut=shortcut, projection_bn=projection_bn, name=name, **conv)
    y = add_shortcut(x, y, expansion * filters, strides, **options)
    return layers.ReLU(name=f"{name}_relu3")(y)


PREACTIVATIONS = ("branch", "shared", "none")


def _preactivate(x, preactivation, name):
    """Return what enters the shortcut and what enters the first convolution."""
    if preactivation not in PREACTIVATIONS:
        raise ValueError(
            "Expected preactivation 'branch', 'shared' or 'none'. "
            f"Received: preactivation={preactivation!r}"
        )
    if preactivation == "none":
        return x, x
    activated = bn_relu(x, name=name, index=1)
    return (activated if preactivation == "shared" else x), activated


def preactivation_basic_block(
    x, filters, strides=1, *, preactivation="branch", shortcut="B", name, **conv
):
    """Two 3x3 convolutions, each after BN and ReLU; nothing after the addition.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of both convolutions.
        strides: step of the first convolution and of the shortcut, in pixels.
        preactivation: where the first BN-ReLU stands. "branch": before the convolutions only, the
            shortcut takes the raw `x`; "shared": before both; "none": nowhere, `x` comes
            activated.
        shortcut: "A", "B" or "C" (see `shortcut_branch`); a projection has no BN.
        name: prefix of the layers' names.
        **conv: `use_bias` and `l2` of `convolution`.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters).

    Source: arXiv 1603.05027, figure 4(e).
    """
    x, y = _preactivate(x, preactivation, name)
    y = convolution(y, filters, 3, strides, name=f"{name}_conv1", **conv)
    y = bn_relu(y, name=name, index=2)
    y = convolution(y, filters, 3, name=f"{name}_conv2", **conv)
    options = dict(shortcut=shortcut, projection_bn=False, name=name, **conv)
    return add_shortcut(x, y, filters, strides, **options)


def preactivation_bottleneck_block(
    x, filters, filters_out, strides=1, *, preactivation="branch", shortcut="B", name, **conv
):
    """1x1, 3x3 and 1x1 convolutions, each after BN and ReLU; nothing after the addition.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of the first two convolutions, the mid-width.
        filters_out: channels of the last convolution and of the block.
        strides: step of the first convolution and of the shortcut, in pixels.
        preactivation: as in `preactivation_basic_block`.
        shortcut: "A", "B" or "C" (see `shortcut_branch`); a projection has no BN.
        name: prefix of the layers' names.
        **conv: `use_bias` and `l2` of `convolution`.

    Returns:
        Tensor of shape (batch, ceil(height / strides), ceil(width / strides), filters_out).

    Source: arXiv 1603.05027, figure 4(e) and section 4.2.
    """
    x, y = _preactivate(x, preactivation, name)
    y = convolution(y, filters, 1, strides, name=f"{name}_conv1", **conv)
    y = bn_relu(y, name=name, index=2)
    y = convolution(y, filters, 3, name=f"{name}_conv2", **conv)
    y = bn_relu(y, name=name, index=3)
    y = convolution(y, filters_out, 1, name=f"{name}_conv3", **conv)
    options = dict(shortcut=shortcut, projection_bn=False, name=name, **conv)
    return add_shortcut(x, y, filters_out, strides, **options)
