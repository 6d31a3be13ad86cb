"""The networks of the widely copied Keras example, written anew from its description.

What the library is compared with, in tests and benchmarks. Nothing here uses the library.
"""

import keras
from keras import layers


def conv(x, filters, kernel=3, strides=1):
    """Convolve as the example does, with bias and L2."""
    return layers.Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(1e-4),
    )(x)


def activated(x):
    """Batch normalisation, then ReLU."""
    return layers.ReLU()(layers.BatchNormalization()(x))


def classified(inputs, x):
    """Put the example's head on."""
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    outputs = layers.Dense(10, activation="softmax", kernel_initializer="he_normal")(x)
    return keras.Model(inputs, outputs)


def copied_v1(depth):
    """Build the example's v1: what `form="example"` must equal."""
    inputs = keras.Input((32, 32, 3))
    x, filters = activated(conv(inputs, 16)), 16
    for stage in range(3):
        for block in range((depth - 2) // 6):
            strides = 2 if stage and not block else 1
            y = activated(conv(x, filters, strides=strides))
            y = layers.BatchNormalization()(conv(y, filters))
            if stage and not block:
                x = conv(x, filters, 1, strides)
            x = layers.ReLU()(layers.add([x, y]))
        filters *= 2
    return classified(inputs, x)


def copied_v2(depth):
    """Build the example's v2: what `form="example"` must equal."""
    inputs = keras.Input((32, 32, 3))
    x, mid = activated(conv(inputs, 16)), 16
    for stage in range(3):
        out = mid * (2 if stage else 4)
        for block in range((depth - 2) // 9):
            strides = 2 if stage and not block else 1
            y = conv(activated(x) if stage or block else x, mid, 1, strides)
            y = conv(activated(y), mid)
            y = conv(activated(y), out, 1)
            x = layers.add([x if block else conv(x, out, 1, strides), y])
        mid = out
    return classified(inputs, activated(x))
