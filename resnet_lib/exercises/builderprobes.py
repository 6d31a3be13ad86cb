"""Judge a stage and a whole network whose blocks are handed in, whatever they are written as.

The judge hands in blocks of its own. Each is one convolution, and writes down every call: what came
in, how many channels, which stride, which name. What the reader builds around the blocks gets known
weights and is compared with a line of steps, see `probes`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from . import probes
from .core import NotDone, Raised, Wrong, call

PICTURE, CLASSES = (32, 32, 3), 10
_EPSILON = 1e-3


class Call(NamedTuple):
    """A call of one of the judge's blocks."""

    kind: str
    x: keras.KerasTensor
    widths: tuple
    strides: int
    name: str
    layer: layers.Layer
    output: keras.KerasTensor


@dataclass
class Recorder:
    """Blocks that write down their calls."""

    calls: list = field(default_factory=list)

    def block(self, x, filters, strides=1, name=None):
        """A block of one width."""
        return self._called("block", x, (filters,), strides, name)

    def first_of_two_widths(self, x, filters, filters_out, strides, name=None):
        """The first block of a stage, of a mid-width and the channels that leave it."""
        return self._called("first", x, (filters, filters_out), strides, name)

    def block_of_two_widths(self, x, filters, filters_out, name=None):
        """Any other block of such a stage."""
        return self._called("block", x, (filters, filters_out), 1, name)

    def _called(self, kind, x, widths, strides, name):
        if not isinstance(name, str):
            raise Wrong(
                "a block is called without a name. Hand each of them one of its own, such as "
                'name=f"{name}_block1", so that it can be found again in the network.'
            )
        strides = strides[0] if isinstance(strides, tuple | list) and strides else strides
        options = dict(padding="same", use_bias=False, name=f"{name}_conv")
        layer = layers.Conv2D(widths[-1], 3, strides=strides, **options)
        output = layer(x)
        self.calls.append(Call(kind, x, widths, strides, name, layer, output))
        return output


# A stage

_SIDE, _FILTERS = 16, 6


def judge_stack(function):
    """Judge a function (x, filters, n, block, strides, name) -> the output of a stage."""
    for n, strides in ((3, 2), (2, 2), (1, 2), (3, 1)):
        _judge_stage(function, n, strides)


def _judge_stage(function, n, strides):
    recorder, x = Recorder(), keras.Input((_SIDE, _SIDE, _FILTERS))
    options = dict(strides=strides, name="stage7")
    y = _told(call, function, x, _FILTERS, n, recorder.block, **options)
    calls = recorder.calls
    if calls and y is calls[0].output and n > 1 and len(calls) == 1:
        raise Wrong(
            f"for n = {n} the stage has one block. Does `return` stand inside the loop, so that "
            "the function ends in its first round?"
        )
    _judge_count(len(calls), n, f"for n = {n} the stage", f"n = {n}")
    probes.expect_tensor(y, x)
    _judge_chain(calls, x)
    _judge_end(y, calls)
    for number, each in enumerate(calls, start=1):
        if each.widths != (_FILTERS,):
            raise Wrong(
                f"block {number} gets {each.widths[0]} channels where `filters` is {_FILTERS}. All "
                "blocks of a stage have the same."
            )
    _judge_strides([each.strides for each in calls], strides)
    _judge_names([each.name for each in calls], "stage7")


def _told(function, *args, **options):
    """Call something of the reader's; two layers of one name are said in words."""
    try:
        return function(*args, **options)
    except Raised as reason:
        if isinstance(reason.__cause__, Wrong | NotDone):  # It went through the reader's function.
            raise reason.__cause__ from None
        if "should be unique" in str(reason):
            raise Wrong(f"{_TWICE} ({reason})") from None
        raise


_TWICE = (
    "two layers of your network have the same name. Each block needs a name of its own, such as "
    '"stage2_block1".'
)


def _judge_count(found, expected, what, given, stages=1):
    if found == expected:
        return
    if found == 0:
        raise Wrong(f"`block` is never called: {what} has no blocks.")
    each = " in each stage" if stages > 1 else ""
    if found - expected in (1, stages):
        text = f"one block too many{each}. Is the first one built before the loop, and again in it?"
    elif expected - found in (1, stages):
        text = f"one block too few{each}. How many rounds has the loop?"
    else:
        text = "another number of blocks than asked for."
    raise Wrong(f"{what} has {found} blocks, where {given} asks for {expected}: {text}")


