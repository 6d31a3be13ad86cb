"""Answers to the exercises of notebook 05; see test_workshop.py."""

import resnet_lib as rl
from resnet_lib import blocks
from resnet_lib.exercises import notebook05
from resnet_lib.exercises.notebook05 import conv_bn

# After resnet_lib, which prepares the environment for TensorFlow.
import keras  # isort: skip
import numpy as np  # isort: skip
from keras import layers, ops  # isort: skip

# 05-bottleneck


def bottleneck(
    x, filters, strides, name, at=0, project=None, wide=4, relus=(1, 1, 0, 1), prefix="conv"
):
    """A bottleneck block; each option is a mistake."""
    out, skip = wide * filters, x
    steps = [1, 1, 1]
    steps[at] = strides
    y = x
    for index, (width, kernel) in enumerate(((filters, 1), (filters, 3), (out, 1))):
        y = conv_bn(y, width, kernel, steps[index], name=f"{name}_{prefix}{index + 1}")
        y = layers.ReLU()(y) if relus[index] else y
    needed = strides > 1 or x.shape[-1] != out if project is None else project(x, strides)
    if needed:
        skip = conv_bn(x, out, 1, strides, name=f"{name}_shortcut_conv")
    y = layers.Add()([skip, y])
    return layers.ReLU()(y) if relus[3] else y


def by_operators(x, filters, strides=1, *, name):
    """The block with operators and functions in place of layers, the skip last."""
    y = ops.relu(conv_bn(x, filters, 1, strides, name=name + "_conv1"))
    y = ops.relu(conv_bn(y, filters, 3, 1, name=name + "_conv2"))
    y = conv_bn(y, filters * 4, 1, 1, name=name + "_conv3")
    if (x.shape[1], x.shape[-1]) != (y.shape[1], y.shape[-1]):
        x = conv_bn(x, filters * 4, 1, strides, name=name + "_shortcut_conv")
    return ops.maximum(y + x, 0)


class Block(layers.Layer):
    """The block as one layer."""

    def __init__(self, filters, strides, **options):
        super().__init__(**options)
        self.filters, self.strides = filters, strides

    def build(self, shape):
        inputs = keras.Input(shape[1:])
        outputs = notebook05.bottleneck_block(inputs, self.filters, self.strides, self.name)
        self.model = keras.Model(inputs, outputs)
        self.built = True

    def call(self, x, training=False):
        return self.model(x, training=training)


def in_one_layer(x, filters, strides, name):
    return Block(filters, strides, name=name)(x)


def with_default_epsilon(x, filters, strides, name):
    return blocks.bottleneck_block(x, filters, strides, name=name)


def with_biases(x, filters, strides, name):
    def conv(*args, **options):
        return blocks.convolution(*args, **options | {"use_bias": True})

    return blocks.bottleneck_block(x, filters, strides, conv=conv, name=name)


def mistaken(function, **options):
    """Return a function with some of its options bound."""
    return lambda *args, **named: function(*args, **named, **options)


BOTTLENECKS = [
    (mistaken(bottleneck, at=1), "the variant called v1.5"),
    (mistaken(bottleneck, at=2), "four times the cost"),
    (mistaken(bottleneck, project=lambda x, strides: strides > 1), "outputs 256"),
    (mistaken(bottleneck, project=lambda x, strides: True), "shortcut C"),
    (mistaken(bottleneck, project=lambda x, strides: False), "Has the projection the stride"),
    (mistaken(bottleneck, wide=1), "`filters` is the mid-width"),
    (mistaken(bottleneck, relus=(1, 1, 0, 0)), "there is no ReLU after the addition"),
    (mistaken(bottleneck, relus=(1, 1, 1, 0)), "on the branch, before the addition"),
    (mistaken(bottleneck, relus=(1, 1, 1, 1)), "take nothing away"),
    (mistaken(bottleneck, relus=(0, 0, 0, 1)), "one linear layer"),
    (mistaken(bottleneck, relus=(1, 0, 0, 1)), "behind the 3x3 convolution"),
    (mistaken(bottleneck, prefix="convolution"), "by these names"),
    (in_one_layer, "in a Block, where get_layer does not find them"),
    (with_default_epsilon, "epsilon"),
    (with_biases, "has biases"),
]

# 05-network


def network(
    stem,
    block,
    units,
    input_shape=(224, 224, 3),
    num_classes=1000,
    mid=lambda stage: 64 * 2**stage,
    stride=lambda stage, number: 2 if stage and not number else 1,
    first=1,
    blocks=None,
    pool=layers.GlobalAveragePooling2D,
    softmax="softmax",
    chain=True,
    dense="head_dense",
):
    """A ResNet; each option is a mistake."""
    inputs = keras.Input(input_shape)
    x = begun = stem(inputs)
    for stage, n in enumerate(blocks or units):
        for number in range(n):
            name = f"stage{stage + first}_block{number + first}"
            x = block(x if chain else begun, mid(stage), stride(stage, number), name=name)
    return keras.Model(inputs, layers.Dense(num_classes, softmax, name=dense)(pool()(x)))


