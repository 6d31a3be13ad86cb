"""Run the reader's block and find out which block it is.

A block is written here as a line of steps, from its input to its output: `conv bn relu conv bn +
relu`. The reader's block gets the weights of such lines; if its output is that of a wrong line, the
misconception is known, however the code is written.

Steps: `conv` and `bn` take the next weights; `+`, `-`, `*` and `mean` combine with the
skip, which is the block's input, or what was there at `=`; `skip-relu` is a ReLU on the skip alone.

At the end: a small trained model and its pictures, for what is done with a model.
"""

import re

import keras
import numpy as np
from keras import layers, ops

from .core import Raised, Wrong, call, described, guarded

SIDE, FILTERS = 12, 4
TOLERANCE = (
    1e-2  # Wider than what another epsilon changes, narrower than what a misconception does.
)
_EPSILON = 1e-3

_COMBINE = {
    "+": lambda y, skip: y + skip,
    "-": lambda y, skip: y - skip,
    "*": lambda y, skip: y * skip,
    "mean": lambda y, skip: (y + skip) / 2,
}


def follow(line, x, **steps):
    """Compute the output of a line of steps.

    Args:
        line: the steps, see above.
        x: float32 array or tensor of shape (batch, height, width, channels).
        **steps: a function for each step of the line that is not defined here.

    Returns:
        numpy array.
    """
    skip = y = ops.convert_to_tensor(x)
    for step in line.split():
        if step == "=":
            skip = y
        elif step == "skip-relu":
            skip = ops.relu(skip)
        elif step in _COMBINE:
            y = _COMBINE[step](y, skip)
        else:
            y = ops.relu(y) if step == "relu" else steps[step](y)
    return ops.convert_to_numpy(y)


def same(output, other):
    """Say whether two outputs are equal but for rounding."""
    return output.shape == other.shape and np.abs(output - other).max() < TOLERANCE


def judge_output(output, right, wrong, otherwise, compute):
    """Judge what a block puts out.

    Args:
        output: numpy array.
        right: the right line of steps.
        wrong: dict, wrong line of steps -> what it means.
        otherwise: what to say of any other output.
        compute: function from a line of steps to its output.

    Raises:
        Wrong: if the output is not that of `right`.
    """
    if same(output, compute(right)):
        return
    raise Wrong(
        next((text for line, text in wrong.items() if same(output, compute(line))), otherwise)
    )


def expect_tensor(value, x):
    """Raise Wrong unless a value is a Keras tensor computed from `x`."""
    if not isinstance(value, keras.KerasTensor):
        raise Wrong(f"your function returned {described(value)}. Expected: a Keras tensor.")
    if value is x:
        raise Wrong("your function returns its input as it came. Is the right variable returned?")


def as_model(function, x, *args, **options):
    """Call the reader's function on the input tensor `x` and make a model of it."""
    y = call(function, x, *args, **options)
    expect_tensor(y, x)
    return guarded(keras.Model, x, y)


# Blocks of two 3x3 convolutions and two batch normalisations


def judge_block(function, right, wrong, otherwise, normalisations):
    """Judge a function (x, filters, name) -> block with two convolutions, input shape kept.

    Args:
        function: the reader's function.
        right: the right line of steps.
        wrong: dict, wrong line of steps -> what it means.
        otherwise: what to say of any other block of the right parts.
        normalisations: where batch normalisation belongs, in words.

    Raises:
        Wrong: if the block is another one.
    """
    model = _block_model(function)
    _judge_shape(tuple(model.output.shape[1:]))
    convolutions, batch_norms = _parts(model, normalisations)
    weights = _weights()
    for layer, values in zip(convolutions + batch_norms, weights, strict=True):
        layer.set_weights(values)
    x = np.random.default_rng(1).normal(size=(2, SIDE, SIDE, FILTERS)).astype("float32")
    output = ops.convert_to_numpy(guarded(model, x, training=False))
    judge_output(output, right, wrong, otherwise, lambda line: follow_block(line, x, weights))
    _judge_names(function)


def follow_block(line, x, weights):
    """Compute the output of a block's line of steps with the weights of `_weights`."""
    kernels, statistics = iter(weights[:2]), iter(weights[2:])
    return follow(
        line,
        x,
        conv=lambda y: ops.conv(y, next(kernels)[0], padding="same", data_format="channels_last"),
        bn=lambda y: _normalise(y, *next(statistics)),
    )


def _normalise(y, gamma, beta, mean, variance):
    return gamma * (y - mean) / np.sqrt(variance + _EPSILON) + beta