def _judge_chain(calls, x):
    """Raise Wrong unless the first block gets `x` and each other one what the one before made."""
    if calls[0].x is not x:
        raise Wrong("the first block does not get `x`. Nothing stands in a stage but its blocks.")
    for number, (before, each) in enumerate(pairwise(calls), start=2):
        if each.x is before.output:
            continue
        if any(each.x is other.x for other in calls[:1]):
            raise Wrong(
                f"block {number} gets the input of the first block, not the output of block "
                f"{number - 1}: they stand side by side. Keep what a block returns in `x`."
            )
        raise Wrong(
            f"something stands between block {number - 1} and block {number}. The output of a "
            "block is the input of the next one."
        )


def _judge_end(y, calls):
    if y is calls[-1].output:
        return
    if any(y is each.output for each in calls):
        raise Wrong("your function returns the output of another block than the last one.")
    raise Wrong("something follows the last block. The stage's output is what its last block made.")


def _judge_strides(found, strides):
    if found == [strides] + [1] * (len(found) - 1):
        return
    if strides == 1:
        raise Wrong(
            f"called with strides=1, your stage has blocks of the strides {found}. Stage 1 of the "
            "network keeps height and width: take the argument."
        )
    if len(found) > 1 and found == [strides] * len(found):
        raise Wrong(
            "every block has the stride: height and width would be halved in each of them. Only "
            "the first block of a stage has it."
        )
    if found == [1] * len(found):
        raise Wrong("no block has the stride. The first block of a stage takes it.")
    if found == [1] * (len(found) - 1) + [strides]:
        raise Wrong("the last block has the stride. The first block of a stage takes it.")
    raise Wrong(f"the blocks have the strides {found}. Expected: the first one alone, {strides}.")


def _judge_names(names, prefix=""):
    if len(set(names)) < len(names):
        raise Wrong(f"two blocks have the same name, {names[0]!r}. {_NAMES}")
    nameless = [name for name in names if not name.startswith(prefix)]
    if nameless:
        raise Wrong(
            f"a block has the name {nameless[0]!r}, where `name` is {prefix!r}: the blocks of two "
            f"stages would have the same names. {_NAMES}"
        )


_NAMES = 'Begin with `name` and number the blocks: name=f"{name}_block{number}".'


# A whole network


@dataclass(frozen=True)
class Plan:
    """What a builder has to build.

    Attributes:
        widths: of the blocks of each stage.
        step: layers of a network for each block of a stage: 6 in 6n+2.
        right: the right line of steps, `blocks` for all blocks.
        wrong: dict, wrong line of steps -> what it means.
        otherwise: what to say of any other network of the right parts.
        norms: what to say where the number of batch normalisations outside of blocks is not 1.
        first: whether the first block of a stage is a function of its own.
    """

    widths: tuple
    step: int
    right: str
    wrong: dict
    otherwise: str
    norms: str
    first: bool = False


def judge_builder(function: Callable, plan: Plan, known: Callable | None = None) -> str | None:
    """Judge a function (depth, [first,] block) -> network.

    Args:
        function: the reader's function.
        plan: what it has to build.
        known: function of the calls of a network of two blocks a stage, for what is said of a
            fault before anything else.

    Returns:
        None, or a sentence: which variant the network is.

    Raises:
        Wrong: if the network is another one.
    """
    stems = []
    for n in (2, 1):
        depth = plan.step * n + 2
        model, calls = _built(function, depth, plan)
        if known:
            known(calls)
        _judge_blocks(calls, n, depth, plan)
        _judge_tensors(model, calls)
        parts = _judge_parts(model, calls, plan)
        stems.append(parts[0])
    if stems[0] is stems[1]:
        raise Wrong(
            "two calls of your function return networks with the same layers: they are made "
            "outside of it, once. Make them inside."
        )
    _judge_output(model, calls, parts, plan)
    if any(isinstance(layer, layers.Flatten) for layer in model._flatten_layers()):
        return (
            "a variant: pooling over 8x8 pixels and Flatten are the same for pictures of 32x32, "
            "but fix their size."
        )
    return None


def _built(function, depth, plan):
    recorder = Recorder()
    wide = [recorder.first_of_two_widths, recorder.block_of_two_widths]
    blocks = wide if plan.first else [recorder.block]
    model = _told(call, function, depth, *blocks)
    if isinstance(model, keras.KerasTensor):
        raise Wrong(
            "your function returns a tensor. Expected: a network, keras.Model(inputs, outputs)."
        )
    if not isinstance(model, keras.Model):
        raise Wrong(f"your function returns a {type(model).__name__}. Expected: a keras.Model.")
    return model, recorder.calls


