"""A wide and shallow residual network, made to learn small pictures in little time.

Nine of ten of its operations are 3x3 convolutions of 48 and more channels, which keep a processor
busy, where ResNet-20's narrow ones leave it waiting. Its first layer is made for weights that the
data decides: see `whiten` of `resnet_lib.recipes.Recipe`.

Source: the networks of Keller Jordan's airbench (arXiv 2404.00498, section 3.1 and appendix A) with
a shortcut in each stage and ReLU in place of GELU. What came before it: David Page, "How to train
your ResNet", 2018.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, layers

from . import checks
from .blocks import convolution

WIDTHS = (48, 96, 192)
PATCH = 2  # side of the patches that the first convolution takes, in pixels
SHARPNESS = 9  # by which the logits are divided
MOMENTUM, EPSILON = 0.6, 1e-12  # of batch normalisation


def resnet_fast(
    input_shape: tuple[int | None, int | None, int],
    num_classes: int = 10,
    *,
    widths: Sequence[int] = WIDTHS,
    blocks: int = 1,
) -> keras.Model:
    """Build a network of few, wide layers: 2x2 patches, then a stage for each width.

    A stage is a 3x3 convolution, 2x2 max-pooling, BN and ReLU, and then `blocks` residual blocks of
    one convolution each. Convolutions have no biases and start as a partial identity: filter i
    hands channel i on, as far as there are as many (arXiv 2404.00498, section 3.3). BN has no scale
    of its own, and follows its batches closely: momentum 0.6.

    Args:
        input_shape: (height, width, channels); height and width, if not None, large enough to leave
            a pixel: 9 or more for three stages.
        num_classes: classes of the softmax at the end.
        widths: channels of each stage.
        blocks: residual blocks in each stage.

    Returns:
        `keras.Model`, float32 (batch, height, width, channels) -> (batch, num_classes), not
        compiled, named after its widths: `ResNetFast48-96-192`.

    Raises:
        ValueError: for a wrong shape, a class count below 1, widths that are not whole numbers of
            at least 1, or `blocks` below 1.
        TypeError: for a class count that is not an integer.
    """
    widths, blocks = _checked(widths), checks.count("blocks", blocks)
    shape = checks.input_shape(input_shape, 2 ** len(widths) + PATCH - 1)
    inputs = keras.Input(shape, name="images")
    x = patches(inputs)
    for number, width in enumerate(widths, start=1):
        x = stage(x, width, blocks, name=f"stage{number}")
    outputs = scaled_head(x, num_classes)
    name = "ResNetFast" + "-".join(map(str, widths)) + (f"x{blocks}" if blocks > 1 else "")
    model = keras.Model(inputs, outputs, name=name)
    start_as_identity(model)
    return model


def patches(x: KerasTensor) -> KerasTensor:
    """Take each 2x2 patch of the pictures apart into as many channels as whitening makes of it.

    Args:
        x: tensor of shape (batch, height, width, channels).

    Returns:
        Tensor of shape (batch, height - 1, width - 1, 8 * channels).
    """
    filters = 2 * PATCH**2 * x.shape[-1]
    x = convolution(x, filters, PATCH, padding="valid", name="patches_conv")
    return layers.ReLU(name="patches_relu")(x)


def stage(x: KerasTensor, filters: int, blocks: int, *, name: str) -> KerasTensor:
    """Widen, halve, and add what a convolution makes of the result: `blocks` times.

    Args:
        x: tensor of shape (batch, height, width, channels).
        filters: channels of all convolutions.
        blocks: residual blocks.
        name: prefix of the layers' names.

    Returns:
        Tensor of shape (batch, height // 2, width // 2, filters).
    """
    x = convolution(x, filters, name=f"{name}_conv")
    x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    x = _normalized(x, name)
    for number in range(1, blocks + 1):
        block = f"{name}_block{number}"
        y = _normalized(convolution(x, filters, name=f"{block}_conv"), block)
        x = layers.Add(name=f"{block}_add")([x, y])
    return x


def _normalized(x, name):
    norm = layers.BatchNormalization(
        scale=False, momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_bn"
    )
    return layers.ReLU(name=f"{name}_relu")(norm(x))


def scaled_head(x: KerasTensor, num_classes: int) -> KerasTensor:
    """Global max-pooling, logits without biases, divided by 9, and softmax.

    Args:
        x: the last feature map, a tensor of shape (batch, height, width, channels).
        num_classes: classes of the softmax.

    Returns:
        Tensor of shape (batch, num_classes), probabilities in float32 under any policy.
    """
    x = layers.GlobalMaxPooling2D(name="head_pool")(x)
    classes = checks.classes(num_classes)
    x = layers.Dense(classes, use_bias=False, dtype="float32", name="head_dense")(x)
    x = layers.Rescaling(1 / SHARPNESS, dtype="float32", name="head_scale")(x)
    return layers.Softmax(dtype="float32", name="head_softmax")(x)


def start_as_identity(model: keras.Model) -> None:
    """Set the first filters of each 3x3 convolution to hand a channel on; draw the others.

    The others are uniform within 1 / sqrt(inputs of a filter), by Keras' seed.
    """
    for layer in model.layers:
        if not isinstance(layer, layers.Conv2D) or layer.kernel_size != (3, 3):
            continue
        uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        kernel = np.array(keras.ops.convert_to_numpy(uniform(layer.kernel.shape)))
        same = np.arange(min(kernel.shape[2:]))
        kernel[..., same] = 0
        kernel[1, 1, same, same] = 1
        layer.kernel.assign(kernel)


def _checked(widths):
    try:
        found = tuple(checks.count("widths", width) for width in widths)
    except TypeError:
        found = ()
    if not found:
        raise ValueError(
            "Expected `widths` to be a whole number of at least 1 for each stage, such as "
            f"{WIDTHS}. Received: {widths!r}"
        )
    return found
