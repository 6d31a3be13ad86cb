"""Judge a block whose convolutions differ: a projection block, a bottleneck.

Each convolution is known by its kernel and its stride, and gets the weights of that step in a line
of steps (see `probes`); the batch normalisations of one width get theirs in each order.
"""

import io
import math
import re
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import permutations, product
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from . import blockprobes, probes
from .core import NotDone, Raised, Wrong, guarded

SIDE, NAME = 12, "stage7_block5"
_EPSILON, _MOMENTUM = 1e-3, 0.5


class Kernel(NamedTuple):
    """A convolution: side of its kernel, channels in and out, stride."""

    side: int
    before: int
    after: int
    strides: int = 1

    def __str__(self):
        stride = f", stride {self.strides}" if self.strides > 1 else ""
        return f"{self.side}x{self.side} from {self.before} to {self.after} channels{stride}"


@dataclass(frozen=True)
class Form:
    """What a block is for one input.

    Attributes:
        channels: of the input, which has SIDE x SIDE pixels.
        arguments: what the function gets besides `x` and `name`.
        kernels: dict, step -> Kernel. The batch normalisation of step "conv1" is "bn1".
        line: the right line of steps.
        variants: list of (changed kernels, note): right in a way of its own.
        mistakes: list of (changed kernels, text); None as a kernel means that there is none.
        lines: dict, wrong line of steps -> text.
        planted: lines that are the fault of the stub.
    """

    channels: int
    arguments: tuple
    kernels: dict[str, Kernel]
    line: str
    mistakes: tuple = ()
    lines: dict | None = None
    variants: tuple = ()
    planted: tuple = ()

    @property
    def shape(self):
        """The shape that the block outputs, without the batch."""
        side = SIDE
        for step, kernel in self.kernels.items():
            if not step.startswith("project"):
                side = math.ceil(side / kernel.strides)
        return side, side, list(self.kernels.values())[-1].after


def judge_forms(function, forms, otherwise):
    """Judge a function (x, filters, strides, name) by the first of its forms, then by the others.

    Returns:
        None, or a sentence: which variant the block is.

    Raises:
        Wrong: if the block is another one.
    """
    model = _model(function, forms[0])
    with redirect_stdout(io.StringIO()):  # What the function prints has been seen once.
        note = _judge_structure(model, forms[0])
        _judge_sharing(function, model, forms[0])
        blockprobes.judge_training_argument(model)
        weights = _judge_order(model, forms[0], note, otherwise)
        _judge_training(model, weights, forms[0], note)
        for form in forms[1:]:
            model = _model(function, form)
            other = _judge_structure(model, form)
            _judge_order(model, form, other, otherwise)
        _judge_start(_model(function, forms[0]))
        _judge_names(function, forms[0])
    return note and note[1]


# The structure


_TOO_FAR_APART = (
    "branch and shortcut come to the addition with different shapes, {}: a stride, a padding or a "
    "number of channels differs between the two."
)


def _model(function, form):
    called = f"With `x` of {SIDE}x{SIDE}x{form.channels} and {_told(form)}, "
    model = as_block(function, form, called + _TOO_FAR_APART)
    for part in model._flatten_layers(include_self=False):
        part.dtype_policy = "float32"
    return model


def as_block(function, form, apart, name=NAME):
    """Return a block as a model; `apart` is said, with both shapes, where they do not go together.

    Raises:
        Wrong: if a name is there twice, or if branch and skip have different shapes.
    """
    x = keras.Input((SIDE, SIDE, form.channels))
    try:
        return probes.as_model(function, x, *form.arguments, name=name)
    except Raised as reason:
        shapes = re.findall(r"\((?:None, )?(\d+), (\d+), (\d+)\)", str(reason))
        if "should be unique" in str(reason):
            raise Wrong(
                "two layers of your block have the same name. Begin each layer's name with "
                f"`name`, and go on with what tells it from the others. ({reason})"
            ) from None
        if len(shapes) == 2 and shapes[0] != shapes[1]:
            told = " and ".join(f"({', '.join(shape)})" for shape in shapes)
            raise Wrong(apart.format(told)) from None
        raise


def _told(form):
    words = ("filters", "strides")
    return ", ".join(f"{w}={v}" for w, v in zip(words, form.arguments, strict=False))


