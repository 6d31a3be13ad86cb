"""Answers to the exercises of notebook 02; see test_workshop.py."""

import keras
from keras import layers, ops
from later import later

from resnet_lib import blocks

# The identity block and what a reader may build with


def conv_bn(x, filters, kernel_size=3, strides=1, *, name, **changed):
    options = dict(padding="same", use_bias=False, kernel_initializer="he_normal") | changed
    x = layers.Conv2D(filters, kernel_size, strides, name=f"{name}_conv", **options)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def conv(x, filters, kernel_size=3, strides=1, *, name):
    options = dict(padding="same", use_bias=False, kernel_initializer="he_normal")
    return layers.Conv2D(filters, kernel_size, strides, name=f"{name}_conv", **options)(x)


def relu(x):
    return layers.ReLU()(x)


def add(*tensors):
    return layers.Add()(list(tensors))


# 02-fault-shortcut


def shortcut_late(x, filters, name):
    x = relu(conv_bn(x, filters, name=f"{name}_1"))
    shortcut = x
    x = conv_bn(x, filters, name=f"{name}_2")
    return relu(add(x, shortcut))


def shortcut_early(x, filters, name):
    shortcut = x
    x = relu(conv_bn(x, filters, name=f"{name}_1"))
    x = conv_bn(x, filters, name=f"{name}_2")
    return relu(add(x, shortcut))


def by_operators(x, filters, name):
    y = ops.relu(conv_bn(x, filters, name=f"{name}_1"))
    return ops.relu(x + conv_bn(y, filters, name=f"{name}_2"))


def without_skip(x, filters, name):
    x = relu(conv_bn(x, filters, name=f"{name}_1"))
    return relu(conv_bn(x, filters, name=f"{name}_2"))


def added_to_itself(x, filters, name):
    x = relu(conv_bn(x, filters, name=f"{name}_1"))
    x = conv_bn(x, filters, name=f"{name}_2")
    return relu(add(x, x))


def added_after_relu(x, filters, name):
    y = relu(conv_bn(x, filters, name=f"{name}_1"))
    return add(relu(conv_bn(y, filters, name=f"{name}_2")), x)


def projected_shortcut(x, filters, name):
    y = relu(conv_bn(x, filters, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(add(y, conv_bn(x, filters, 1, name=f"{name}_3")))


# 02-projection-block


def projection(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    x = conv_bn(x, filters, 1, strides, name=f"{name}_projection")
    return relu(add(x, y))


def projection_first(x, filters, strides, name):
    """The shortcut first, by operators."""
    shortcut = conv_bn(x, filters, 1, strides, name=f"{name}_projection")
    y = ops.relu(conv_bn(x, filters, 3, strides, name=f"{name}_1"))
    return ops.relu(shortcut + conv_bn(y, filters, name=f"{name}_2"))


class Branch(layers.Layer):
    """The branch as a layer of the reader's own."""

    def __init__(self, filters, strides, name):
        super().__init__(name=name)
        options = dict(padding="same", use_bias=False)
        self.first = layers.Conv2D(filters, 3, strides, **options, name=f"{name}_1")
        self.bn1 = layers.BatchNormalization(name=f"{name}_bn1")
        self.second = layers.Conv2D(filters, 3, **options, name=f"{name}_2")
        self.bn2 = layers.BatchNormalization(name=f"{name}_bn2")

    def call(self, x, training=None):
        x = ops.relu(self.bn1(self.first(x), training=training))
        return self.bn2(self.second(x), training=training)


def projection_in_a_layer(x, filters, strides, name):
    y = Branch(filters, strides, f"{name}_branch")(x)
    return relu(add(conv_bn(x, filters, 1, strides, name=f"{name}_projection"), y))


def projection_by_sequential(x, filters, strides, name):
    options = dict(padding="same", use_bias=False)
    branch = keras.Sequential(
        [
            layers.Conv2D(filters, 3, strides, **options, name=f"{name}_1"),
            layers.BatchNormalization(name=f"{name}_bn1"),
            layers.ReLU(),
            layers.Conv2D(filters, 3, **options, name=f"{name}_2"),
            layers.BatchNormalization(name=f"{name}_bn2"),
        ],
        name=f"{name}_branch",
    )
    return relu(add(conv_bn(x, filters, 1, strides, name=f"{name}_projection"), branch(x)))


def projection_unstrided(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(add(conv_bn(x, filters, 1, name=f"{name}_projection"), y))


def projection_without_norm(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(add(conv(x, filters, 1, strides, name=f"{name}_projection"), y))


def projection_with_relu(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(add(relu(conv_bn(x, filters, 1, strides, name=f"{name}_projection")), y))


def projection_added_late(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = relu(conv_bn(y, filters, name=f"{name}_2"))
    return add(conv_bn(x, filters, 1, strides, name=f"{name}_projection"), y)


def projection_of_3x3(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(add(conv_bn(x, filters, 3, strides, name=f"{name}_projection"), y))


def projection_of_the_branch(x, filters, strides, name):
    x = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = conv_bn(x, filters, name=f"{name}_2")
    return relu(add(conv_bn(x, filters, 1, name=f"{name}_projection"), y))


def stride_in_the_second(x, filters, strides, name):
    y = relu(conv_bn(x, filters, name=f"{name}_1"))
    y = conv_bn(y, filters, strides=strides, name=f"{name}_2")
    return relu(add(conv_bn(x, filters, 1, strides, name=f"{name}_projection"), y))


def always_strided(x, filters, strides, name):
    return projection(x, filters, 2, name)


def projection_with_biases(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, use_bias=True, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(add(conv_bn(x, filters, 1, strides, name=f"{name}_projection"), y))


def projection_nameless(x, filters, strides, name):
    return projection(x, filters, strides, "block")


def projection_cut(x, filters, strides, name):
    y = relu(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(
        add(ops.stop_gradient(conv_bn(x, filters, 1, strides, name=f"{name}_projection")), y)
    )


def projection_without_inner_relu(x, filters, strides, name):
    y = conv_bn(x, filters, strides=strides, name=f"{name}_1")
    y = conv_bn(y, filters, name=f"{name}_2")
    return relu(add(conv_bn(x, filters, 1, strides, name=f"{name}_projection"), y))


# 02-padding


def pad(x, filters, strides):
    x = x[:, ::strides, ::strides]
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))


def pad_by_layers(x, filters, strides):
    x = layers.AveragePooling2D(1, strides=strides)(x)
    missing = filters - x.shape[-1]
    zeros = ops.zeros_like(ops.concatenate([x] * 3, axis=-1))[..., :missing]
    return layers.Concatenate()([x, zeros])


def pad_both_sides(x, filters, strides):
    x = x[:, ::strides, ::strides]
    missing = filters - x.shape[-1]
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))


def pad_before(x, filters, strides):
    x = x[:, ::strides, ::strides]
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (filters - x.shape[-1], 0)))


def pad_averages(x, filters, strides):
    x = layers.AveragePooling2D(strides)(x)
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))


def pad_maxima(x, filters, strides):
    x = layers.MaxPooling2D(strides)(x)
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))