def _judge_blocks(calls, n, depth, plan):
    """Raise Wrong unless the blocks are those of the plan: number, kind, widths, strides, names."""
    _judge_count(len(calls), 3 * n, f"your network of depth {depth}", f"n = {n}", stages=3)
    if plan.first:
        _judge_kinds([each.kind for each in calls], n)
    widths = [width for width in plan.widths for _ in range(n)]
    found = [each.widths for each in calls]
    if found != widths:
        raise Wrong(_widths_told(found, widths))
    _judge_all_strides([each.strides for each in calls], n)
    if len({each.name for each in calls}) < len(calls):
        raise Wrong(_TWICE)


def _judge_kinds(kinds, n):
    expected = (["first"] + ["block"] * (n - 1)) * 3
    if kinds == expected:
        return
    if "first" not in kinds:
        raise Wrong(
            "`first` is never called. In each stage the first block changes the number of "
            "channels, so that it needs a projection."
        )
    if kinds[0] == "first" and kinds.count("first") == 1 < len(kinds):
        raise Wrong(
            "`first` is called once, for the first block of the network. Each of the three stages "
            "begins with one."
        )
    if kinds[0] == "block":
        raise Wrong(
            "stage 1 begins with `block`. It keeps the size of the picture, but the stem outputs "
            "16 channels and the stage 64: here, too, `first` is needed."
        )
    raise Wrong(f"the blocks are {', '.join(kinds)}. Expected: {', '.join(expected)}.")


def _widths_told(found, expected):
    shown = [width if len(width) > 1 else width[0] for width in found]
    wanted = [width if len(width) > 1 else width[0] for width in expected]
    if len(set(found)) == 1:
        return (
            f"all blocks have the widths {shown[0]}: the channels do not double from stage to "
            "stage."
        )
    if len(expected[0]) > 1 and [w[::-1] for w in found] == expected:
        return (
            "the two widths are exchanged: the mid-width comes first, then what leaves the block."
        )
    if len(expected[0]) > 1 and [w[1] for w in found] == [w[1] for w in expected]:
        return (
            f"the mid-widths are {[w[0] for w in found]}. Expected: a quarter of what leaves the "
            f"block, {[w[0] for w in expected]}."
        )
    return f"the blocks have the widths {shown}. Expected: {wanted}."


def _judge_all_strides(found, n):
    expected = [1] * n + ([2] + [1] * (n - 1)) * 2
    if found == expected:
        return
    firsts, others = found[::n], [s for i, s in enumerate(found) if i % n]
    if any(s != 1 for s in others):
        raise Wrong(
            f"the strides of the blocks are {found}: not only the first block of a stage has one."
        )
    if firsts == [2, 2, 2]:
        raise Wrong(
            "stage 1 has a stride, too: its feature maps are 16x16, and those of stage 3 are 4x4. "
            "Stage 1 keeps the 32x32 pixels."
        )
    if firsts == [1, 1, 1]:
        raise Wrong("no stage has a stride: all feature maps stay 32x32. Which stages halve them?")
    if firsts == [1, 1, 2]:
        raise Wrong("stage 2 has no stride: its feature maps stay 32x32. Expected: 16x16.")
    if firsts == [1, 2, 1]:
        raise Wrong("stage 3 has no stride: its feature maps stay 16x16. Expected: 8x8.")
    raise Wrong(f"the strides of the stages are {firsts}. Expected: [1, 2, 2].")


def _judge_tensors(model, calls):
    shape = tuple(model.input_shape[1:])
    if shape not in (PICTURE, (None, None, 3)):
        raise Wrong(f"your network takes inputs of shape {shape}. Expected: {PICTURE}.")
    if tuple(model.output_shape[1:]) != (CLASSES,):
        raise Wrong(
            f"your network's output has the shape {tuple(model.output_shape[1:])} for a picture. "
            f"Expected: ({CLASSES},), a probability for each class."
        )
    if tuple(calls[0].x.shape[1:])[-1] != 16:
        raise Wrong(
            f"what enters stage 1 has {calls[0].x.shape[-1]} channels. The stem outputs 16."
        )
    if tuple(calls[0].x.shape[1:3]) == (16, 16):
        raise Wrong("the stem halves the picture. Here it has neither a stride nor pooling.")
    for number, (before, each) in enumerate(pairwise(calls), start=2):
        if each.x is not before.output:
            raise Wrong(
                f"block {number} does not get the output of block {number - 1}. Nothing stands "
                "between two blocks."
            )


