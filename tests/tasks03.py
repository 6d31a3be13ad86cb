"""Answers to the exercises of notebook 03; see test_workshop.py."""

from dataclasses import replace
from functools import partial, reduce

import keras
from keras import layers

import resnet_lib as rl
from resnet_lib import blocks
from resnet_lib.exercises import notebook03

# 03-stack


def in_a_loop(x, filters, n, block, strides, name):
    for number in range(1, n + 1):
        x = block(x, filters, strides if number == 1 else 1, name=f"{name}_block{number}")
    return x


def first_apart(x, filters, n, block, strides, name):
    x = block(x, filters, strides=strides, name=name + "_1")
    for number in range(2, n + 1):
        x = block(x, filters, name=f"{name}_{number}")
    return x


def reduced(x, filters, n, block, strides, name):
    steps = enumerate([strides, *[1] * (n - 1)])
    return reduce(lambda y, step: block(y, filters, step[1], f"{name}{step[0]}"), steps, x)


def side_by_side(x, filters, n, block, strides, name):
    for number in range(n):
        y = block(x, filters, strides, name=f"{name}_block{number}")
    return y


def with_relus(x, filters, n, block, strides, name):
    for number in range(n):
        x = layers.ReLU()(block(x, filters, 1 if number else strides, name=f"{name}_{number}"))
    return x


def relu_at_the_end(x, filters, n, block, strides, name):
    return layers.ReLU()(in_a_loop(x, filters, n, block, strides, name))


def returning_early(x, filters, n, block, strides, name):
    for number in range(1, n + 1):
        return block(x, filters, strides if number == 1 else 1, name=f"{name}_block{number}")
    return x


def one_more(x, filters, n, block, strides, name):
    return in_a_loop(x, filters, n + 1, block, strides, name)


def one_less(x, filters, n, block, strides, name):
    x = block(x, filters, strides, name=name)
    for number in range(2, n):
        x = block(x, filters, name=f"{name}_block{number}")
    return x


def same_names(x, filters, n, block, strides, name):
    for number in range(n):
        x = block(x, filters, 1 if number else strides, name=name)
    return x


def all_strided(x, filters, n, block, strides, name):
    for number in range(n):
        x = block(x, filters, strides, name=f"{name}_block{number}")
    return x


def never_strided(x, filters, n, block, strides, name):
    return in_a_loop(x, filters, n, block, 1, name)


def last_strided(x, filters, n, block, strides, name):
    for number in range(1, n + 1):
        x = block(x, filters, strides if number == n else 1, name=f"{name}_block{number}")
    return x


def always_two(x, filters, n, block, strides, name):
    return in_a_loop(x, filters, n, block, 2, name)


def fixed_names(x, filters, n, block, strides, name):
    return in_a_loop(x, filters, n, block, strides, "stage1")


def fixed_channels(x, filters, n, block, strides, name):
    return in_a_loop(x, 16, n, block, strides, name)


def nameless(x, filters, n, block, strides, name):
    for number in range(n):
        x = block(x, filters, 1 if number else strides)
    return x


# 03-builder

STAGES = ((16, 1), (32, 2), (64, 2))


def usual_stem(inputs):
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    return layers.ReLU()(layers.BatchNormalization()(x))


def average(x):
    return layers.GlobalAveragePooling2D()(x)


def softmax():
    return layers.Dense(10, activation="softmax")


def network(
    depth,
    block,
    *,
    stages=STAGES,
    stem=usual_stem,
    pool=average,
    n_of=lambda depth: (depth - 2) // 6,
    dense=softmax,
    stack=in_a_loop,
):
    """A builder of which each part can be another one."""
    inputs = keras.Input((32, 32, 3))
    x = stem(inputs)
    for number, (filters, strides) in enumerate(stages, start=1):
        x = stack(x, filters, n_of(depth), block, strides, name=f"stage{number}")
    return keras.Model(inputs, dense()(pool(x)))


