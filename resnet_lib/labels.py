"""What a layer or an operation is called in a picture, from its settings: a Box for each.

A layer of a class that is not Keras' own goes by the name of its class: what it does is not known.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Box:
    """A layer, an operation, or the activation inside a layer.

    Attributes:
        label: a few words, as "conv 3x3, 16, /2".
        told: the same for a sentence, as "3x3 convolution with stride 2".
        kind: "conv", "dense", "norm", "activation", "pool", "sum", "join" or "other"; where paths
            meet, "sum" if it has a sign, as an addition, else "join".
        shape: what it outputs, without the batch.
        work: how much it weighs when the branch is told from the skip; 0 without weights.
    """

    label: str
    told: str
    kind: str = "other"
    shape: Shape = ()
    work: int = 0


def size(shape: Shape) -> str:
    """Write a shape without the batch: (16, None, 32) is "16x?x32"."""
    return "x".join("?" if side is None else str(side) for side in shape)


def boxes_of(call: Any, before: Shape) -> Iterator[Box]:
    """Yield the box of a call, and another for the activation that is inside some layers.

    Args:
        call: `graphs.Call`.
        before: shape of what it takes, without the batch.
    """
    operation = call.operation
    known = type(operation).__module__.startswith("keras.")
    describe = _KINDS.get(type(operation).__name__, _other) if known else _own
    box = describe(operation, call, before)
    yield Box(*box[:3], call.shape, *box[3:])
    inside = getattr(operation, "activation", None) if describe in _WITH_ACTIVATION else None
    if inside is not None and inside is not keras.activations.linear:
        yield Box(*_activation_named(_function_name(inside)), call.shape)


def _function_name(function):
    return getattr(function, "__name__", type(function).__name__)


_ACTIVATIONS = {"relu": "ReLU", "re_lu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU"}
_ACTIVATIONS |= {"elu": "ELU", "gelu": "GELU", "selu": "SELU", "silu": "SiLU", "swish": "SiLU"}


def _activation_named(name):
    label = _ACTIVATIONS.get(name, name.replace("_", " "))
    return label, label, "activation"


def activates(call: Any) -> bool:
    """Say whether a call is a ReLU or another activation."""
    return next(iter(boxes_of(call, call.shape))).kind == "activation"


def _activation(operation, call, before):
    function = getattr(operation, "activation", None)
    name = _function_name(function) if function else type(operation).__name__.lower()
    return _activation_named(name)


def _relu(operation, call, before):
    most, slope = getattr(operation, "max_value", None), getattr(operation, "negative_slope", 0)
    if slope:
        return _activation_named("leaky_relu")
    label = "ReLU" if most is None else f"ReLU up to {most:g}"
    return label, label, "activation"


def _by(sides):
    return "x".join(map(str, sides))


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _step(strides, shape, separator=", /"):
    """ ", /2" for strides of 2; nothing for 1."""
    strides = tuple(strides)
    if set(strides) == {1}:
        return ""
    return separator + (str(strides[0]) if len(set(strides)) == 1 else _by(strides))


def _conv(operation, call, before, word="conv", told="convolution"):
    kernel = getattr(operation, "kernel_size", None)
    if kernel is None:  # An operation: its kernel is an argument.
        arguments = call.node.arguments
        kernel = (*arguments.args[1:2], arguments.kwargs.get("kernel"))[0].shape[:-2]
    kernel = tuple(kernel)
    strides = _pair(getattr(operation, "strides", 1))[: len(kernel)]
    strides = strides if operation.strides is not None else (1,)
    first = getattr(operation, "data_format", "") == "channels_first"
    channels = call.shape[0 if first else -1]
    label = f"{word} {_by(kernel)}, {channels}{_step(strides, kernel)}"
    told = f"{_by(kernel)} {told}{_step(strides, kernel, ' with stride ')}"
    dilation = set(_pair(getattr(operation, "dilation_rate", 1)))
    if dilation != {1}:
        label, told = f"{label}, dilated", f"{told}, dilated by {max(dilation)}"
    groups = getattr(operation, "groups", 1)
    if groups != 1 and groups is not None:
        label, told = f"{label}, {groups} groups", f"{told} in {groups} groups"
    work = 1000
    for side in kernel:
        work += side
    return label, told, "conv", work


def _transposed(operation, call, before):
    label, *rest = _conv(operation, call, before, "transposed conv", "transposed convolution")
    return label.replace(", /", ", up "), *rest


def _depthwise(operation, call, before):
    return _conv(operation, call, before, "depthwise", "depthwise convolution")


def _separable(operation, call, before):
    return _conv(operation, call, before, "separable", "separable convolution")


def _dense(operation, call, before):
    told = f"dense layer of {operation.units}"
    return f"dense {operation.units}", told, "dense", 1001


def _norm(operation, call, before):
    name = type(operation).__name__.removesuffix("Normalization")
    label = "BN" if name == "Batch" else f"{name.lower()} norm"
    return label, label, "norm"


def ordinal(number: int) -> str:
    """Return 1 as "first", 2 as "2nd" and so on."""
    return {1: "first", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _every(strides):
    same = len(set(strides)) == 1
    label = f"every {ordinal(strides[0])} pixel" if same else f"one in {_by(strides)} pixels"
    return label, f"a choice of {label}", "other"


def _pool(operation, call, before):
    maximum = type(operation).__name__.startswith("Max")
    pool = _pair(operation.pool_size)
    strides = _pair(operation.strides) if operation.strides is not None else pool
    if set(pool) == {1}:
        if set(strides) == {1}:
            return "identity", "an identity", "other"
        return _every(strides)
    word = "max" if maximum else "average"
    told = f"{_by(pool)} {word} pooling{_step(strides, pool, ' with stride ')}"
    return f"{word} pooling {_by(pool)}{_step(strides, pool)}", told, "pool"


def _global(operation, call, before):
    word = "maximum" if "Max" in type(operation).__name__ else "average"
    return f"global {word}", f"global {word}", "pool"


def _mean(operation, call, before):
    axes = operation.axis if isinstance(operation.axis, (tuple, list)) else [operation.axis]
    if len(before) == 3 and None not in axes and {axis % 4 for axis in axes} == {1, 2}:
        return "global average", "global average", "pool"
    return "mean", "mean", "pool"


def _padding(operation, call, before):
    mode = getattr(operation, "mode", "constant")
    value = call.node.arguments.kwargs.get("constant_values")
    if mode != "constant" or value not in (None, 0):
        return f"padding ({mode})", f"padding ({mode})", "other"
    if before[:-1] == call.shape[:-1]:
        return _zeros(call, before)
    if before[-1] == call.shape[-1] and None not in (*before, *call.shape):
        more = {after - now for now, after in zip(before[:-1], call.shape[:-1], strict=True)}
        width = more.pop() if len(more) == 1 else 1
        if width % 2 == 0:
            return f"zeros around, {width // 2}", f"zeros around it, {width // 2} wide", "other"
    return "zeros", "zeros around it", "other"


def _zeros(call, before):
    more = call.shape[-1] - before[-1]
    if not more:  # Along another axis.
        return "zeros", "zeros behind it", "other"
    return f"zeros, {more} channels", f"zeros for {more} more channels", "other"


def _get_item(operation, call, before):
    arguments = call.node.arguments
    key = (*arguments.args[1:2], arguments.kwargs.get("key"))[0]
    key = key if isinstance(key, tuple) else (key,)
    plain = [isinstance(each, slice) and each.start in (None, 0) for each in key]
    if all(plain) and len(key) >= 3 and all(each.stop is None for each in key):
        steps = [1 if each.step is None else each.step for each in key]
        if steps[1] == steps[2] > 1 and set(steps[:1] + steps[3:]) == {1}:
            return _every(steps[1:3])
    return "part of it", "a part of it", "other"


_SIGNS = {"Add": ("+", "added"), "Multiply": ("×", "multiplied"), "Subtract": ("−", "subtracted")}
_JOINS = {"Concatenate": ("concatenate", "concatenated"), "Average": ("mean", "averaged")}
_JOINS |= {"Maximum": ("maximum", "compared, the larger taken")}
_JOINS |= {"Minimum": ("minimum", "compared, the smaller taken")}


def is_join(call: Any) -> bool:
    """Say whether a call takes more than one tensor."""
    return len(call.sources) > 1


def _sign(operation, call, before):
    label, told = _SIGNS[type(operation).__name__]
    if is_join(call):
        return label, told, "sum"
    what = _constant(call.node.input_tensors)
    return f"{label} {what}", f"{what} {told}", "other"


def _constant(tensors):
    """Say what is multiplied or added beside the one path: weights that a layer has, or numbers."""
    trained = [t for t in tensors if isinstance(t._keras_history.operation, keras.layers.Dense)]
    if len(tensors) < 2 or not trained:
        return "a constant"
    one = trained[-1].shape[-1] == 1
    return "a trained number" if one else "a trained number a channel"


def is_filled(call: Any) -> bool:
    """Say whether a call is `keras.ops.zeros_like` or `ones_like`."""
    return type(call.operation).__name__ in ("ZerosLike", "OnesLike")


def is_attention(operation: Any) -> bool:
    """Say whether a layer is attention with several heads, or one."""
    return isinstance(operation, keras.layers.MultiHeadAttention)


def is_concatenation(call: Any) -> bool:
    """Say whether a call concatenates."""
    return type(call.operation).__name__ == "Concatenate"


def _join(operation, call, before):
    if not is_join(call) and is_concatenation(call):  # The rest of it is zeros.
        return _zeros(call, before)
    label, told = _JOINS[type(operation).__name__]
    return label, told, "join"


def _words(operation):
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(operation).__name__).lower()
    return re.sub(r"\s?\dd$", "", words)


def _other(operation, call, before):
    return _words(operation), _words(operation), "join" if is_join(call) else "other"


def _own(operation, call, before):
    name = type(operation).__name__
    return name, f"layer {name}", "join" if is_join(call) else "other"


def _dropout(operation, call, before):
    whole = set((operation.noise_shape or (0, 0))[1:]) == {1}
    label = f"dropout {'of the branch, ' * whole}{operation.rate:.3g}"
    return label, label, "other"


def _attention(operation, call, before):
    heads = f"{operation.num_heads} head{'s' * (operation.num_heads > 1)}"
    if is_join(call):
        return f"attention, {heads}", f"attention with {heads}", "join"
    return f"self-attention, {heads}", f"self-attention with {heads}", "dense", 4004


_KINDS: dict[str, Callable] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv"), _conv),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D", "DepthwiseConv"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D", "SeparableConv"), _separable),
    "Dense": _dense,
    **dict.fromkeys((f"{kind}Normalization" for kind in ("Batch", "Layer", "Group")), _norm),
    **dict.fromkeys(("ReLU", "Relu", "LeakyReLU", "LeakyRelu"), _relu),
    **dict.fromkeys(("Activation", "Softmax", "Sigmoid", "Tanh", "Silu", "Gelu"), _activation),
    **dict.fromkeys((f"{kind}Pooling{d}D" for kind in ("Max", "Average") for d in "123"), _pool),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys((f"Global{k}Pooling{d}D" for k in ("Max", "Average") for d in "123"), _global),
    "Mean": _mean,
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Pad"), _padding),
    "GetItem": _get_item,
    **dict.fromkeys(("Dropout", "SpatialDropout2D"), _dropout),
    "MultiHeadAttention": _attention,
    **dict.fromkeys(_SIGNS, _sign),
    **dict.fromkeys(_JOINS, _join),
}
_WITH_ACTIVATION = (_conv, _transposed, _depthwise, _separable, _dense)