def _weights():
    """The weights of two convolutions, then of two batch normalisations, as layers take them."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3, FILTERS, FILTERS)] * 2
    kernels = [[rng.normal(scale=0.2, size=shape).astype("float32")] for shape in shapes]
    signed = rng.normal(size=(2, 3, FILTERS)).astype("float32")
    positive = rng.uniform(0.5, 1.5, size=(2, FILTERS)).astype("float32")
    return kernels + [[*s, p] for s, p in zip(signed, positive, strict=True)]


_STRIDED = "a stride halves height and width. An identity block keeps them."
_UNPADDED = (
    "a 3x3 convolution without padding loses a pixel on each side. Which `padding` keeps height "
    "and width?"
)
_SHAPES = {SIDE // 2: _STRIDED, SIDE // 4: _STRIDED, SIDE - 2: _UNPADDED, SIDE - 4: _UNPADDED}


def _block_model(function):
    x = keras.Input((SIDE, SIDE, FILTERS))
    try:
        return as_model(function, x, FILTERS, name="block")
    except Raised as reason:
        shapes = re.findall(r"(\d+), (\d+), (\d+)[)\]]", str(reason))
        for shape in shapes:
            _judge_shape(tuple(map(int, shape)), f" ({reason})")
        raise


def _judge_shape(shape, after=""):
    """Raise Wrong unless the shape is that of the block's input."""
    expected = (SIDE, SIDE, FILTERS)
    height = shape[0] if len(shape) == 3 else None
    if shape != expected:
        meaning = _SHAPES.get(height, "it must stay, or the input cannot be added as it is.")
        raise Wrong(f"the shape {expected} of the input becomes {shape}: {meaning}{after}")


def _parts(model, normalisations):
    """Return the convolutions and the batch normalisations, or raise Wrong."""
    found = [layer for layer in model.layers if layer.weights]
    convolutions = [layer for layer in found if isinstance(layer, layers.Conv2D)]
    batch_norms = [layer for layer in found if isinstance(layer, layers.BatchNormalization)]
    others = [type(layer).__name__ for layer in found if layer not in convolutions + batch_norms]
    if others:
        raise Wrong(
            f"your block has layers with weights that it does not need: {', '.join(others)}."
        )
    _judge_convolutions(convolutions)
    _judge_batch_norms(batch_norms, normalisations)
    return convolutions, batch_norms


def _judge_convolutions(convolutions):
    sizes = [layer.kernel_size for layer in convolutions]
    if (1, 1) in sizes and len(sizes) == 3:
        raise Wrong(
            "your block has a 1x1 convolution besides its two others: a projection. Where the "
            "shape stays as it is, the shortcut is `x` itself."
        )
    if len(sizes) != 2:
        raise Wrong(
            f"the number of convolution layers in your block is {len(sizes)}. Expected: 2. (A "
            "layer that is called twice is one layer, with one set of weights.)"
        )
    if sizes != [(3, 3), (3, 3)]:
        raise Wrong(f"the kernels are {sizes[0]} and {sizes[1]}. Expected: 3x3, twice.")
    if any(layer.use_bias for layer in convolutions):
        raise Wrong(
            "your convolutions have biases. Batch normalisation has a shift of its own: which "
            "argument of Conv2D leaves the bias out?"
        )
    if any(layer.groups != 1 or layer.dilation_rate != (1, 1) for layer in convolutions):
        raise Wrong("your convolutions have groups or a dilation. Expected: neither.")


def _judge_batch_norms(batch_norms, normalisations):
    if len(batch_norms) != 2:
        raise Wrong(
            f"the number of batch normalisations in your block is {len(batch_norms)}. Expected: "
            f"2, {normalisations}."
        )
    if any(len(layer.weights) != 4 for layer in batch_norms):
        raise Wrong("your batch normalisation lacks its scale or its shift. Expected: both.")


def _judge_names(function):
    """Raise Wrong unless two of the reader's blocks can stand in one model."""

    def two_blocks(x):
        return function(function(x, FILTERS, name="block1"), FILTERS, name="block2")

    try:
        as_model(two_blocks, keras.Input((SIDE, SIDE, FILTERS)))
    except Raised as reason:
        raise Wrong(
            "one block is right, but two do not fit into one model: layers of both have the same "
            f"name. Begin each layer's name with `name`. ({reason})"
        ) from None


# A trained model and its pictures

PICTURE, CLASSES, PICTURES = (8, 12, 3), 7, 8


def trained_model():
    """Return a model as `rl.train` does, but small: takes 0-255, puts out probabilities.

    It is the same at each call, and no call of it in training mode changes it.
    """
    inputs = keras.Input(PICTURE, name="pixels")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(6, 4, strides=4)(x)
    normalise = layers.BatchNormalization(momentum=0.0)
    x = layers.Flatten()(layers.ReLU()(normalise(x)))
    x = layers.Dense(CLASSES, activation="softmax")(x)
    model = with_known_weights(keras.Model(inputs, x, name="trained"), seed=894)
    # The moving statistics become those of all pictures, and stay whatever the reader does.
    model(pictures(), training=True)
    normalise.momentum = 1.0
    return model


def pictures():
    """Return pictures of six squares, each around the picture's own colour: uint8 array."""
    rng = np.random.default_rng(1)
    colours = rng.uniform(30, 225, (PICTURES, 1, 1, 3))
    squares = rng.uniform(-60, 60, (PICTURES, 2, 3, 3)).repeat(4, 1).repeat(4, 2)
    return (colours + squares).clip(0, 255).astype("uint8")


def with_known_weights(model, seed):
    """Give every weight of a model a random value, the same in every process; return the model."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
        weight.assign(np.abs(values) + 0.5 if weight.name == "moving_variance" else values)
    return model