def written_out(depth, block):
    n = (depth - 2) // 6
    inputs = keras.Input((32, 32, 3))
    x = keras.Sequential(
        [
            layers.Conv2D(16, (3, 3), padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
        ]
    )(inputs)
    for stage in range(3):
        for number in range(n):
            strides = 2 if stage > 0 and number == 0 else 1
            x = block(x, 16 * 2**stage, strides, f"s{stage}b{number}")
    x = keras.ops.mean(x, axis=(1, 2))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))


def as_copied(depth, block):
    def pool(x):
        return layers.Flatten()(layers.AveragePooling2D(8)(x))

    return network(depth, block, pool=pool)


def stem_of(*steps):
    """Return a stem of steps: "conv", "bn", "relu", or a layer."""

    def stem(x):
        for step in steps:
            conv = partial(layers.Conv2D, 16, 3, padding="same", use_bias=False)
            known = {"conv": conv, "bn": layers.BatchNormalization, "relu": layers.ReLU}
            x = (known[step]() if isinstance(step, str) else step())(x)
        return x

    return stem


def strided(*strides):
    return tuple(zip((16, 32, 64), strides, strict=True))


def wide_stem():
    return layers.Conv2D(16, 7, padding="same", use_bias=False)


def of_64_channels():
    return layers.Conv2D(64, 3, padding="same", use_bias=False)


def biased():
    return layers.Conv2D(16, 3, padding="same")


def a_tensor(depth, block):
    return network(depth, block).output


def without_blocks(depth, block):
    return network(depth, blocks.basic_block)


