"""Run what the reader wrote and find out what it computes.

What it computes is written here as a line of steps, from input to output: `conv bn relu conv bn +
relu`. If the reader's output is that of a wrong line, the misconception is known, however the code
is written. What differs in training only is seen in a step of training: it changes the weights
in another way.

Steps: `+`, `-`, `*` and `mean` combine with the skip, which is the input, or what was there at
`=`; `skip-relu` is a ReLU on the skip alone; `cut` lets no gradient pass.

At the end: a small trained model and its pictures, for what is done with a model.
"""

import math
import warnings

import keras
import numpy as np
from keras import layers, ops

from . import watching
from .core import Wrong, call, described, guarded

TOLERANCE = (
    1e-2  # Wider than what another epsilon changes, narrower than what a misconception does.
)

_COMBINE = {
    "+": lambda y, skip: y + skip,
    "-": lambda y, skip: y - skip,
    "*": lambda y, skip: y * skip,
    "mean": lambda y, skip: (y + skip) / 2,
}
ACTIVATIONS = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "leaky-0.01": lambda y: ops.leaky_relu(y, 0.01),
    "leaky-0.1": lambda y: ops.leaky_relu(y, 0.1),
    "leaky-0.2": lambda y: ops.leaky_relu(y, 0.2),
    "leaky-0.3": lambda y: ops.leaky_relu(y, 0.3),
    "elu": ops.elu,
    "gelu": ops.gelu,
    "silu": ops.silu,
    "softplus": ops.softplus,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
}
_BUILT_IN = {**ACTIVATIONS, "cut": ops.stop_gradient}


def follow(line, x, **steps):
    """Compute the output of a line of steps.

    Args:
        line: the steps, see above.
        x: float32 array or tensor of shape (batch, height, width, channels).
        **steps: a function for each step of the line that is not defined here.

    Returns:
        numpy array.
    """
    return ops.convert_to_numpy(drawn(line, ops.convert_to_tensor(x), **steps))


def drawn(line, x, **steps):
    """Return the tensor that a line of steps makes of the tensor `x`, a Keras tensor, too."""
    skip, y, steps = x, x, {**_BUILT_IN, **steps}
    for step in line.split():
        if step == "=":
            skip = y
        elif step.startswith("skip-"):
            skip = steps[step.removeprefix("skip-")](skip)
        elif step in _COMBINE:
            y = _COMBINE[step](y, skip)
        else:
            y = steps[step](y)
    return y


def convolution(kernel, strides=1):
    """Return a step: a padded convolution with a kernel that is known."""
    options = dict(strides=strides, padding="same", data_format="channels_last")
    return lambda y: ops.conv(y, kernel, **options)


def normalisation(values, epsilon, training=False):
    """Return a step: batch normalisation by known (gamma, beta, mean, variance).

    In training, mean and variance are those of what comes in.
    """
    gamma, beta, mean, variance = values

    def normalise(y):
        m, v = mean, variance
        if training:
            m, v = ops.mean(y, axis=(0, 1, 2)), ops.var(y, axis=(0, 1, 2))
        return gamma * (y - m) / ops.sqrt(v + epsilon) + beta

    return normalise


def known_kernel(rng, side, before, after):
    """Draw the weights of a convolution: float32 array."""
    scale = 1.5 / math.sqrt(side**2 * before)
    return rng.normal(scale=scale, size=(side, side, before, after)).astype("float32")


def known_statistics(rng, width):
    """Draw gamma, beta, mean and variance; no gamma near zero hides what it scales."""
    signed = rng.normal(size=(3, width)).astype("float32")
    signed[0] += 0.5 * np.sign(signed[0])
    return [*signed, rng.uniform(0.5, 1.5, width).astype("float32")]


def same(output, other):
    """Say whether two outputs are equal but for rounding."""
    return output.shape == other.shape and np.abs(output - other).max() < TOLERANCE


