"""Answers to the exercises of notebook 06; see test_workshop.py."""

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from resnet_lib.exercises import notebook06
from resnet_lib.recipes import EXAMPLE, ONE_CYCLE

# 06-crop


def crop_by_hand(picture, top, left, mirrored):
    height, width, _ = picture.shape
    window = np.zeros_like(picture)
    for row in range(height):
        for column in range(width):
            y, x = row + top - 4, column + left - 4
            if 0 <= y < height and 0 <= x < width:
                window[row, width - 1 - column if mirrored else column] = picture[y, x]
    return window


def crop_by_tensorflow(picture, top, left, mirrored):
    padded = tf.pad(picture, [[4, 4], [4, 4], [0, 0]])
    window = tf.image.crop_to_bounding_box(padded, top, left, *picture.shape[:2])
    return tf.image.flip_left_right(window) if mirrored else window


def cropped(pad=4, mode="constant", flip=(slice(None), slice(None, None, -1)), size=0):
    def crop(picture, top, left, mirrored):
        padded = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode=mode)
        height, width = picture.shape[0] + size, picture.shape[1] + size
        window = padded[top : top + height, left : left + width]
        return window[flip] if mirrored else window

    return crop


def flipped_first(picture, top, left, mirrored):
    return crop_by_hand(picture[:, ::-1] if mirrored else picture, top, left, False)


def padded_only(picture, top, left, mirrored):
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)))
    return padded[:, ::-1] if mirrored else padded


def of_32_pixels(picture, top, left, mirrored):
    window = np.pad(picture, ((4, 4), (4, 4), (0, 0)))[top : top + 32, left : left + 32]
    return window[:, ::-1] if mirrored else window


# 06-loop


def loop_by_keras(model, batches, rate):
    model.compile(keras.optimizers.SGD(rate), keras.losses.SparseCategoricalCrossentropy())
    losses = []
    for pictures, labels in batches:
        model.reset_metrics()
        losses.append(model.train_on_batch(pictures, labels))
    return losses


def loop_by_optimizer(model, batches, rate):
    optimizer, losses = keras.optimizers.SGD(rate), []
    for pictures, labels in batches:
        with tf.GradientTape() as tape:
            found = model(pictures, training=True)
            right = tf.gather(found, labels, axis=1, batch_dims=1)
            loss = -tf.reduce_mean(tf.math.log(right))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        losses.append(loss)
    return losses


def loop(training=True, sign=-1, times=None, reduce=ops.mean, returned=None, then=None):
    def train_epoch(model, batches, rate):
        losses = []
        for pictures, labels in batches:
            with tf.GradientTape() as tape:
                found = model(pictures, training=training)
                found = then(found) if then else found
                each = keras.losses.sparse_categorical_crossentropy(labels, found)
                loss = reduce(each)
            gradients = tape.gradient(loss, model.trainable_variables)
            for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
                weight.assign_add(sign * (times or rate) * gradient)
            losses.append(float(loss))
        return losses if returned is None else returned(losses)

    return train_epoch


def loop_with_an_early_return(model, batches, rate):
    return loop()(model, batches[:1], rate)


def loop_that_changes_nothing(model, batches, rate):
    return [float(ops.mean(model(pictures, training=False))) for pictures, _ in batches]


def loop_that_renames(model, batches, rate):
    for pictures, labels in batches:
        with tf.GradientTape() as tape:
            found = model(pictures, training=True)
            loss = ops.mean(keras.losses.sparse_categorical_crossentropy(labels, found))
        variables = model.trainable_variables
        for weight, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            weight = weight - rate * gradient
    return [0.0, 0.0]


def loop_with_momentum(model, batches, rate):
    optimizer, losses = keras.optimizers.SGD(rate, momentum=0.9), []
    model.compile(optimizer, "sparse_categorical_crossentropy")
    for pictures, labels in batches:
        losses.append(model.train_on_batch(pictures, labels))
    return losses


def loop_by_adam(model, batches, rate):
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return [model.train_on_batch(*batch) for batch in batches]


# 06-fault-schedule


def schedule(steps, start=0.1, end=0.0):
    """Return an answer whose schedule has as many steps as `steps(epochs, pictures, batch)`."""

    def falling_rate(epochs, pictures, batch):
        decay_steps = steps(epochs, pictures, batch)
        return keras.optimizers.schedules.CosineDecay(start, decay_steps, alpha=end)

    return falling_rate


def schedule_of_ones_own(epochs, pictures, batch):
    steps = epochs * sum(1 for _ in range(0, pictures, batch))
    return lambda step: 0.05 + 0.05 * np.cos(np.pi * step / steps)


