"""Answers to the exercises of notebook 04; see test_workshop.py."""

from functools import partial

import keras
from keras import layers, ops

import resnet_lib as rl
from resnet_lib import blocks
from resnet_lib.exercises import notebook04

# What a reader may build with


def bn_relu(x, name):
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))


def conv(x, filters, kernel_size=3, strides=1, *, name, **options):
    options = dict(padding="same", use_bias=False, kernel_initializer="he_normal") | options
    return layers.Conv2D(filters, kernel_size, strides, name=name, **options)(x)


def branch_of(y, filters, filters_out, strides, name, at=(True, False, False)):
    """Three convolutions; `at` says which of them takes the stride."""
    first, second, third = (strides if here else 1 for here in at)
    y = conv(y, filters, 1, first, name=f"{name}_conv1")
    y = conv(bn_relu(y, f"{name}_2"), filters, 3, second, name=f"{name}_conv2")
    return conv(bn_relu(y, f"{name}_3"), filters_out, 1, third, name=f"{name}_conv3")


def add(*tensors):
    return layers.Add()(list(tensors))


# 04-fault-skip


def bottleneck(x, filters, filters_out, name):
    return add(x, branch_of(bn_relu(x, f"{name}_1"), filters, filters_out, 1, name))


def by_operators(x, filters, filters_out, name):
    y, widths = x, ((filters, 1), (filters, 3), (filters_out, 1))
    for i, (width, side) in enumerate(widths):
        y = ops.relu(layers.BatchNormalization(epsilon=1e-5, name=f"{name}_b{i}")(y))
        y = layers.Conv2D(width, side, padding="same", use_bias=False, name=f"{name}_c{i}")(y)
    return y + x


def faulty(x, filters, filters_out, name):
    x = bn_relu(x, f"{name}_1")
    return add(x, branch_of(x, filters, filters_out, 1, name))


def relu_behind(x, filters, filters_out, name):
    return layers.ReLU()(bottleneck(x, filters, filters_out, name))


def normalised_skip(x, filters, filters_out, name):
    x = layers.BatchNormalization(name=f"{name}_1_bn")(x)
    return add(x, branch_of(layers.ReLU()(x), filters, filters_out, 1, name))


def without_skip(x, filters, filters_out, name):
    return branch_of(bn_relu(x, f"{name}_1"), filters, filters_out, 1, name)


def without_first_norm(x, filters, filters_out, name):
    return add(x, branch_of(layers.ReLU()(x), filters, filters_out, 1, name))


def as_in_v1(x, filters, filters_out, name):
    y = bn_relu(conv(x, filters, 1, name=f"{name}_a"), f"{name}_1")
    y = bn_relu(conv(y, filters, 3, name=f"{name}_b"), f"{name}_2")
    y = layers.BatchNormalization(name=f"{name}_bn3")(conv(y, filters_out, 1, name=f"{name}_c"))
    return layers.ReLU()(add(x, y))


def nameless(x, filters, filters_out, name):
    return bottleneck(x, filters, filters_out, "block")


def in_inference(x, filters, filters_out, name):
    y = layers.BatchNormalization(name=f"{name}_bn")(x, training=False)
    return add(x, branch_of(layers.ReLU()(y), filters, filters_out, 1, name))


# 04-first-block


def first(x, filters, filters_out, strides, name, at=(True, False, False)):
    x = bn_relu(x, f"{name}_1")
    y = branch_of(x, filters, filters_out, strides, name, at)
    return add(conv(x, filters_out, 1, strides, name=f"{name}_shortcut"), y)


def first_of_layers(x, filters, filters_out, strides, name):
    activate = [layers.BatchNormalization(), layers.Activation("relu")]
    x = keras.Sequential(activate, name=f"{name}_a")(x)
    shortcut = layers.Conv2D(filters_out, 1, strides, use_bias=False, name=f"{name}_s")(x)
    return branch_of(x, filters, filters_out, strides, name) + shortcut


