"""Judge a pre-activated bottleneck, with an identity or with a projection, however it is written.

Its convolutions differ in kernel, width and stride, so each is known by them; the two batch
normalisations of the mid-width get their weights in both orders. What the block then computes is
compared with lines of steps, see `probes`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from keras import layers, ops

from . import blockprobes, probes
from .core import NotDone, Wrong
from .formprobes import NAME, SIDE, as_block, changed, kernel_of, pictures

_EPSILON = 1e-3


@dataclass(frozen=True)
class Form:
    """What a block is.

    Attributes:
        channels: of the input.
        arguments: what the function gets besides `x` and `name`.
        kernels: dict, step -> (side, channels in, channels out, stride), the block's output last.
        line: the right line of steps.
        wrong: dict, wrong line of steps -> what it means.
        mistakes: list of (dict of changed kernels, what it means); None for one that is missing.
        planted: a line that is the fault of the stub, None if there is none.
    """

    channels: int
    arguments: tuple
    kernels: dict
    line: str
    wrong: dict
    mistakes: tuple = ()
    planted: str | None = None

    @property
    def mid(self):
        """The mid-width, in channels."""
        return self.kernels["conv2"][1]

    @property
    def shape(self):
        """The shape of the output, without the batch."""
        _, _, after, _ = self.kernels["conv3"]
        side = -(-SIDE // self.kernels["conv1"][3])
        return side, side, after


def judge_block(function: Callable, form: Form) -> None:
    """Judge a function (x, …, name) -> pre-activated bottleneck.

    Raises:
        NotDone: if it is the planted fault.
        Wrong: if it is another block than the form's.
    """
    model = _model(function, form)
    convolutions, norms = _parts(model, form)
    blockprobes.judge_training_argument(model)
    order = _judge_order(model, convolutions, norms, form)
    _judge_training(model, order, convolutions, form)
    _judge_calls(function, form, model)


_APART = (
    "branch and skip come to the addition with the shapes {}. Which stride, and how many channels, "
    "has each of them?"
)


def _model(function, form, name=NAME):
    model = as_block(function, form, _APART, name)
    shape = tuple(model.output.shape[1:])
    if shape != form.shape:
        raise Wrong(f"the output has the shape {shape}. Expected: {form.shape}.")
    return model


# The parts


def _parts(model, form):
    """Return {step: convolution} and the batch normalisations, the one of the input first."""
    found = probes.owners(model)
    convolutions = [layer for layer in found if isinstance(layer, layers.Conv2D)]
    norms = [layer for layer in found if isinstance(layer, layers.BatchNormalization)]
    others = [layer for layer in found if layer not in convolutions + norms]
    if others:
        raise Wrong(
            "your block has a layer with weights that it does not need: "
            f"{type(others[0]).__name__}."
        )
    kinds = Counter(map(kernel_of, convolutions))
    if kinds != Counter(form.kernels.values()):
        raise Wrong(_kernels_told(kinds, form))
    if any(layer.use_bias for layer in convolutions):
        raise Wrong("your convolutions have biases. Leave them out: use_bias=False.")
    _judge_norms(norms, form)
    steps = {step: c for step, k in form.kernels.items() for c in convolutions if kernel_of(c) == k}
    return steps, sorted(norms, key=lambda layer: layer.gamma.shape[0] != form.channels)


def _kernels_told(kinds, form):
    if mistake := changed(kinds, form, form.mistakes):
        return mistake[1]
    told = "; ".join(
        f"{side}x{side}, {before} to {after} channels, stride {strides}"
        for side, before, after, strides in kinds.elements()
    )
    return f"the convolutions of your block are others than those asked for: {told or 'none'}."


def _judge_norms(norms, form):
    blockprobes.judge_batch_norms(norms)
    widths = Counter(layer.gamma.shape[0] for layer in norms)
    expected = Counter([form.channels, form.mid, form.mid])
    if widths == expected:
        return
    out = form.kernels["conv3"][2]
    if len(norms) == 4 and widths - expected == Counter([out]):
        raise Wrong(
            f"a fourth batch normalisation acts on {out} channels. The stream has none on it, and "
            "neither has a projection: the next block begins with one."
        )
    if len(norms) == 3 and widths == Counter([form.mid, form.mid, out]):
        raise Wrong(
            "each batch normalisation comes after its convolution, as in v1. Pre-activation: BN "
            "and ReLU come before."
        )
    told = ", ".join(str(width) for width in sorted(widths.elements())) or "none"
    raise Wrong(
        f"the batch normalisations of your block have these channels: {told}. Expected: "
        f"{form.channels}, {form.mid} and {form.mid}, one before each convolution of the branch."
    )


# What it computes


def _values(form):
    """Return {step: kernel} and three times (gamma, beta, mean, variance)."""
    rng = np.random.default_rng(3)
    kernels = {step: probes.known_kernel(rng, *kernel[:3]) for step, kernel in form.kernels.items()}
    return kernels, [
        probes.known_statistics(rng, width) for width in (form.channels, form.mid, form.mid)
    ]


def follow(line: str, form: Form, training: bool = False) -> np.ndarray:
    """Compute the output of a line of steps with the known weights."""
    kernels, statistics = _values(form)
    steps = {step: probes.convolution(kernels[step], form.kernels[step][3]) for step in kernels}
    for number, values in enumerate(statistics, start=1):
        steps[f"bn{number}"] = probes.normalisation(values, _EPSILON, training)
    return probes.follow(line, pictures(form), **steps)


def _judge_order(model, convolutions, norms, form):
    """Return the batch normalisations in the order of the right line, or raise."""
    outputs = []
    for order in [(norms[0], *rest) for rest in permutations(norms[1:])]:
        _load(convolutions, order, form)
        outputs.append((order, ops.convert_to_numpy(model(pictures(form), training=False))))
    for line in filter(None, [form.line, form.planted, *form.wrong]):
        expected = follow(line, form)
        found = [order for order, output in outputs if probes.same(output, expected)]
        if found and line == form.line:
            return found[0]
        if found and line == form.planted:
            raise NotDone(
                "this is still the faulty one: with the same weights it computes what it did."
            )
        if found:
            raise Wrong(form.wrong[line])
    raise Wrong(
        "the parts are right, but with the same weights the output is not that of the block. "
        "Compare, step by step: BN, ReLU, convolution, three times, and what the skip adds."
    )


def _load(convolutions, norms, form):
    kernels, statistics = _values(form)
    for step, layer in convolutions.items():
        layer.set_weights([kernels[step]])
    for layer, values in zip(norms, statistics, strict=True):
        layer.set_weights(values)
        layer.epsilon = _EPSILON


def _judge_training(model, order, convolutions, form):
    if any(not layer.trainable for layer in (*order, *convolutions.values())):
        raise Wrong("a layer of your block is frozen: `trainable` is False.")
    _load(convolutions, order, form)
    output = probes.training_output(model, pictures(form))
    if not probes.same(output, follow(form.line, form, training=True)):
        raise Wrong(blockprobes.OTHER_IN_TRAINING)


def _judge_calls(function, form, model):
    """Raise Wrong if another call returns the same layers, or layers of the same names."""
    other = _model(function, form, name=f"{NAME}b")
    mine = {id(weight) for weight in model.weights}
    if any(id(weight) in mine for weight in other.weights):
        raise Wrong(blockprobes.SHARED)
    if any(not layer.name.startswith(NAME) for layer in model.layers if layer.weights):
        raise Wrong(
            "the block is right, but its layers do not bear its name. Begin the name of each layer "
            "with `name`, so that two blocks can stand in one network."
        )