def _judge_structure(model, form):
    """Raise Wrong unless the block has the form's layers; return its variant, if it is one."""
    convolutions, batch_norms = _parts(model)
    found = Counter(kernel_of(layer) for layer in convolutions)
    note = None
    if found != Counter(form.kernels.values()):
        note = changed(found, form, form.variants)
        if not note:
            mistake = changed(found, form, form.mistakes)
            raise Wrong(_call(form) + (mistake[1] if mistake else _other_kernels(found)))
    shape = tuple(model.output.shape[1:])
    if shape != form.shape:
        raise Wrong(_call(form) + f"the output has the shape {shape}. Expected: {form.shape}.")
    for layer in convolutions:
        if layer.use_bias:
            raise Wrong(
                "your convolutions have biases. Batch normalisation has a shift of its own: which "
                "argument of Conv2D leaves the bias out?"
            )
        if layer.groups != 1 or layer.dilation_rate != (1, 1):
            raise Wrong("your convolutions have groups or a dilation. Expected: neither.")
    blockprobes.judge_batch_norms(batch_norms)
    return note


def _call(form):
    return f"where {_told(form)} and `x` has {form.channels} channels: "


def _parts(model):
    found = probes.owners(model)
    convolutions = [layer for layer in found if isinstance(layer, layers.Conv2D)]
    batch_norms = [layer for layer in found if isinstance(layer, layers.BatchNormalization)]
    others = [type(part).__name__ for part in found if part not in convolutions + batch_norms]
    if others:
        raise Wrong(
            f"your block has layers with weights that it does not need: {', '.join(others)}. "
            "Conv2D and BatchNormalization hold all that it learns."
        )
    return convolutions, batch_norms


def kernel_of(layer):
    """Return the Kernel of a convolution."""
    side, _, before, after = layer.kernel.shape
    return Kernel(side, before, after, max(layer.strides))


def changed(found, form, table):
    """Return the first entry of a table whose changed kernels are those that were found."""
    for other, text in table:
        kernels = {**form.kernels, **other}
        if found == Counter(kernel for kernel in kernels.values() if kernel):
            return kernels, text
    return None


def _other_kernels(found):
    if not found:
        return "there is no convolution in your block."
    told = "; ".join(str(kernel) for kernel in found.elements())
    return f"the convolutions of your block are others than those asked for: {told}."


def _judge_sharing(function, model, form):
    x = keras.Input((SIDE, SIDE, form.channels))
    other = probes.as_model(function, x, *form.arguments, name=f"{NAME}b")
    mine = {id(weight) for weight in model.weights}
    if any(id(weight) in mine for weight in other.weights):
        raise Wrong(blockprobes.SHARED)


# Inference: the order of the parts


def _kernels(form, note):
    """Return the kernels by step, those of a variant or mistake in place of the form's own."""
    return note[0] if note else form.kernels


def _values(kernels):
    """Return {step: kernel} and {step of a normalisation: gamma, beta, mean, variance}."""
    rng = np.random.default_rng(3)
    weights, statistics = {}, {}
    for number, (step, kernel) in enumerate(kernels.items(), start=1):
        weights[step] = probes.known_kernel(rng, kernel.side, kernel.before, kernel.after)
        statistics[f"bn{number}"] = probes.known_statistics(rng, kernel.after)
    return weights, statistics


def pictures(form):
    """Return two inputs of a block: float32 array."""
    shape = (2, SIDE, SIDE, form.channels)
    return np.random.default_rng(1).normal(scale=2, size=shape).astype("float32")


def follow(line, form, kernels, training=False):
    """Compute the output of a line of steps with the known weights: numpy array."""
    weights, statistics = _values(kernels)
    steps = {step: probes.convolution(weights[step], kernels[step].strides) for step in kernels}
    for step, values in statistics.items():
        steps[step] = probes.normalisation(values, _EPSILON, training)
    return probes.follow(line, pictures(form), **steps)