def unrolled(stem, block, units, input_shape=(224, 224, 3), num_classes=1000):
    """The same without the loops' arithmetic, with the library's `stack`."""
    inputs = keras.Input(input_shape)
    x = stem(inputs)
    for name, filters, n, strides in zip(
        ("stage1", "stage2", "stage3", "stage4"),
        (64, 128, 256, 512),
        units,
        (1, 2, 2, 2),
        strict=True,
    ):
        x = blocks.stack(x, filters, n, block, strides=strides, name=name)
    x = layers.Dense(num_classes, name="head_dense")(ops.mean(x, axis=(1, 2)))
    return keras.Model(inputs, layers.Softmax()(x))


NETWORKS = [
    (mistaken(network, blocks=(3, 4, 6, 3)), "those of ResNet-50"),
    (mistaken(network, blocks=(1, 1, 1, 1)), "has 4 blocks"),
    (mistaken(network, mid=lambda stage: 256 * 2**stage), "four times the mid-widths"),
    (mistaken(network, mid=lambda stage: 64), "double from stage to stage"),
    (mistaken(network, stride=lambda stage, number: 1), "no block has a stride of 2"),
    (mistaken(network, stride=lambda stage, number: 1 + (number == 0)), "stage 1 begins with"),
    (mistaken(network, stride=lambda stage, number: 1 + (stage > 0)), "every block of stages"),
    (mistaken(network, first=0), "counted from 1"),
    (mistaken(network, pool=layers.Flatten), "Average each channel"),
    (mistaken(network, pool=layers.GlobalMaxPooling2D), "each channel's maximum"),
    (mistaken(network, softmax=None), "outputs class scores"),
    (mistaken(network, dense="predictions"), "'head_dense'"),
    (mistaken(network, chain=False), "what the block before it returns"),
    (lambda *args: network(*args[:3]), "The size of the pictures is an argument"),
]

# 05-copy


def copied(mine, theirs, mean=lambda mean, bias: mean - bias, beta=None, dense=True, norm=True):
    """Copy weights by name; each option is a mistake."""
    for layer in mine.layers:
        if not layer.weights or (isinstance(layer, layers.Dense) and not dense):
            continue
        name = rl.imagenet.keras_name(layer.name)
        weights = theirs.get_layer(name).get_weights()
        if isinstance(layer, layers.Conv2D):
            weights = weights[:1]
        if isinstance(layer, layers.BatchNormalization):
            if not norm:
                continue
            bias = theirs.get_layer(name.replace("bn", "conv")).get_weights()[1]
            if beta:
                weights[1] = beta(*weights, bias)
            weights[2] = mean(weights[2], bias)
        layer.set_weights(weights)


def by_assignment(mine, theirs):
    """The same by variables, from theirs to mine."""
    ours = {rl.imagenet.keras_name(layer.name): layer for layer in mine.layers}
    for layer in theirs.layers:
        if isinstance(layer, layers.Conv2D):
            ours[layer.name].kernel.assign(layer.kernel)
    for layer in theirs.layers:
        if isinstance(layer, layers.BatchNormalization):
            convolution = theirs.get_layer("conv".join(layer.name.rsplit("bn", 1)))
            normalise = ours[layer.name]
            normalise.gamma.assign(layer.gamma)
            normalise.beta.assign(layer.beta)
            normalise.moving_mean.assign(layer.moving_mean - convolution.bias)
            normalise.moving_variance.assign(layer.moving_variance)
    mine.get_layer("head_dense").set_weights(theirs.get_layer("predictions").get_weights())


def into_beta(gamma, beta, mean, variance, bias):
    return beta + gamma * bias / np.sqrt(variance + 1e-5)


def by_order(mine, theirs):
    for kind in (layers.Conv2D, layers.BatchNormalization, layers.Dense):
        pairs = ([x for x in model.layers if isinstance(x, kind)] for model in (mine, theirs))
        for one, other in zip(*pairs, strict=True):
            weights = other.get_weights()
            one.set_weights(weights[:1] if kind is layers.Conv2D else weights)


def back_to_front(mine, theirs):
    copied(mine, theirs)
    theirs.set_weights([0 * weight for weight in theirs.get_weights()])


