"""What a network is, read from the live model: shapes, parameters, cost, reach, signal.

Everything here takes any Keras functional model. Stages are read from layer names such as
`stage2_block1_conv1`, or from those of a ResNet of keras.applications, whose `conv2` is stage 1; a
model whose layers are named otherwise is one stage.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_WITH_KERNEL = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D, *_TRANSPOSED)
_WITH_KERNEL += (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
OTHER = "network"
_STAGE = re.compile(r"(stem|stage\d+|head)(?:_block(\d+))?_")
_BESIDE = re.compile(r"shortcut|_se_dense\d$|_scale$")  # Projections, weights of the channels.
_KERAS_STAGE = re.compile(r"conv(\d)_block(\d+)_")
_KERAS_STEM = re.compile(r"conv1_(pad|conv|bn|relu)|pool1_(pad|pool)")
_KERAS_HEAD = re.compile(r"avg_pool|max_pool|predictions|post_(bn|relu)")


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model: `total` = `trainable` + `non_trainable`."""

    trainable: int
    non_trainable: int

    @property
    def total(self) -> int:
        """All parameters, the moving statistics of batch normalisation among them."""
        return self.trainable + self.non_trainable

    def __str__(self) -> str:
        return (
            f"{self.total:,} parameters: {self.trainable:,} trainable, "
            f"{self.non_trainable:,} not trainable"
        )


def count_parameters(model: keras.Layer) -> ParameterCount:
    """Count a model's parameters.

    Args:
        model: any built Keras model or layer.

    Returns:
        ParameterCount. The moving mean and variance of batch normalisation are not trainable.
    """
    return ParameterCount(_sizes(model.trainable_weights), _sizes(model.non_trainable_weights))


def _sizes(weights):
    return sum(math.prod(weight.shape) for weight in weights)


# What the weights of a layer are by their names; the first kind of layer that fits counts.
_KINDS = (
    (
        layers.BatchNormalization,
        {
            "gamma": "BN scale and shift",
            "beta": "BN scale and shift",
            "moving_mean": "BN statistics",
            "moving_variance": "BN statistics",
        },
    ),
    (layers.Dense, {"kernel": "dense", "bias": "dense"}),
    (_WITH_KERNEL, {"kernel": "kernels", "bias": "biases of convolutions"}),
)
KINDS = ("kernels", "biases of convolutions", "dense", "BN scale and shift", "BN statistics")


def count_by_kind(model: keras.Model) -> dict[str, int]:
    """Count a model's parameters by what they are.

    Args:
        model: a Keras functional model.

    Returns:
        dict, kind -> number of parameters: the kinds of `KINDS` in that order, then "other".

    Raises:
        ValueError: if the model is not a functional one or has another nested in it.
    """
    found = dict.fromkeys((*KINDS, "other"), 0)
    for layer in dict.fromkeys(node.operation for node in _flat_nodes(model)):
        for weight in getattr(layer, "weights", ()):  # An operation, such as x * 2, has none.
            found[_kind(layer, weight.name)] += math.prod(weight.shape)
    return found


def _kind(layer, weight):
    names = next((names for kind, names in _KINDS if isinstance(layer, kind)), {})
    return names.get(weight, "other")


@dataclass(frozen=True)
class FeatureMap:
    """The feature map that a stage outputs.

    Attributes:
        stage: "stem", "stage1", … as the layers are named.
        shape: (height, width, channels) in pixels and channels; None where it is not known.
        blocks: number of residual blocks in the stage; 0 in the stem.
        layer: name of the layer that outputs it.
    """

    stage: str
    shape: tuple[int | None, ...]
    blocks: int
    layer: str

    def __str__(self) -> str:
        size = "x".join(str(side) for side in self.shape)
        count = {0: "", 1: ", 1 block"}.get(self.blocks, f", {self.blocks} blocks")
        return f"{self.stage}: {size}{count}"


def feature_maps(model: keras.Model, input_shape: Sequence | None = None) -> list[FeatureMap]:
    """List the feature map that each stage outputs, from the first to the last.

    Args:
        model: a Keras functional model.
        input_shape: (height, width, channels) to take in place of the model's own.

    Returns:
        list of FeatureMap, one a stage, without the head.

    Raises:
        ValueError: if the model is not a functional one.
    """
    last, blocks = {}, {}
    for node in nodes_of(_at_shape(model, input_shape)):
        name, shape = node.operation.name, node.output_tensors[0].shape
        stage, block = stage_and_block(node.operation)
        is_map = len(shape) == 4 and not isinstance(node.operation, layers.InputLayer)
        if is_map and stage != "head":
            last[stage] = (tuple(shape[1:]), name)
            blocks.setdefault(stage, set()).add(block)
    if _has_stages(last):  # Layers outside of them: preprocessing.
        last.pop(OTHER, None)
    return [
        FeatureMap(stage, shape, len(blocks[stage] - {None}), name)
        for stage, (shape, name) in last.items()
    ]


