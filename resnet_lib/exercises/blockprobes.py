"""Judge a block of two 3x3 convolutions and two batch normalisations, whatever it is written as.

The reader's block gets the weights of a line of steps (see `probes`), in each order that there is,
as nobody says which of two layers was made first. Then it is run in inference, in training and
through a step of training.
"""

import inspect
import io
import re
from contextlib import redirect_stdout, suppress
from itertools import permutations, product

import keras
import numpy as np
from keras import layers, ops

from . import probes
from .core import Raised, Wrong, guarded

SIDE, FILTERS = 12, 4
_OTHER_FILTERS = 6
_USUAL_FILTERS = (16, 32, 64, 8, 128)
_NAME = "stage7_block5"
_EPSILON, _MOMENTUM = 1e-3, 0.5


def judge_block(function, right, wrong, otherwise, normalisations):
    """Judge a function (x, filters, name) -> block with two convolutions, input shape kept.

    Args:
        function: the reader's function.
        right: the right line of steps.
        wrong: dict, wrong line of steps -> what it means.
        otherwise: what to say of any other block of the right parts.
        normalisations: where batch normalisation belongs, in words.

    Returns:
        None, or a sentence: which variant the block is.

    Raises:
        Wrong: if the block is another one.
    """
    model = _model_of_any_width(function)
    with redirect_stdout(io.StringIO()):  # What the function prints has been seen once.
        return _judge_model(function, model, right, wrong, otherwise, normalisations)


def _judge_model(function, model, right, wrong, otherwise, normalisations):
    convolutions, batch_norms = _parts(model)
    _judge_convolutions(convolutions, model)
    _judge_sharing(function, model)
    _judge_width(function)
    judge_training_argument(model)
    weights = _judge_order(model, (convolutions, batch_norms), right, wrong, otherwise)
    if weights is None:
        raise Wrong(
            f"the number of batch normalisations in your block is {len(batch_norms)}. Expected: "
            f"2, {normalisations}."
        )
    _judge_training(model, weights, right)
    note = _judge_start(function)
    _judge_names(function)
    return note


# Lines of steps


def follow_block(line, x, training=False):
    """Compute the output of a block's line of steps with the known weights.

    Args:
        line: the steps; `conv` and `bn` take the next weights, `bn-train` normalises by the
            statistics of `x` itself.
        x: float32 array of shape (batch, SIDE, SIDE, FILTERS).
        training: whether each `bn` is a `bn-train`.

    Returns:
        numpy array.
    """
    kernels, statistics = map(iter, _values())
    return probes.follow(
        line.replace("bn", "bn-train") if training else line,
        x,
        conv=lambda y: probes.convolution(next(kernels))(y),
        **{
            "bn": lambda y: probes.normalisation(next(statistics), _EPSILON)(y),
            "bn-train": lambda y: probes.normalisation(next(statistics), _EPSILON, True)(y),
        },
    )


def _values():
    """Return the known values: of three kernels, and of three batch normalisations."""
    rng = np.random.default_rng(0)
    kernels = rng.normal(scale=0.2, size=(3, 3, 3, FILTERS, FILTERS)).astype("float32")
    signed = rng.normal(size=(3, 3, FILTERS)).astype("float32")
    signed[:, 0] += 0.5 * np.sign(signed[:, 0])  # No scale near zero hides what it scales.
    positive = rng.uniform(0.5, 1.5, size=(3, FILTERS)).astype("float32")
    return kernels, [[*s, p] for s, p in zip(signed, positive, strict=True)]


def _pictures():
    shape = (2, SIDE, SIDE, FILTERS)
    return np.random.default_rng(1).normal(scale=2, size=shape).astype("float32")


# The parts