COPIES = [
    (mistaken(copied, mean=lambda mean, bias: mean), "the biases are lost"),
    (mistaken(copied, mean=lambda mean, bias: mean + bias), "the wrong sign"),
    (
        mistaken(copied, mean=lambda mean, bias: mean, beta=into_beta),
        "The bias is in `beta` now",
    ),
    (mistaken(copied, dense=False), "the dense layer at the end"),
    (mistaken(copied, norm=False), "gamma, beta or the moving statistics"),
    (lambda mine, theirs: theirs.get_weights()[0], "Change `mine` itself"),
    (by_order, "go by name, as the order"),
    (back_to_front, "changes `theirs`"),
    (lambda mine, theirs: mine.set_weights(theirs.get_weights()), "your function raised"),
    (lambda mine, theirs: theirs.get_layer("stem_conv"), "No such layer"),
]

# 05-fault-stem


def stem(x, pads=(3, 1), relu=True, pool=layers.MaxPooling2D, name="stem_conv"):
    """A stem; each option is a mistake, a pad of None is padding="same"."""
    first, second = pads
    x = layers.ZeroPadding2D(first)(x) if first else x
    x = conv_bn(x, 64, 7, 2, padding="valid" if first is not None else "same", name=name)
    x = layers.ReLU()(x) if relu else x
    x = layers.ZeroPadding2D(second)(x) if second else x
    return pool(3, strides=2, padding="valid" if second is not None else "same")(x)


def padded_by_hand(x):
    """The same with keras.ops."""
    x = ops.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    x = ops.relu(conv_bn(x, 64, 7, strides=2, padding="valid", name="stem_conv"))
    return ops.max_pool(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), 3, 2, padding="valid")


STEMS = [
    (mistaken(stem, pads=(None, 1)), "the pooling is repaired"),
    (mistaken(stem, pads=(3, None)), "the convolution is repaired"),
    (mistaken(stem, relu=False), "the ReLU is missing"),
    (mistaken(stem, pads=(0, 0)), "your stem outputs"),
    (mistaken(stem, pool=layers.AveragePooling2D), "an average is taken"),
    (mistaken(stem, pads=(((3, 2), (3, 2)), ((1, 0), (1, 0))), relu=False), "is missing."),
    (mistaken(stem, name="conv1_conv"), "what is no weight is to be repaired"),
]

# 05-project


def small(strides=(2, 2, 2, 1, 1, 1), side=64, block=notebook05.bottleneck_block, units=3):
    """A ResNet-50 with strides of convolution, maximum, and stages 1 to 4."""
    convolution, maximum, *stages = strides
    inputs = keras.Input((side, side, 3))
    x = layers.ReLU()(conv_bn(inputs, 64, 7, convolution, name="stem_conv"))
    x = layers.MaxPooling2D(3, strides=maximum, padding="same")(x)
    for stage, n in enumerate((3, 4, 6, units)):
        for number in range(n):
            step = 1 if number else stages[stage]
            x = block(x, 64 * 2**stage, step, name=f"stage{stage + 1}_block{number + 1}")
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(1000, "softmax")(x))


def of(**options):
    return lambda: small(**options)


PROJECTS = [
    (of(strides=(2, 2, 1, 2, 2, 2)), "the last map is 2x2x2048"),
    (of(strides=(2, 1, 1, 1, 2, 2)), "Where do the three strides save most"),
    (of(strides=(4, 2, 1, 1, 1, 1)), "has a stride of 4"),
    (of(units=2), "shape for shape"),
    (of(side=224), "your network takes (224, 224, 3)"),
]

RIGHT = {
    "05-bottleneck": [bottleneck, by_operators, notebook05.bottleneck_block],
    "05-network": [network, unrolled, notebook05.resnet],
    "05-copy": [copied, by_assignment, notebook05.copy_weights],
    "05-fault-stem": [stem, padded_by_hand, mistaken(stem, pads=(((3, 2), (3, 2)), 1))],
    "05-which-form": ["D", " d."],
    "05-project": [small, notebook05.for_small_pictures],
}
WRONG = {
    "05-bottleneck": BOTTLENECKS,
    "05-network": NETWORKS,
    "05-copy": COPIES,
    "05-fault-stem": STEMS,
    "05-which-form": [
        ("A", "A differs by far more"),
        ("B", "B differs by far more"),
        ("C", "C is close"),
        ("v1.5", "a letter in quotes"),
        (3, "received 3"),
    ],
    "05-project": PROJECTS,
}
STUBS = {
    "05-bottleneck": lambda x, filters, strides, name: ...,
    "05-network": lambda stem, block, units, input_shape=(224, 224, 3), num_classes=1000: ...,
    "05-copy": lambda mine, theirs: ...,
    "05-fault-stem": notebook05.faulty_stem,
    "05-project": lambda: ...,
}
SLOW = {"05-copy", "05-project"}