def judge_output(output, right, wrong, otherwise, compute):
    """Judge an output.

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


_ANOTHER = (
    "another function than ReLU stands where the ReLU belongs. A ReLU sets what is negative to "
    "zero and leaves the rest as it is."
)


def other_activations(line):
    """Return {line: text} of a line with another function in place of its ReLUs, one or all."""
    steps = line.split()
    places = [[i] for i, step in enumerate(steps) if step == "relu"]
    choices = [*places, [i for (i,) in places]]
    found = {}
    for name in [name for name in ACTIVATIONS if name != "relu"]:
        for chosen in choices:
            other = [name if i in chosen else step for i, step in enumerate(steps)]
            found[" ".join(other)] = _ANOTHER
    return found


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


def owners(model):
    """Return the layers that have weights of their own, in inner models and layers as well."""
    found = {}
    for layer in model._flatten_layers(include_self=False):
        inner = layer._flatten_layers(include_self=False)
        theirs = {id(weight) for part in inner for weight in part.weights}
        if any(id(weight) not in theirs for weight in layer.weights):
            found[id(layer)] = layer
    return list(found.values())


# Training: what differs from inference, and where the gradient passes

_STEP = 1.0


def training_output(model, x):
    """Return a model's output in training mode.

    Raises:
        Wrong: if it is another one each time.
    """
    first, second = (ops.convert_to_numpy(guarded(model, x, training=True)) for _ in range(2))
    found = [part for part in model._flatten_layers(include_self=False) if _leaves_to_chance(part)]
    if same(first, second) and not any(part._inbound_nodes for part in found):
        return first
    names = ", ".join(dict.fromkeys(type(part).__name__ for part in found))
    raise Wrong(
        f"in training, the same input gives another output each time{names and f': {names}'}. "
        "This block leaves nothing to chance. Two runs in inference are equal, so that nobody "
        "sees it there."
    )


def _leaves_to_chance(layer):
    name = type(layer).__name__
    amount = getattr(layer, "rate", 0) or getattr(layer, "stddev", 0)
    return ("Dropout" in name or "Noise" in name) and amount != 0


def changes(model, weights=(), steps=1):
    """Train a model between two Dense layers by plain SGD, and return what that changes.

    Args:
        model: keras.Model of one feature map.
        weights: weights of the model.
        steps: how many steps.

    Returns:
        List of arrays: the change of the kernel in front, then of each of `weights`. The layer
        behind the model always learns, so that a model through which no gradient passes is no
        error.
    """
    (x, target), (front, behind) = _examples(model), _dense(model)
    inputs = keras.Input(model.input_shape[1:])
    whole = keras.Model(inputs, behind(guarded(model, front(inputs))))
    for weight in model.weights:
        weight.regularizer = None  # A variant; its gradient is not what is looked at.
    whole.compile(keras.optimizers.SGD(_STEP), "mse", run_eagerly=True, jit_compile=False)
    followed = [front.kernel, *weights]
    before = [np.array(weight.numpy()) for weight in followed]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of weights without gradients: the verdict speaks of them.
        for _ in range(steps):
            guarded(whole.train_on_batch, x, target)
    after = [weight.numpy() for weight in followed]
    return [new - old for old, new in zip(before, after, strict=True)]


def _examples(model):
    rng = np.random.default_rng(5)
    shapes = model.input_shape[1:], model.output_shape[1:]
    return [rng.normal(size=(4, *shape)).astype("float32") for shape in shapes]


def _dense(model):
    """Two layers that change their input a little, with weights the same in every process."""
    rng, found = np.random.default_rng(6), []
    for channels in (model.input_shape[-1], model.output_shape[-1]):
        layer = layers.Dense(channels)
        layer.build((None, channels))
        noise = rng.normal(scale=0.2, size=(channels, channels))
        layer.set_weights([np.eye(channels) + noise, np.zeros(channels)])
        found.append(layer)
    return found


def same_changes(found, expected):
    """Say whether weights change alike: two lists of arrays."""
    return all(
        np.abs(one - other).max() < 0.02 * np.abs(other).max() + 1e-6
        for one, other in zip(found, expected, strict=True)
    )


# A trained model and its pictures

PICTURE, CLASSES, PICTURES = (8, 12, 3), 7, 8


def trained_model():
    """Return a model as `rl.train` does, but small: takes 0-255, returns probabilities.

    It is the same at each call, and no call of it in training mode changes it. Its first layer
    keeps what the model gets, for `watching.seen_by`; so that it does in `predict`, too, the model
    runs eagerly.
    """
    inputs = keras.Input(PICTURE, name="pixels")
    x = watching.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(6, 4, strides=4)(x)
    normalise = layers.BatchNormalization(momentum=0.0)
    x = layers.Flatten()(layers.ReLU()(normalise(x)))
    x = layers.Dense(CLASSES, activation="softmax")(x)
    model = with_known_weights(keras.Model(inputs, x, name="trained"), seed=1691)
    # The moving statistics become those of all pictures, and stay whatever the reader does.
    model(pictures(), training=True)
    normalise.momentum = 1.0
    watching.seen_by(model)
    model.run_eagerly = True
    return model


def pictures():
    """Return pictures of six squares with grain, each around its own colour: uint8 array."""
    rng = np.random.default_rng(1)
    colours = rng.uniform(60, 195, (PICTURES, 1, 1, 3))
    squares = rng.uniform(-110, 110, (PICTURES, 2, 3, 3)).repeat(4, 1).repeat(4, 2)
    grain = rng.uniform(-25, 25, (PICTURES, *PICTURE))
    return (colours + squares + grain).clip(0, 255).astype("uint8")


def with_known_weights(model, seed):
    """Give every weight of a model a random value, the same in every process; return the model."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
        weight.assign(np.abs(values) + 0.5 if weight.name == "moving_variance" else values)
    return model