def _judge_order(model, form, note, otherwise):
    """Return the weights by step where the block is that of the right line, or raise."""
    convolutions, batch_norms = _parts(model)
    kernels = _kernels(form, note)
    orders = list(_orders(convolutions, batch_norms, kernels))
    outputs = []
    for order in orders:
        _load(order, kernels)
        outputs.append((order, ops.convert_to_numpy(guarded(model, pictures(form)))))
    wrong = {**probes.other_activations(form.line), **(form.lines or {})}
    for line in [form.line, *form.planted, *wrong]:
        try:
            expected = follow(line, form, kernels)
        except Exception:  # A line of the parts of another form.
            continue
        norms = set(re.findall(r"bn\d", line))
        same = [
            o for o, y in outputs if norms == set(o) - set(kernels) and probes.same(y, expected)
        ]
        if same and line == form.line:
            _load(same[0], kernels)
            return same[0]
        if same and line in form.planted:
            raise NotDone("this is still the faulty one.")
        if same:
            raise Wrong(wrong[line])
    if len(batch_norms) != len(kernels):
        raise Wrong(
            f"the number of batch normalisations in your block is {len(batch_norms)}. Expected: "
            f"{len(kernels)}, one after each convolution."
        )
    raise Wrong(otherwise)


def _orders(convolutions, batch_norms, kernels):
    """Yield {step: layer} for each way in which the normalisations can belong to the steps."""
    steps = {}
    for step, kernel in kernels.items():
        for layer in convolutions:
            if kernel_of(layer) == kernel:
                steps[step] = layer
    widths = {f"bn{n}": kernel.after for n, kernel in enumerate(kernels.values(), start=1)}
    groups = []
    for width in set(widths.values()):
        names = [name for name in widths if widths[name] == width]
        mine = [layer for layer in batch_norms if layer.gamma.shape[0] == width]
        count = min(len(mine), len(names))
        chosen = [names] if len(mine) >= len(names) else list(permutations(names, count))
        groups.append([list(zip(n, m, strict=False)) for n in chosen for m in permutations(mine)])
    for choice in product(*groups):
        yield {**steps, **{name: layer for group in choice for name, layer in group}}


def _load(order, kernels):
    weights, statistics = _values(kernels)
    for step, layer in order.items():
        if step in weights:
            layer.set_weights([weights[step]])
        else:
            layer.set_weights(statistics[step])
            layer.epsilon, layer.momentum = _EPSILON, _MOMENTUM


# Training, the start and the names


def _judge_training(model, order, form, note):
    kernels = _kernels(form, note)
    learned = {id(weight) for weight in model.trainable_weights}
    for step, layer in order.items():
        if id(layer.weights[0]) not in learned:
            raise Wrong(blockprobes.FROZEN if step in kernels else blockprobes.FROZEN_NORM)
    output = probes.training_output(model, pictures(form))
    if not probes.same(output, follow(form.line, form, kernels, training=True)):
        raise Wrong(blockprobes.OTHER_IN_TRAINING)
    _load(order, kernels)
    mine = [order[step].weights[0] for step in sorted(order)]
    found = probes.changes(model, mine)
    reference, theirs = _reference(form, kernels)
    expected = probes.changes(reference, [theirs[step].weights[0] for step in sorted(order)])
    if not probes.same_changes(found, expected):
        raise Wrong(blockprobes.OTHER_CHANGES)


def _reference(form, kernels):
    """Return a model of the right line with the known weights, and its layers by step."""
    made = {}
    for number, (step, kernel) in enumerate(kernels.items(), start=1):
        options = dict(padding="same", use_bias=False)
        made[step] = layers.Conv2D(kernel.after, kernel.side, kernel.strides, **options)
        made[f"bn{number}"] = layers.BatchNormalization()
    x = keras.Input((SIDE, SIDE, form.channels))
    model = keras.Model(x, probes.drawn(form.line, x, **made))
    _load(made, kernels)
    return model, made


def _judge_start(model):
    for layer in _parts(model)[0]:
        start = layer.kernel.numpy()
        if np.ptp(start) == 0:
            raise Wrong(blockprobes.EQUAL if start.any() else blockprobes.ZEROS)


def _judge_names(function, form):
    def two_blocks(x):
        blocks = [function(x, *form.arguments, name=f"block{number}") for number in (1, 2)]
        return layers.Add()(blocks)

    try:
        probes.as_model(two_blocks, keras.Input((SIDE, SIDE, form.channels)))
    except Raised as reason:
        raise Wrong(
            "one block is right, but two do not fit into one model: layers of both have the same "
            f"name. Begin each layer's name with `name`. ({reason})"
        ) from None
    nameless = [
        layer.name for layer in _model(function, form).layers if not blockprobes.bears_name(layer)
    ]
    if nameless:
        raise Wrong(
            f"the block is right, but its layers do not bear its name: {', '.join(nameless)}. "
            "Begin each layer's name with `name`, so that the block can be found again in a "
            "network."
        )