def raw_projection(x, filters, filters_out, strides, name):
    y = branch_of(bn_relu(x, f"{name}_1"), filters, filters_out, strides, name)
    return add(conv(x, filters_out, 1, strides, name=f"{name}_shortcut"), y)


def normalised_projection(x, filters, filters_out, strides, name):
    x = bn_relu(x, f"{name}_1")
    shortcut = conv(x, filters_out, 1, strides, name=f"{name}_shortcut")
    shortcut = layers.BatchNormalization(name=f"{name}_shortcut_bn")(shortcut)
    return add(shortcut, branch_of(x, filters, filters_out, strides, name))


def wide_projection(x, filters, filters_out, strides, name):
    x = bn_relu(x, f"{name}_1")
    y = branch_of(x, filters, filters_out, strides, name)
    return add(conv(x, filters_out, 3, strides, name=f"{name}_shortcut"), y)


def no_stride(x, filters, filters_out, strides, name):
    x = bn_relu(x, f"{name}_1")
    y = branch_of(x, filters, filters_out, strides, name)
    return add(conv(x, filters_out, 1, name=f"{name}_shortcut"), y)


def with_biases(x, filters, filters_out, strides, name):
    x = bn_relu(x, f"{name}_1")
    y = branch_of(x, filters, filters_out, strides, name)
    return add(conv(x, filters_out, 1, strides, name=f"{name}_shortcut", use_bias=True), y)


def cut_behind(x, filters, filters_out, strides, name):
    return layers.ReLU()(first(x, filters, filters_out, strides, name))


# 04-builder

WIDTHS = ((16, 64), (32, 128), (64, 256))


def network(
    depth,
    first,
    block,
    *,
    widths=WIDTHS,
    strides=(1, 2, 2),
    stem="conv",
    end="bn relu",
    n_of=lambda depth: (depth - 2) // 9,
    pool=layers.GlobalAveragePooling2D,
    activation="softmax",
):
    """A builder of which each part can be another one."""
    inputs = keras.Input((32, 32, 3))
    x = steps(inputs, stem)
    for stage, (mid, out) in enumerate(widths, start=1):
        x = first(x, mid, out, strides[stage - 1], name=f"stage{stage}_block1")
        for number in range(2, n_of(depth) + 1):
            x = block(x, mid, out, name=f"stage{stage}_block{number}")
    x = pool()(steps(x, end))
    return keras.Model(inputs, layers.Dense(10, activation=activation)(x))


def steps(x, line):
    conv = partial(layers.Conv2D, 16, 3, padding="same", use_bias=False)
    known = {"conv": conv, "bn": layers.BatchNormalization, "relu": layers.ReLU}
    for step in line.split():
        x = known[step]()(x)
    return x