def _has_stages(names):
    return any(name.startswith("stage") for name in names)


def stage_and_block(operation: keras.Operation) -> tuple[str, str | None]:
    """Return the stage and the number of the block that an operation's name tells, else `OTHER`."""
    if match := _STAGE.match(operation.name):
        return match.groups()
    if match := _KERAS_STAGE.match(operation.name):
        return f"stage{int(match[1]) - 1}", match[2]
    for name, pattern in (("stem", _KERAS_STEM), ("head", _KERAS_HEAD)):
        # Operations are named after their kind alone: any keras.ops.max_pool is "max_pool".
        if isinstance(operation, keras.Layer) and pattern.fullmatch(operation.name):
            return name, None
    return OTHER, None


def _at_shape(model, input_shape):
    """The model itself, or a copy of it with another input shape."""
    nodes_of(model)  # Refuses what is no model.
    if input_shape is None:
        return model
    shapes = input_shape if isinstance(input_shape, list) else [input_shape]
    inputs = [keras.Input(tuple(shape)) for shape in shapes]
    return keras.models.clone_model(model, inputs if len(inputs) > 1 else inputs[0])


def nodes_of(model: keras.Model) -> list:
    """Return the calls of a model's layers, in the order of computation.

    A layer that is shared has a node for each call. Nodes have no public name in Keras; the
    package's own `summary` and `plot_model` read them in this way too.

    Raises:
        ValueError: if it is no functional model, nor a sequential one that is built.
    """
    functional = getattr(model, "_functional", model)  # A sequential model has one inside.
    by_depth = getattr(functional, "_nodes_by_depth", None)
    if by_depth is None:
        raise ValueError(
            "Expected a Keras functional model, or a sequential one that is built. "
            f"Received: {model!r}"
        )
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _flat_nodes(model):
    """The same, for what cannot look into a model that is nested in another."""
    nodes = nodes_of(model)
    for node in nodes:
        if isinstance(node.operation, (keras.Model, layers.Wrapper)):
            raise ValueError(
                f"Expected a flat model. Received: {model.name}, with '{node.operation.name}' "
                "nested in it; take that one, or build the model from the tensors of its layers."
            )
    return nodes


def count_multiply_adds(model: keras.Model, input_shape: Sequence | None = None) -> int:
    """Count the multiply-adds of convolutions, dense layers and attention for one image.

    Biases, batch normalisation, activations and additions are not counted, as in the papers.

    Args:
        model: a Keras functional model, others nested in it or layers shared in it allowed.
        input_shape: (height, width, channels) to take in place of the model's own; needed where
            that has None.

    Returns:
        int, multiply-adds (one multiplication and one addition count as one).

    Raises:
        ValueError: if a height or width is not known, or the model is not a functional one.

    Source: the unit of arXiv 1512.03385, table 1.
    """
    return sum(_node_multiply_adds(node) for node in nodes_of(_at_shape(model, input_shape)))


def _node_multiply_adds(node):
    layer = node.operation
    if isinstance(layer, keras.Model):
        return count_multiply_adds(layer, [tensor.shape[1:] for tensor in node.input_tensors])
    if isinstance(layer, layers.Wrapper):
        raise ValueError(
            "Expected layers that are not inside a wrapper, where they are not counted. "
            f"Received: '{layer.name}'"
        )
    if isinstance(layer, layers.MultiHeadAttention):
        return _attention_multiply_adds(layer, *node.input_tensors[:2])
    kernels = kernels_of(layer)
    if not kernels:
        return 0
    # A transposed convolution applies its kernel at each pixel that comes in.
    tensors = node.input_tensors if isinstance(layer, _TRANSPOSED) else node.output_tensors
    places = _places(tensors[0].shape, layer)
    return sum(places * math.prod(kernel.shape) for kernel in kernels)