SHARED_STEM = layers.Conv2D(16, 3, padding="same", use_bias=False)
WRONG_NETWORKS = [
    (dict(stages=strided(2, 2, 2)), "stage 1 has a stride"),
    (dict(stages=strided(1, 1, 2)), "stage 2 has no stride"),
    (dict(stages=strided(1, 2, 1)), "stage 3 has no stride"),
    (dict(stages=strided(1, 1, 1)), "no stage has a stride"),
    (dict(stack=all_strided), "not only the first block of a stage"),
    (dict(stack=one_more), "one block too many"),
    (dict(n_of=lambda depth: (depth - 2) // 2), "another number of blocks"),
    (dict(stages=((16, 1), (16, 2), (16, 2))), "do not double"),
    (dict(stages=((16, 1), (32, 2), (128, 2))), "Expected: [16, 16, 32, 32, 64, 64]"),
    (dict(stem=stem_of("conv", "bn")), "no ReLU follows the batch normalisation"),
    (dict(stem=stem_of("conv", "relu", "bn")), "comes after the ReLU"),
    (dict(stem=stem_of("conv", "relu")), "has 0 batch normalisations"),
    (dict(stem=stem_of(biased, "bn", "relu")), "has biases"),
    (dict(stem=stem_of(wide_stem, "bn", "relu")), "7x7"),
    (dict(stem=stem_of(of_64_channels, "bn", "relu")), "has 64 channels"),
    (dict(stem=stem_of("conv", "bn", "relu", layers.MaxPooling2D)), "halves the picture"),
    (dict(stem=stem_of("conv", "bn", "relu", "conv")), "has 2 convolutions"),
    (dict(stem=stem_of(lambda: SHARED_STEM, "bn", "relu")), "the same layers"),
    (dict(pool=lambda x: layers.Flatten()(x)), "(Flatten)"),
    (dict(pool=lambda x: layers.GlobalMaxPooling2D()(x)), "takes the largest pixel"),
    (dict(pool=lambda x: average(layers.ReLU()(x))), "a ReLU follows the last block"),
    (dict(pool=lambda x: layers.Dropout(0.5)(average(x))), "in training it computes something"),
    (dict(dense=lambda: layers.Dense(10)), "without a softmax"),
    (dict(dense=lambda: layers.Dense(1)), "has the shape (1,)"),
]

# 03-fault-stride


def faulty(depth, block):
    inputs = keras.Input((32, 32, 3))
    x = blocks.bn_relu(blocks.convolution(inputs, 16, name="stem_conv"), name="stem")
    for stage, filters in enumerate((16, 32, 64), start=1):
        x = blocks.stack(x, filters, (depth - 2) // 6, block, name=f"stage{stage}")
    return keras.Model(inputs, blocks.head(x, 10))


# 03-project


def another_network():
    inputs = keras.Input((32, 32, 3))
    x = layers.AveragePooling2D(2)(inputs)
    x = blocks.bn_relu(blocks.convolution(x, 16, name="stem_conv"), name="stem")
    for stage, filters in ((1, 16), (2, 32), (3, 64)):
        x = blocks.stack(x, filters, 1, blocks.basic_block, strides=min(stage, 2), name=f"s{stage}")
    recipe = replace(rl.recipes.ONE_CYCLE, batch_size=64, peak=0.2, augment=False, sizes=((1, 1),))
    return keras.Model(inputs, blocks.head(x, 10)), replace(recipe, epochs=11)


def softmax_of_the_pixels():
    inputs = keras.Input((32, 32, 3))
    outputs = layers.Dense(10, activation="softmax")(layers.Flatten()(inputs))
    return keras.Model(inputs, outputs), replace(rl.recipes.ONE_CYCLE, epochs=1, sizes=((1, 1),))


def resnet20():
    return rl.resnet_v1((32, 32, 3), 20, form="standard"), rl.recipes.ONE_CYCLE


RIGHT = {
    "03-stack": [in_a_loop, first_apart, reduced],
    "03-builder": [network, written_out, as_copied, notebook03.resnet_v1],
    "03-fault-stride": [notebook03.fast_resnet, written_out],
    "03-report": [("B", 91.8), ["b", 0.917]],
    "03-project": [notebook03.my_network, another_network],
}
WRONG = {
    "03-stack": [
        (side_by_side, "they stand side by side"),
        (with_relus, "something stands between"),
        (relu_at_the_end, "something follows the last block"),
        (returning_early, "stand inside the loop"),
        (one_more, "one block too many"),
        (one_less, "one block too few"),
        (same_names, "have the same name"),
        (all_strided, "every block has the stride"),
        (never_strided, "no block has the stride"),
        (last_strided, "the last block has the stride"),
        (always_two, "called with strides=1"),
        (fixed_names, "where `name` is 'stage7'"),
        (fixed_channels, "gets 16 channels where `filters` is 6"),
        (nameless, "called without a name"),
    ],
    "03-builder": [
        *((partial(network, **changed), words) for changed, words in WRONG_NETWORKS),
        (a_tensor, "returns a tensor"),
        (without_blocks, "is never called"),
    ],
    "03-fault-stride": [
        (partial(network, stages=strided(1, 1, 1)), "no stage has a stride"),
        (partial(network, stages=strided(1, 1, 2)), "stage 2 has no stride"),
        (partial(network, stack=all_strided), "not only the first block"),
        (partial(network, stages=((16, 1), (16, 2), (16, 2))), "do not double"),
    ],
    "03-report": [
        (("A", 92.4), "A is ahead in one figure only"),
        (("B", 91.9), "the run is right, but 91.9 %"),
        (("B", 91.0), "a figure of the other one"),
        (("B", 95), "none of its three figures"),
        ("B", "a letter and a number"),
        (("C", 91.8), "the run"),
    ],
    "03-project": [
        (resnet20, "too much work"),
        (softmax_of_the_pixels, "of the test pictures"),
        (lambda: resnet20()[0], "a network alone"),
        (lambda: (resnet20()[0], 14), "Expected: (network, recipe)"),
    ],
}
STUBS = {
    "03-stack": lambda x, filters, n, block, strides, name: ...,
    "03-builder": lambda depth, block: ...,
    "03-fault-stride": faulty,
    "03-project": lambda: None,
}
SLOW = {"03-project"}