def written_out(depth, first, block):
    inputs = keras.Input((32, 32, 3))
    x, n = steps(inputs, "conv"), depth // 9
    for i in range(3 * n):
        mid = 16 * 2 ** (i // n)
        if i % n:
            x = block(x, mid, 4 * mid, f"block{i}")
        else:
            x = first(x, filters=mid, filters_out=4 * mid, strides=2 if i else 1, name=f"block{i}")
    x = ops.relu(layers.BatchNormalization()(x))
    x = layers.Dense(10, activation="softmax")(ops.mean(x, axis=(1, 2)))
    return keras.Model(inputs, x)


def ignoring_strides(block):
    return lambda x, filters, filters_out, strides, name: block(x, filters, filters_out, name)


def only_blocks(depth, first, block):
    return network(depth, ignoring_strides(block), block)


def only_firsts(depth, first, block):
    return network(depth, first, partial(first, strides=1))


def one_first(depth, first, block):
    calls = iter([first])

    def begin(*args, **named):
        return next(calls, ignoring_strides(block))(*args, **named)

    return network(depth, begin, block)


# 04-project


def scaled(factor, which=("conv1", "conv2"), **options):
    options = {"depth": 56, "form": "paper", "block": "basic"} | options
    model = rl.resnet_v2((32, 32, 3), **options)
    for layer in model.layers:
        if "block" in layer.name and layer.name.endswith(which):
            layer.kernel.assign(factor * layer.kernel)
    return model


def initialised():
    """The same by an initialiser: he_normal has a scale of 2."""

    def convolution(x, filters, kernel_size=3, strides=1, *, name):
        start = keras.initializers.VarianceScaling(2 * 0.3**2, "fan_in", "truncated_normal")
        options = dict(padding="same", use_bias=False, kernel_initializer=start, name=name)
        return layers.Conv2D(filters, kernel_size, strides, **options)(x)

    block = partial(blocks.preactivation_basic_block, conv=convolution, shortcut="A")
    inputs = keras.Input((32, 32, 3))
    x = blocks.convolution(inputs, 16, name="stem_conv")
    for stage, filters in enumerate((16, 32, 64), start=1):
        begin = partial(block, preactivation="shared")
        options = dict(first=begin, strides=min(stage, 2), name=f"stage{stage}")
        x = blocks.stack(x, filters, 9, block, **options)
    return keras.Model(inputs, blocks.head(blocks.bn_relu(x, name="head"), 10))


RIGHT = {
    "04-fault-skip": [bottleneck, by_operators],
    "04-first-block": [first, first_of_layers],
    "04-builder": [network, written_out],
    "04-project": [notebook04.even_network, initialised],
}
WRONG = {
    "04-fault-skip": [
        (relu_behind, "a ReLU follows the addition"),
        (normalised_skip, "what comes out of the first batch normalisation"),
        (without_skip, "the skip is not added"),
        (without_first_norm, "have these channels: 4, 4"),
        (as_in_v1, "as in v1"),
        (nameless, "do not bear its name"),
        (in_inference, "training=False"),
    ],
    "04-first-block": [
        (raw_projection, "the projection takes the raw stream"),
        (normalised_projection, "a fourth batch normalisation"),
        (wide_projection, "the projection is a 3x3 convolution"),
        (no_stride, "with the shapes"),
        (partial(first, at=(False, True, False)), "is on the 3x3 convolution"),
        (partial(first, at=(False, False, True)), "is on the last convolution"),
        (with_biases, "have biases"),
        (cut_behind, "a ReLU follows the addition"),
    ],
    "04-builder": [
        (partial(network, end=""), "has 0 batch normalisations"),
        (partial(network, stem="conv bn relu"), "has 2 batch normalisations"),
        (partial(network, stem="conv bn relu", end=""), "as in v1"),
        (partial(network, end="bn"), "no ReLU follows the batch normalisation"),
        (partial(network, end="relu bn"), "comes after the ReLU"),
        (partial(network, stem="conv relu"), "a ReLU follows the stem"),
        (partial(network, strides=(2, 2, 2)), "stage 1 has a stride"),
        (partial(network, strides=(1, 1, 2)), "stage 2 has no stride"),
        (partial(network, widths=((16, 64), (64, 128), (128, 256))), "the mid-widths are"),
        (partial(network, widths=((64, 16), (128, 32), (256, 64))), "exchanged"),
        (partial(network, n_of=lambda depth: (depth - 2) // 6), "asks for"),
        (partial(network, activation=None), "without a softmax"),
        (only_blocks, "`first` is never called"),
        (only_firsts, "Expected: first, block"),
        (one_first, "`first` is called once"),
    ],
    "04-project": [
        (partial(scaled, 1), "times the smallest. At most 5"),
        (partial(scaled, 0, which="conv2"), "no gradient at all"),
        (partial(scaled, 1, depth=20), "19"),
        (partial(scaled, 1, form="example"), "trainable parameters"),
        (lambda: rl.resnet_v1((32, 32, 3), 56, form="paper"), "that is v1"),
    ],
}
STUBS = {
    "04-fault-skip": faulty,
    "04-first-block": lambda x, filters, filters_out, strides, name: ...,
    "04-builder": lambda depth, first, block: ...,
    "04-project": lambda: ...,
}
SLOW = {"04-project"}