def _attention_multiply_adds(layer, query, value):
    """Four dense layers, the products of each query with all keys, and the sums of the values."""
    queries, values = (_places(tensor.shape, layer) for tensor in (query, value))
    dense = [(layer.query_dense, queries), (layer.key_dense, values)]
    dense += [(layer.value_dense, values), (layer.output_dense, queries)]
    seen = math.prod(value.shape[axis] for axis in layer.attention_axes)
    pairs = queries * seen * layer.num_heads
    products = pairs * (layer.key_dim + layer.value_dim)
    return products + sum(places * math.prod(each.kernel.shape) for each, places in dense)


def kernels_of(layer: keras.Operation) -> list:
    """Return the kernels of a convolution or dense layer; of other operations none."""
    if isinstance(layer, _SEPARABLE):
        return [layer.depthwise_kernel, layer.pointwise_kernel]
    return [layer.kernel] if isinstance(layer, _WITH_KERNEL) else []


def _places(shape, layer):
    """At how many places of a tensor a kernel is applied: all axes but batch and channels."""
    channels_first = getattr(layer, "data_format", "") == "channels_first"
    axes = shape[2:] if channels_first else shape[1:-1]
    if None in axes:
        raise ValueError(
            f"Expected the height and width at '{layer.name}', on which its multiply-adds depend: "
            "`input_shape` as (height, width, channels) without None. "
            f"Received: a tensor of shape {tuple(shape)}"
        )
    return math.prod(axes)


def receptive_field(model: keras.Model) -> dict[str, float]:
    """Say how many pixels of the image, across, one pixel of each stage's feature map can see.

    Args:
        model: a Keras functional model.

    Returns:
        dict, stage -> pixels across. The padding's pixels count, so that the number can be larger
        than the image. Of several paths, and of height and width, the widest counts. Behind
        attention, and behind a global average that a feature map is multiplied by, a pixel sees the
        whole image: infinitely many, where its size is not known.

    Raises:
        ValueError: if the model is not a functional one, has another nested in it, or enlarges
            its feature maps.
    """
    reach, step, stages = {}, {}, {}
    nodes, whole = _flat_nodes(model), _longest_side(model)
    for node in nodes:
        sources = [id(tensor) for tensor in node.input_tensors if id(tensor) in reach]
        pixels = max((reach[source] for source in sources), default=1)
        jump = max((step[source] for source in sources), default=1)
        kernel, strides = _window(node.operation)
        if _sees_all(node):
            pixels = max(pixels, whole)
        for tensor in node.output_tensors:
            reach[id(tensor)] = pixels + (kernel - 1) * jump
            step[id(tensor)] = jump * strides
        stages[stage_and_block(node.operation)[0]] = reach[id(node.output_tensors[0])]
    outside = ("head", OTHER) if _has_stages(stages) else ()
    return {stage: pixels for stage, pixels in stages.items() if stage not in outside}


def _longest_side(model):
    """Pixels of the image across; infinitely many where that is open."""
    sides = [side for tensor in model.inputs for side in tensor.shape[1:3]]
    return math.inf if None in sides else max(sides, default=1)


def _sees_all(node):
    """Whether a layer sees the whole image: attention, or a global pooling that stays a map."""
    pooling = isinstance(node.operation, (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D))
    kept = pooling and len(node.output_tensors[0].shape) == 4
    return kept or isinstance(node.operation, layers.MultiHeadAttention)


def _window(layer):
    """Side of a layer's window and its stride, in pixels of its input; (1, 1) if it has none."""
    if isinstance(layer, (*_TRANSPOSED, layers.UpSampling2D, layers.Resizing)):
        raise ValueError(f"Expected layers that keep or reduce the size. Received: '{layer.name}'")
    pool = getattr(layer, "pool_size", 1)  # The stride too, where an operation says nothing else.
    side, dilation = getattr(layer, "kernel_size", pool), getattr(layer, "dilation_rate", 1)
    strides = getattr(layer, "strides", None) or pool
    return (int(np.max(side)) - 1) * int(np.max(dilation)) + 1, int(np.max(strides))


@dataclass(frozen=True)
class Signal:
    """A number for each of a network's layers, from the first to the last.

    Attributes:
        what: what the numbers are, for an axis label.
        layers: names of the layers, tuple of str.
        values: float64 of shape (len(layers),).
    """

    what: str
    layers: tuple[str, ...]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.layers)