_STRIDED = "a stride halves height and width. An identity block keeps them."
_UNPADDED = (
    "a 3x3 convolution without padding loses a pixel on each side. Which `padding` keeps height "
    "and width?"
)
_SHAPES = {SIDE // 2: _STRIDED, SIDE // 4: _STRIDED, SIDE - 2: _UNPADDED, SIDE - 4: _UNPADDED}
SHARED = (
    "each call of your function returns the same layers: they are made outside of it, once. All "
    "blocks of a network would share one set of weights, and learn one thing. Make the layers "
    "inside the function."
)


def _model_of_any_width(function):
    """Return the reader's block for FILTERS channels; say if it only works for other ones."""
    try:
        return _model(function, FILTERS)
    except Wrong:
        with redirect_stdout(io.StringIO()):
            _judge_other_widths(function)
        raise


def _judge_other_widths(function):
    """Raise Wrong if a function that fails for FILTERS channels works for other ones."""
    if _layers_called_by(function) & _layers_called_by(function):
        raise Wrong(SHARED)
    for filters in _USUAL_FILTERS:
        model = _model_or_none(function, filters)
        if model:
            _judge_sharing(function, model, filters)
            raise Wrong(_hard_coded(filters, FILTERS))


def _hard_coded(works, fails):
    return (
        f"your block works where `filters` is {works}, not where it is {fails}: there is a fixed "
        "number of channels in it. Each stage of a network has another one; take `filters`."
    )


def _model(function, filters, name=_NAME):
    x = keras.Input((SIDE, SIDE, filters))
    try:
        model = probes.as_model(function, x, filters, name=name)
    except Raised as reason:
        if not _takes_three(function):
            raise Wrong(f"{reason}. It is called with (x, filters, name=…).") from None
        _judge_error(str(reason), filters)
        raise
    _judge_shape(tuple(model.output.shape[1:]), filters)
    for part in model._flatten_layers(include_self=False):
        part.dtype_policy = "float32"  # What the reader computes in is not what is judged.
    return model


def _takes_three(function):
    """Say whether a function can be called with (x, filters, name=…), as far as one can know."""
    try:
        inspect.signature(function).bind(None, FILTERS, name=_NAME)
    except TypeError:
        return False
    except Exception:
        return True
    return True


def _model_or_none(function, filters, name=_NAME):
    try:
        return _model(function, filters, name)
    except Exception:
        return None


def _layers_called_by(function):
    """Return the layers with weights that the function calls, though it may raise an error."""
    x, found = keras.Input((SIDE, SIDE, FILTERS)), set()
    with suppress(Exception):
        guarded(function, x, FILTERS, name=_NAME)
    reached = [x._keras_history.operation]
    for operation in reached:  # It grows.
        found.add(operation)
        reached += {node.operation for node in operation._outbound_nodes} - found
    return {operation for operation in found if getattr(operation, "weights", None)}


def _judge_error(reason, filters):
    """Raise Wrong if an error's message tells the misconception."""
    if "should be unique" in reason:
        raise Wrong(
            "two layers of your block have the same name. Begin each layer's name with `name`, "
            f'and go on with what tells it from the others: f"{{name}}_conv1". ({reason})'
        )
    for shape in re.findall(r"(\d+), (\d+), (\d+)[)\]]", reason):
        _judge_shape(tuple(map(int, shape)), filters, f" ({reason})")


def _judge_shape(shape, filters, after=""):
    """Raise Wrong unless the shape is that of the block's input."""
    expected = (SIDE, SIDE, filters)
    height = shape[0] if len(shape) == 3 else None
    if shape != expected:
        meaning = _SHAPES.get(height, "it must stay, or the input cannot be added as it is.")
        raise Wrong(f"the shape {expected} of the input becomes {shape}: {meaning}{after}")


def _parts(model):
    """Return the convolutions and the batch normalisations, or raise Wrong."""
    found = probes.owners(model)
    convolutions = [layer for layer in found if isinstance(layer, layers.Conv2D)]
    batch_norms = [layer for layer in found if isinstance(layer, layers.BatchNormalization)]
    others = [type(layer).__name__ for layer in found if layer not in convolutions + batch_norms]
    if others:
        raise Wrong(
            f"your block has layers with weights that it does not need: {', '.join(others)}. "
            "Two Conv2D and two BatchNormalization layers hold all that it learns."
        )
    judge_batch_norms(batch_norms)
    return convolutions, batch_norms


def judge_batch_norms(batch_norms):
    """Raise Wrong unless each normalises the last axis, with scale and shift."""
    if any(len(layer.weights) != 4 for layer in batch_norms):
        raise Wrong("your batch normalisation lacks its scale or its shift. Expected: both.")
    if any(layer.gamma.shape == (SIDE,) for layer in batch_norms):
        raise Wrong(
            "your batch normalisation has another axis than that of the channels, which is the "
            "last. Leave `axis` out."
        )


def _judge_convolutions(convolutions, model):
    sizes = [layer.kernel_size for layer in convolutions]
    if sorted(sizes) == [(1, 1), (3, 3), (3, 3)]:
        raise Wrong(_projection(model))
    if sorted(sizes) == [(1, 1), (1, 1), (3, 3)]:
        raise Wrong(
            "your block is a bottleneck: 1x1, 3x3 and 1x1. Asked for is the basic block, with two "
            "3x3 convolutions."
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
    filters = [layer.filters for layer in convolutions]
    if filters != [FILTERS] * 2:
        raise Wrong(
            f"where `filters` is {FILTERS}, your convolutions have {filters[0]} and {filters[1]} "
            "filters. Both have `filters`."
        )


def _projection(model):
    """Say which shortcut a 1x1 convolution besides the two others is."""
    kinds = {type(layer) for layer in model._flatten_layers(include_self=False)}
    if layers.AveragePooling2D in kinds:
        return (
            "an average pooling and a 1x1 convolution on the skip are a variant, the shortcut of "
            "ResNet-D, for blocks that change the shape. Asked for is the identity block: where "
            "the shape stays as it is, the shortcut is `x` itself."
        )
    return (
        "your block has a 1x1 convolution besides its two others: a projection. That is a variant "
        "(option C of the paper projects in every block), but not asked for here: where the shape "
        "stays as it is, the shortcut of an identity block is `x` itself."
    )


def _judge_sharing(function, model, filters=FILTERS):
    """Raise Wrong if another call of the function returns some of the same layers."""
    other = _model_or_none(function, filters, f"{_NAME}b")
    mine = {id(weight) for weight in model.weights}
    if other and any(id(weight) in mine for weight in other.weights):
        raise Wrong(SHARED)


def _judge_width(function):
    try:
        _model(function, _OTHER_FILTERS)
    except Wrong:
        raise Wrong(_hard_coded(FILTERS, _OTHER_FILTERS)) from None


# Inference: the order of the parts


def _judge_order(model, parts, right, wrong, otherwise):
    """Return the weights in the order of the right line of steps, or raise Wrong.

    Returns None if it has another number of batch normalisations and no line tells the reason.
    """
    counts = tuple(map(len, parts))
    if max(counts) > 3:
        return None
    outputs, x = _outputs(model, *parts), _pictures()
    derived = {**_always_training(right), **_activated(right), **probes.other_activations(right)}
    lines = {right: None, **derived, **wrong}
    for line, text in lines.items():
        if _counts(line) == counts:
            expected = follow_block(line, x)
            orders = [order for order, output in outputs if probes.same(output, expected)]
            if orders and text is None:
                return _load(orders[0])
            if orders:
                raise Wrong(text)
    if counts == (2, 2):
        raise Wrong(otherwise)
    return None


def _counts(line):
    return line.split().count("conv"), len(re.findall(r"\bbn", line))


def _outputs(model, convolutions, batch_norms):
    """Return (layers in an order, output) for each order in which weights can be given."""
    found, x = [], _pictures()
    for order in product(permutations(convolutions), permutations(batch_norms)):
        _load(order)
        found.append((order, ops.convert_to_numpy(guarded(model, x, training=False))))
    return found


def _load(order):
    """Give layers the known values; return their weights, in that order."""
    kernels, statistics = _values()
    for layer, kernel in zip(order[0], kernels, strict=False):
        layer.set_weights([kernel])
    for layer, values in zip(order[1], statistics, strict=False):
        layer.set_weights(values)
        layer.epsilon, layer.momentum = _EPSILON, _MOMENTUM  # Others are variants.
    return [weight for layer in (*order[0], *order[1]) for weight in layer.weights]


_BATCH_ALWAYS = (
    "batch normalisation takes the statistics of the batch in inference, too: training=True. What "
    "the block makes of a picture would depend on the pictures beside it. Leave `training` out: "
    "Keras knows when it trains."
)
_ACTIVATED = (
    "a ReLU follows a convolution at once, besides those that belong there. (The argument "
    "`activation` of Conv2D does that.) Leave it out."
)


def _always_training(right):
    return dict.fromkeys(_replaced(right, "bn", "bn-train"), _BATCH_ALWAYS)


def _activated(right):
    return dict.fromkeys(_replaced(right, "conv", "conv relu"), _ACTIVATED)


def _replaced(line, step, other):
    """Return a line with its first, its second and both of two equal steps replaced."""
    before, between, after = line.split(step)
    return [
        f"{before}{a}{between}{b}{after}" for a, b in ((other, step), (step, other), (other,) * 2)
    ]


# Training


FROZEN_NORM = (
    "the batch normalisation of your block is frozen: `trainable` is False. Then it learns neither "
    "scale nor shift, and never measures a mean or a variance: it does nothing."
)
FROZEN = (
    "a convolution of your block is frozen: `trainable` is False. Its kernel would stay as it was "
    "at the start, at random. In inference nobody sees that."
)
_NORM_IN_INFERENCE = (
    "batch normalisation is called with training=False: in training it does not normalise by the "
    "batch, and never measures a mean or a variance. Leave `training` out: Keras knows when it "
    "trains."
)
_NORM_OVERRULED = (
    "batch normalisation is called with training=False: in training it would not normalise by the "
    "batch, and never measure a mean or a variance. (Where a functional model trains, Keras "
    "overrules the argument; in a layer of your own nothing does.) Leave `training` out: Keras "
    "knows when it trains."
)
OTHER_IN_TRAINING = (
    "in inference your block is right, in training it computes something else. Is there a layer "
    "that only acts in training, or an argument `training`?"
)
_SKIP_CUT = (
    "no gradient passes through the skip. Forwards your block is right, but the way back is what "
    "the skip is for: the gradient gets past each block unchanged. Is there a stop_gradient?"
)
_BRANCH_CUT = (
    "no gradient passes through the branch. Forwards your block is right, but layers of the branch "
    "would never learn, or hand nothing on to the blocks before. Is there a stop_gradient?"
)
_OUTPUT_CUT = (
    "no gradient gets into your block: whatever stands before it, and in it, never learns. Is "
    "there a stop_gradient around what your function returns?"
)
OTHER_CHANGES = (
    "forwards your block is right, but a step of training changes the weights in another way than "
    "it should. Does something stop or scale a gradient, or add to the loss?"
)


def judge_training_argument(model):
    """Raise Wrong if batch normalisation is told to train, or not to.

    A functional model overrules the argument, so that its output does not show it.
    """
    for layer in model._flatten_layers(include_self=False):
        inner = layer._flatten_layers()
        if any(isinstance(part, layers.BatchNormalization) for part in inner):
            for node in layer._inbound_nodes:
                told = [node.arguments.kwargs.get("training"), *node.arguments.args[1:2]]
                if any(value is False for value in told):
                    raise Wrong(_NORM_OVERRULED)
                if any(value is True for value in told):
                    raise Wrong(_BATCH_ALWAYS)


def _judge_training(model, weights, right):
    """Raise Wrong unless a block with the known weights is trained like the right line."""
    kernels, statistics = weights[:2], [weights[2:6], weights[6:]]
    learned = {id(weight) for weight in model.trainable_weights}
    if any(id(weight) not in learned for group in statistics for weight in group[:2]):
        raise Wrong(FROZEN_NORM)
    if any(id(kernel) not in learned for kernel in kernels):
        raise Wrong(FROZEN)
    x, means = _pictures(), [np.array(group[2].numpy()) for group in statistics]
    output = probes.training_output(model, x)
    after = [group[2].numpy() for group in statistics]
    if any(np.array_equal(one, other) for one, other in zip(means, after, strict=True)):
        raise Wrong(_NORM_IN_INFERENCE)
    if not probes.same(output, follow_block(right, x, training=True)):
        raise Wrong(OTHER_IN_TRAINING)
    _judge_changes(model, weights, right)


def _judge_changes(model, weights, right):
    for weight, value in zip(weights, _known(), strict=True):
        weight.assign(value)
    found = probes.changes(model, weights)
    if not probes.same_changes(found, _changes_of(right)):
        lines = _cut(right)
        raise Wrong(
            next(
                (
                    text
                    for line, text in lines.items()
                    if probes.same_changes(found, _changes_of(line))
                ),
                OTHER_CHANGES,
            )
        )


def _known():
    kernels, statistics = _values()
    return [*kernels[:2], *statistics[0], *statistics[1]]


def _changes_of(line):
    """Return how a step of training changes the layer in front and the weights of a line."""
    options = dict(padding="same", use_bias=False)
    convolutions = [layers.Conv2D(FILTERS, 3, **options) for _ in range(2)]
    batch_norms = [layers.BatchNormalization() for _ in range(2)]
    x, conv, bn = keras.Input((SIDE, SIDE, FILTERS)), iter(convolutions), iter(batch_norms)
    y = probes.drawn(line, x, conv=lambda y: next(conv)(y), bn=lambda y: next(bn)(y))
    return probes.changes(keras.Model(x, y), _load((convolutions, batch_norms)))


def _cut(right):
    """Return {line: text} of a line in which a gradient is cut on the skip or on the branch."""
    steps = right.split()
    found = {right.replace("+", "skip-cut +"): _SKIP_CUT, f"{right} cut": _OUTPUT_CUT}
    for place in range(steps.index("+") + 1):
        found[" ".join([*steps[:place], "cut", *steps[place:]])] = _BRANCH_CUT
    return found


# The start: the weights that the reader's block comes with

ZEROS = (
    "your kernels start as zeros. Then the branch is zero, and so is each gradient in it: its "
    "kernels never change. Random numbers let it begin (he_normal, or Keras' own initialiser)."
)
EQUAL = (
    "your kernels start with one number everywhere. Then all channels compute the same, get the "
    "same gradient, and stay equal for ever. Random numbers tell them apart."
)
_DEAD = (
    "from the weights that your block starts with, its kernels never change: a zero lies before a "
    "ReLU and lets no gradient pass. (A scale of zero may only end a branch.)"
)
_ZERO_END = (
    "a variant: your branch ends in zeros at the start, so that the untrained block hands on its "
    "input."
)


def _judge_start(function):
    """Raise Wrong if a block never learns; return a sentence if its branch starts at zero."""
    model = _model(function, FILTERS)
    convolutions, batch_norms = _parts(model)
    kernels = [layer.kernel for layer in convolutions]
    ends = [*kernels, *(layer.gamma for layer in batch_norms)]
    start = [weight.numpy() for weight in ends]
    zeros = [not value.any() for value in start]
    constant = [np.ptp(value) == 0 for value in start[:2]]
    if any(constant) and not any(zeros[:2]):
        raise Wrong(EQUAL)
    if any(zeros) and not all(change.any() for change in probes.changes(model, kernels, 3)[1:]):
        raise Wrong(ZEROS if any(zeros[:2]) else _DEAD)
    return _ZERO_END if any(zeros) else None


# Names


def _judge_names(function):
    """Raise Wrong unless two of the reader's blocks can stand in one model, and bear `name`."""

    def two_blocks(x):
        return function(function(x, FILTERS, name="block1"), FILTERS, name="block2")

    try:
        probes.as_model(two_blocks, keras.Input((SIDE, SIDE, FILTERS)))
    except Raised as reason:
        raise Wrong(
            "one block is right, but two do not fit into one model: layers of both have the same "
            f"name. Begin each layer's name with `name`. ({reason})"
        ) from None
    model = _model(function, FILTERS)
    nameless = [layer.name for layer in model.layers if not bears_name(layer)]
    if nameless:
        raise Wrong(
            f"the block is right, but its layers do not bear its name: {', '.join(nameless)}. "
            'Begin each layer\'s name with `name`, as in name=f"{name}_conv1", so that the block '
            "can be found again in a network."
        )


def bears_name(layer):
    """Say whether a layer, or all in it that have weights, have names that begin with `name`."""
    if not layer.weights or layer.name.startswith(_NAME):
        return True
    inner = layer._flatten_layers(include_self=False, recursive=False)
    parts = [part for part in inner if part.weights]
    return bool(parts) and all(map(bears_name, parts))
