"""Small networks and pictures that the tests of training share."""

from dataclasses import replace

import keras
import numpy as np

from resnet_lib import cifar, datasets, training
from resnet_lib.recipes import ONE_CYCLE

SHAPES = datasets.shapes(train=128, validation=64, test=64)


def halved(data):
    """Return a data set with every other row and column of its pictures."""
    return datasets.Dataset(
        *(
            datasets.Split(part.images[:, ::2, ::2].copy(), part.labels)
            for part in (data.train, data.validation, data.test)
        ),
        data.class_names,
        data.source,
    )


DATA = halved(SHAPES)


PICTURES = datasets.shapes(train=256, validation=64, test=64)


# Most tests are about what happens around the steps: a small net, and one size of images.
SHORT = replace(ONE_CYCLE, epochs=3, batch_size=32, peak=0.05, sizes=((1, 1),))


def net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="small")


def train(out=None, recipe=SHORT, model=None, **options):
    return training.train(model or net(), DATA, recipe, out=out, progress=False, **options)


class At(keras.callbacks.Callback):
    """Does something once, after a step."""

    def __init__(self, epoch, step, act):
        super().__init__()
        self.place, self.act = (epoch, step), act

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            self.act(self.model)


def raising(error):
    def act(model):
        raise error

    return act


def small_resnet():
    keras.utils.set_random_seed(0)
    return cifar.resnet_v1((16, 16, 3), 8, form="standard")


def kernels(model):
    """Return the trainable weights of a network, in a row; its preprocessing has none."""
    return np.concatenate([np.ravel(weight) for weight in model.trainable_weights])


def resnet8(depth=8):
    keras.utils.set_random_seed(0)
    return cifar.resnet_v1((32, 32, 3), depth)


class EachEpoch(keras.callbacks.Callback):
    """Does something at the end of each epoch, when it is saved."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def on_epoch_end(self, epoch, logs=None):
        self.act(self.model, epoch)