def gradient_norms(model: keras.Model, images: np.ndarray, labels: Sequence[int]) -> Signal:
    """Measure the gradient at each layer: the L2 norm of d loss / d kernel.

    One step of training as `fit` would take it: batch normalisation uses the batch's statistics;
    regularizers are left out. Nothing in the model is changed.

    Args:
        model: a Keras functional model whose output is a softmax over classes.
        images: array of shape (batch, height, width, channels), as the model takes them.
        labels: int array of shape (batch,).

    Returns:
        Signal, one value for the kernel of each convolution and dense layer; projections, and what
        only weighs channels or branches, excluded.

    Raises:
        NotImplementedError: where Keras runs on another backend than TensorFlow or JAX.
    """
    kernels = [(layer.name, k) for layer in _main_path(model) for k in kernels_of(layer)]
    variables = [kernel for _, kernel in kernels]
    images = keras.ops.convert_to_tensor(images, "float32")
    labels = keras.ops.convert_to_tensor(np.asarray(labels), "int32")

    def loss(*values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            predictions = model(images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, predictions)
            return keras.ops.mean(losses)

    norms = [np.linalg.norm(gradient) for gradient in gradients(loss, variables)]
    return Signal("norm of the gradient", tuple(name for name, _ in kernels), np.array(norms))


def gradients(function: Callable[..., Any], at: Sequence) -> list[np.ndarray]:
    """Return the gradient of a number by each of the arrays that it is computed from.

    Args:
        function: takes as many tensors as there are in `at`, computes with Keras' operations,
            layers and models, and returns a scalar tensor. What it assigns to variables is not
            kept.
        at: float32 arrays, tensors or Keras variables: where the gradients are taken.

    Returns:
        list of float32 arrays, of the shapes of those in `at`.

    Raises:
        NotImplementedError: where Keras runs on another backend than TensorFlow or JAX.
    """
    backend = keras.backend.backend()
    if backend not in _GRADIENTS:
        raise NotImplementedError(
            "Expected a Keras backend by which gradients are taken here: 'tensorflow' or 'jax'. "
            f"Received: {backend!r}"
        )

    def stateless(*values):
        with keras.StatelessScope():
            return function(*values)

    values = [keras.ops.convert_to_tensor(value, "float32") for value in at]
    return [keras.ops.convert_to_numpy(each) for each in _GRADIENTS[backend](stateless, values)]


def _gradients_on_tensorflow(function, values):
    import tensorflow as tf

    values = [tf.identity(value) for value in values]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        result = function(*values)
    return tape.gradient(result, values)


def _gradients_on_jax(function, values):
    import jax

    # Not compiled as a whole: that takes longer, and the single operations stay compiled.
    return jax.grad(function, argnums=tuple(range(len(values))))(*values)


_GRADIENTS = {"tensorflow": _gradients_on_tensorflow, "jax": _gradients_on_jax}


def _main_path(model):
    """The layers with a kernel that count towards the depth, in order: none that stand beside."""
    found = [node.operation for node in _flat_nodes(model) if kernels_of(node.operation)]
    return [layer for layer in dict.fromkeys(found) if not _BESIDE.search(layer.name)]


def activation_variances(
    model: keras.Model,
    images: np.ndarray,
    *,
    layers_named: str = r"(re_?lu|add|out)_?\d*$",
    training: bool = True,
) -> Signal:
    """Measure the variance of what chosen layers output, over batch, pixels and channels.

    Args:
        model: a Keras functional model.
        images: array of shape (batch, height, width, channels), as the model takes them.
        layers_named: regular expression; a layer whose name matches is measured. Without it: every
            ReLU and every addition.
        training: True: batch normalisation uses the batch's statistics, as in training.

    Returns:
        Signal, one value for each layer measured.

    Raises:
        ValueError: if no layer's name matches.
    """
    chosen = [node for node in _flat_nodes(model) if re.search(layers_named, node.operation.name)]
    if not chosen:
        some = ", ".join(layer.name for layer in model.layers[:5])
        raise ValueError(
            "Expected `layers_named` to match the name of a layer or operation. "
            f"Received: {layers_named!r}; names begin with {some}, …"
        )
    probe = keras.Model(model.input, [node.output_tensors[0] for node in chosen])
    with keras.StatelessScope():  # What training changes is not kept.
        outputs = probe(keras.ops.convert_to_tensor(images, "float32"), training=training)
    variances = [float(keras.ops.var(output)) for output in keras.tree.flatten(outputs)]
    names = tuple(node.operation.name for node in chosen)
    return Signal("variance of the activations", names, np.array(variances))