def _judge_parts(model, calls, plan):
    """Return convolution, batch normalisation and dense layer outside of the blocks."""
    mine = {id(each.layer) for each in calls}
    found = [layer for layer in probes.owners(model) if id(layer) not in mine]
    missing = [each.name for each in calls if not _holds(model, each.layer)]
    if missing:
        raise Wrong(f"the block {missing[0]!r} is built, but its output is not used.")
    kinds = (layers.Conv2D, layers.BatchNormalization, layers.Dense)
    conv, norm, dense = ([x for x in found if isinstance(x, kind)] for kind in kinds)
    others = [type(x).__name__ for x in found if not isinstance(x, kinds)]
    if others:
        raise Wrong(f"your network has layers with weights that it does not need: {others[0]}.")
    if len(conv) != 1:
        raise Wrong(
            f"outside of its blocks, your network has {len(conv)} convolutions. Expected: one, the "
            "stem."
        )
    if len(norm) != 1:
        raise Wrong(
            f"outside of its blocks, your network has {len(norm)} batch normalisations. Expected: "
            f"one. {plan.norms}"
        )
    if len(dense) != 1:
        raise Wrong(f"your network has {len(dense)} dense layers. Expected: one, at the end.")
    _judge_stem(conv[0])
    _judge_dense(dense[0], calls)
    if any(not layer.trainable for layer in (*conv, *norm, *dense)):
        raise Wrong("a layer of your network is frozen: `trainable` is False.")
    return conv[0], norm[0], dense[0]


def _holds(model, layer):
    return any(layer is each for each in model._flatten_layers())


def _judge_stem(conv):
    if conv.kernel_size != (3, 3):
        raise Wrong(
            f"the stem's kernel is {conv.kernel_size[0]}x{conv.kernel_size[1]}. Expected: 3x3. "
            "(7x7 belongs to the networks for ImageNet.)"
        )
    if conv.use_bias:
        raise Wrong("the stem's convolution has biases. Leave them out: use_bias=False.")


def _judge_dense(dense, calls):
    channels = calls[-1].widths[-1]
    rows = dense.kernel.shape[0]
    if rows == 8 * 8 * channels:
        raise Wrong(
            f"the dense layer gets {rows:,} numbers: every pixel of every channel (Flatten). It "
            f"gets the mean of each of the {channels} channels."
        )
    if rows != channels:
        raise Wrong(f"the dense layer gets {rows:,} numbers. Expected: {channels}, one a channel.")


def _judge_output(model, calls, parts, plan):
    """Raise Wrong unless the network with known weights is the right line of steps."""
    probes.with_known_weights(model, seed=3)
    parts[1].epsilon = _EPSILON
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, *PICTURE)).astype("float32")
    for training in (False, True):
        steps = _steps(calls, parts, training)
        lines = [line for line in (plan.right, *plan.wrong) if _fits(line, parts[1], calls)]
        expected = {line: probes.follow(line, x, **steps) for line in lines}
        output = ops.convert_to_numpy(model(x, training=training))
        found = [line for line, other in expected.items() if _near(output, other)]
        if plan.right in found:
            continue
        if found and not training:
            raise Wrong(plan.wrong[found[0]])
        if training:
            raise Wrong(
                "in inference your network is right, in training it computes something else. Is "
                "there a layer that only acts in training, or an argument `training`?"
            )
        raise Wrong(plan.otherwise)


def _fits(line, norm, calls):
    """Say whether a batch normalisation has the channels that it gets in a line of steps."""
    behind = "blocks" in line[: line.find("bn")]
    return norm.gamma.shape[0] == (calls[-1].widths[-1] if behind else 16)


def _near(output, other):
    return output.shape == other.shape and np.allclose(output, other, rtol=1e-3, atol=1e-4)


def _steps(calls, parts, training):
    conv, norm, dense = parts
    values = norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance

    def blocks(y):
        for each in calls:
            y = each.layer(y)
        return y

    return {
        "conv": probes.convolution(conv.kernel),
        "bn": probes.normalisation(values, _EPSILON, training),
        "blocks": blocks,
        "average": lambda y: ops.mean(y, axis=(1, 2)),
        "max": lambda y: ops.max(y, axis=(1, 2)),
        "dense": lambda y: ops.matmul(y, dense.kernel) + dense.bias,
        "softmax": ops.softmax,
    }