def straight_down(epochs, pictures, batch):
    steps = epochs * -(-pictures // batch)
    return keras.optimizers.schedules.PolynomialDecay(0.1, steps, 0.0)


def whole(epochs, pictures, batch):
    return epochs * -(-pictures // batch)


OFF = dict(augment=False, sizes=((1, 1),))
RIGHT = {
    "06-crop": [crop_by_hand, crop_by_tensorflow, cropped()],
    "06-decay": [
        (0.9424, 0.9711, 0.9801),
        [
            notebook06.decayed(factor=2),
            notebook06.decayed(),
            np.float64(notebook06.decayed(beside=True)),
        ],
    ],
    "06-loop": [loop(), loop_by_keras, loop_by_optimizer],
    "06-fault-schedule": [schedule(whole), schedule_of_ones_own],
    "06-curves": [("augmentation", "more epochs"), ["Augmentation ", "more epochs"]],
    "06-project": [replace(ONE_CYCLE, epochs=12, batch_size=32, peak=0.2, **OFF)],
}
WRONG = {
    "06-crop": [
        (flipped_first, "mirrored before it is cut"),
        (cropped(flip=slice(None, None, -1)), "turned upside down. Mirrored are its columns"),
        (cropped(flip=(slice(None, None, -1),) * 2), "upside down as well"),
        (cropped(flip=(slice(None), slice(None), slice(None, None, -1))), "the colours change"),
        (cropped(flip=slice(None)), "no window is mirrored"),
        (lambda p, top, left, m: cropped()(p, top, left, True), "every window is mirrored"),
        (lambda p, top, left, m: cropped()(p, top, left, not m), "the wrong windows are mirrored"),
        (lambda p, top, left, m: cropped()(p, left, top, m), "`top` and `left` have changed"),
        (cropped(mode="reflect"), "is its reflection. Asked for are zeros"),
        (cropped(mode="edge"), "repeats its edge. Asked for are zeros"),
        (cropped(pad=0), "reaches over the edge"),
        (padded_only, "no window is cut out of it"),
        (of_32_pixels, "a fixed size, such as 32"),
        (cropped(size=1), "How far does a slice reach"),
        (lambda p, *_: p, "returns the picture as it came"),
        (cropped(pad=8), "row 4 and column 4 are the picture's first"),
        (lambda *_: "a picture", "no array of numbers"),
    ],
    "06-decay": [
        ((0.9711, 0.9711, 0.9801), "loss: received 0.9711. The derivative of 0.1 * w ** 2"),
        ((0.98, 0.99, 0.99), "loss: received 0.98. That is the weight after one step"),
        ((0.9604, 0.9801, 0.9801), "loss: received 0.9604. In the second step the momentum"),
        ((0.9424, 0.9424, 0.9801), "Here g is 0.1 * w"),
        ((0.9424, 0.9801, 0.9801), "gradient: received 0.9801. In the second step"),
        ((0.9424, 0.9711, 0.9711), "the momentum never hears of it"),
        ((0.9424, 0.9711, 0.98), "which is below 1"),
        ((0.9424, 0.9711, 0.81), "The learning rate is missing"),
        ((0.9424, 0.9711, 0.5), "There is no v: each"),
        ((0.9424, 0.9711), "Expected numbers: (loss, gradient, update)"),
    ],
    "06-loop": [
        (loop(training=False), "in inference mode"),
        (loop(sign=1), "go up the gradient"),
        (loop(reduce=ops.sum), "not the sum"),
        (loop(then=ops.softmax), "for logits"),
        (loop(times=1.0), "a step is the whole gradient"),
        (loop_with_an_early_return, "only the first batch"),
        (lambda m, batches, r: loop()(m, batches[1:], r), "only the last batch"),
        (lambda m, batches, r: loop()(m, batches[::-1], r), "from the last to the first"),
        (loop_that_changes_nothing, "no weight has changed. Where"),
        (loop_that_renames, "gives a name to another tensor"),
        (loop_with_momentum, "the second has momentum"),
        (loop_by_adam, "more have changed in another way"),
        (loop(returned=sum), "with the loss of each batch"),
        (loop(returned=lambda losses: losses[1:]), "one loss a batch, for 2 batches"),
        (loop(returned=lambda losses: [2 * loss for loss in losses]), "before its step"),
        (loop(returned=lambda losses: "done"), "the training is right, but it returned 'done'"),
    ],
    "06-fault-schedule": [
        (schedule(lambda e, p, b: -(-p // b)), "those are the steps of one"),
        (schedule(lambda e, p, b: e * (p // b)), "In which direction do you round"),
        (schedule(lambda e, p, b: e * p / b), "Round up within an epoch"),
        (schedule(lambda e, p, b: e * p), "a step takes a batch, not a picture"),
        (schedule(lambda e, p, b: p), "counts the pictures of an epoch"),
        (schedule(lambda e, p, b: e * b), "multiplies epochs by the size of a batch"),
        (schedule(lambda e, p, b: b), "that is the size of a batch"),
        (schedule(whole, start=0.2), "at step 0 the rate is 0.2"),
        (schedule(whole, end=0.1), "with 1,000 pictures in batches of 32, is 0.01"),
        (straight_down, "between them it is not half a cosine"),
        (whole, "Expected: a schedule"),
        (lambda e, p, b: lambda: 0.1, "your schedule raised TypeError"),
    ],
    "06-curves": [
        (("more epochs", "augmentation"), "the two have changed places"),
        (("more epochs", "more epochs"), "What would more of the same bring"),
        (("lower rate", "more epochs"), "a rate that is too high"),
        (("augmentation", "augmentation"), "nothing is learnt by heart"),
        (("augmentation", "lower rate"), "at the end the rate is low already"),
        (("dropout", "more epochs"), "received 'dropout'. Expected: one of"),
        ("augmentation", "two texts, for run A and for run B"),
    ],
    "06-project": [
        (ONE_CYCLE.epochs, "where a recipe is expected"),
        (ONE_CYCLE, "the recipe has 15 epochs"),
        (replace(ONE_CYCLE, epochs=2, batch_size=8), "a batch has 8 pictures"),
        (replace(EXAMPLE, epochs=1), "was made for a long one"),
        (
            replace(ONE_CYCLE, epochs=1),
            "Augmentation and smaller pictures make the training harder",
        ),
        (replace(ONE_CYCLE, epochs=1, **OFF), "each is a step. Take more and smaller ones"),
    ],
}
STUBS = {
    "06-crop": lambda *args: None,
    "06-loop": lambda *args: None,
    "06-fault-schedule": schedule(lambda e, p, b: e),
    "06-curves": (..., ...),
}
SLOW = {"06-loop", "06-project"}