def pad_repeated(x, filters, strides):
    x = x[:, ::strides, ::strides]
    return ops.concatenate([x, x, x], axis=-1)[..., :filters]


def pad_all_pixels(x, filters, strides):
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))


def project_for_padding(x, filters, strides):
    return layers.Conv2D(filters, 1, strides)(x)


# 02-bottleneck-block


def bottleneck(x, filters, strides, name):
    y = relu(conv_bn(x, filters, 1, strides, name=f"{name}_1"))
    y = relu(conv_bn(y, filters, name=f"{name}_2"))
    y = conv_bn(y, 4 * filters, 1, name=f"{name}_3")
    if strides > 1 or x.shape[-1] != 4 * filters:
        x = conv_bn(x, 4 * filters, 1, strides, name=f"{name}_projection")
    return relu(add(x, y))


def bottleneck_by_shapes(x, filters, strides, name):
    y = ops.relu(conv_bn(x, filters, 1, strides, name=f"{name}_1"))
    y = ops.relu(conv_bn(y, filters, name=f"{name}_2"))
    y = conv_bn(y, 4 * filters, 1, name=f"{name}_3")
    if x.shape != y.shape:
        x = conv_bn(x, y.shape[-1], 1, strides, name=f"{name}_projection")
    return ops.relu(x + y)


def bottleneck_v15(x, filters, strides, name):
    return blocks.bottleneck_block(x, filters, strides, stride_at="3x3", name=name)


def bottleneck_if(condition):
    def bottleneck_block(x, filters, strides, name):
        y = relu(conv_bn(x, filters, 1, strides, name=f"{name}_1"))
        y = relu(conv_bn(y, filters, name=f"{name}_2"))
        y = conv_bn(y, 4 * filters, 1, name=f"{name}_3")
        if condition(x, filters, strides):
            x = conv_bn(x, 4 * filters, 1, strides, name=f"{name}_projection")
        return relu(add(x, y))

    return bottleneck_block


def bottleneck_thin(x, filters, strides, name):
    y = relu(conv_bn(x, filters, 1, strides, name=f"{name}_1"))
    y = relu(conv_bn(y, filters, name=f"{name}_2"))
    y = conv_bn(y, filters, 1, name=f"{name}_3")
    return relu(add(conv_bn(x, filters, 1, strides, name=f"{name}_projection"), y))


def bottleneck_one_relu(x, filters, strides, name):
    y = relu(conv_bn(x, filters, 1, strides, name=f"{name}_1"))
    y = conv_bn(y, filters, name=f"{name}_2")
    y = conv_bn(y, 4 * filters, 1, name=f"{name}_3")
    return relu(add(conv_bn(x, 4 * filters, 1, strides, name=f"{name}_projection"), y))


def bottleneck_relu_first(x, filters, strides, name):
    y = relu(conv_bn(x, filters, 1, strides, name=f"{name}_1"))
    y = relu(conv_bn(y, filters, name=f"{name}_2"))
    y = relu(conv_bn(y, 4 * filters, 1, name=f"{name}_3"))
    return add(conv_bn(x, 4 * filters, 1, strides, name=f"{name}_projection"), y)


def bottleneck_stride_last(x, filters, strides, name):
    y = relu(conv_bn(x, filters, 1, name=f"{name}_1"))
    y = relu(conv_bn(y, filters, name=f"{name}_2"))
    y = conv_bn(y, 4 * filters, 1, strides, name=f"{name}_3")
    return relu(add(conv_bn(x, 4 * filters, 1, strides, name=f"{name}_projection"), y))


# 02-project


@later
def row(*each, block=blocks.bottleneck_block):
    """Return a model of blocks, each given as (filters, strides, options)."""
    x = inputs = keras.Input((32, 32, 16))
    for number, (filters, strides, options) in enumerate(each, start=1):
        x = block(x, filters, strides, name=f"block{number}", **options)
    return keras.Model(inputs, x)


AT_3X3 = {"stride_at": "3x3"}
RECORD = row((16, 2, {"expansion": 2, **AT_3X3}), (16, 2, AT_3X3), *[(16, 1, {})] * 8)
WITH_PROJECTIONS = row((16, 2, AT_3X3), (16, 2, AT_3X3), *[(16, 1, {})] * 8)
RESNET20 = row(
    (32, 2, {}), (32, 1, {}), (32, 1, {}), (64, 2, {}), (64, 1, {}), (64, 1, {}),
    block=blocks.basic_block,
)  # fmt: skip
PLAIN = row(
    (16, 2, {"expansion": 2, **AT_3X3, "shortcut": None}),
    (16, 2, {**AT_3X3, "shortcut": None}),
    *[(16, 1, {"shortcut": None})] * 8,
)

RIGHT = {
    "02-fault-shortcut": [shortcut_early, by_operators],
    "02-projection-block": [
        projection,
        projection_first,
        projection_in_a_layer,
        projection_by_sequential,
    ],
    "02-padding": [pad, pad_by_layers, pad_both_sides],
    "02-bottleneck-block": [bottleneck, bottleneck_by_shapes, bottleneck_v15],
    "02-project": [RECORD, WITH_PROJECTIONS],
}
WRONG = {
    "02-fault-shortcut": [
        (without_skip, "`x` is not added"),
        (added_to_itself, "the branch is added to itself"),
        (added_after_relu, "the skip is added after the last ReLU"),
        (projected_shortcut, "besides its two others: a projection"),
        (7, "a function is expected"),
    ],
    "02-projection-block": [
        (projection_unstrided, "branch and shortcut come to the addition with different shapes"),
        (projection_without_norm, "no batch normalisation follows the projection"),
        (projection_with_relu, "a ReLU stands on the shortcut"),
        (projection_added_late, "the skip is added after the last ReLU"),
        (projection_of_3x3, "the shortcut has a 3x3 convolution"),
        (projection_of_the_branch, "is applied to what the first convolution has made"),
        (stride_in_the_second, "the second convolution takes the stride"),
        (always_strided, "the stride is 2 in your block, whatever is asked"),
        (projection_with_biases, "your convolutions have biases"),
        (projection_nameless, "layers of both have the same name"),
        (projection_cut, "a step of training changes the weights in another way"),
        (projection_without_inner_relu, "no ReLU between the two convolutions"),
    ],
    "02-padding": [
        (pad_before, "the zeros stand before the channels"),
        (pad_averages, "each pixel is the mean of four"),
        (pad_maxima, "each pixel is the largest of four"),
        (pad_repeated, "the new channels repeat"),
        (pad_all_pixels, "became (6, 6, 7)"),
        (project_for_padding, "your shortcut has weights"),
    ],
    "02-bottleneck-block": [
        (bottleneck_if(lambda x, filters, strides: True), "yet a projection stands on the"),
        (bottleneck_if(lambda x, filters, strides: strides > 1), "with different shapes, (12, 12"),
        (bottleneck_if(lambda x, filters, strides: False), "with different shapes, (12, 12, 5)"),
        (bottleneck_thin, "the last convolution does not widen"),
        (bottleneck_one_relu, "a ReLU is missing between two convolutions"),
        (bottleneck_relu_first, "the skip is added after the last ReLU"),
        (bottleneck_stride_last, "three of four pixels"),
    ],
    "02-project": [
        (RESNET20, "cost 26,214,400 multiply-adds"),
        (PLAIN, "somewhere a skip is missing"),
        (row((16, 2, AT_3X3), (16, 2, AT_3X3), *[(16, 1, {})] * 4), "your stages see 39 pixels"),
        (row((16, 2, {}), (16, 2, {}), *[(16, 1, {})] * 8), "cannot change the output"),
        (row((8, 2, AT_3X3), (16, 2, AT_3X3), *[(16, 1, {})] * 8), "has 8 filters"),
        (row((16, 2, {}), *[(16, 1, {})] * 8), "the output of your model has the shape (16, 16"),
        (bottleneck, "Expected: a Keras model"),
    ],
}
STUBS = {"02-fault-shortcut": shortcut_late}
for each in ("02-projection-block", "02-padding", "02-bottleneck-block"):
    STUBS[each] = lambda *args, **options: ...
SLOW = set()
