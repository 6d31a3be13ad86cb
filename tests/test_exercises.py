"""Each check tells right answers from wrong ones."""

import math
import random
import re
from fractions import Fraction
from itertools import combinations, count
from pathlib import Path

import numpy as np
import pytest

import resnet_lib as rl
from resnet_lib import blocks, cifar, exercises, recipes, schedules
from resnet_lib.exercises import (
    blockprobes,
    core,
    notebook01,
    notebook02,
    notebook04,
    notebook06,
    notebook07,
    probes,
)

# After resnet_lib, which prepares the environment for TensorFlow.
import keras  # isort: skip
import tensorflow as tf  # isort: skip
from keras import layers, ops  # isort: skip

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
NAMES = exercises.names()


@pytest.fixture
def verdict(capsys):
    """Return a function (name, answer) -> what the check prints, in one line."""

    def check(name, answer):
        assert exercises.check(name, answer) is None
        printed = capsys.readouterr()
        assert printed.err == ""
        assert printed.out.endswith("\n")
        return " ".join(printed.out.split())

    return check


# The right answers, taken from the library


def parameters_of_a_projection_block():
    x = keras.Input((32, 32, 32))
    model = keras.Model(x, blocks.basic_block(x, 64, 2, name="block"))
    return rl.count_parameters(model).trainable


def shape_of_a_bottleneck():
    x = keras.Input((32, 32, 256))
    return blocks.bottleneck_block(x, filters=128, strides=2, name="block").shape[1:]


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]


def blocks_and_convolutions_of_resnet74():
    model = rl.resnet_v1((32, 32, 3), 74, form="paper")
    stages = [stage.blocks for stage in rl.feature_maps(model)[1:]]
    return stages[0], sum(stages), len(convolutions(model))


def biases_of_resnet32():
    model = rl.resnet_v1((32, 32, 3), 32, form="example")
    return sum(layer.bias.shape[0] for layer in convolutions(model))


def residual(x, branch):
    return layers.ReLU()(layers.Add()([branch(x), x]))


def identity_block(x, filters, name):
    return blocks.basic_block(x, filters, name=name)


def preactivation_block(x, filters, name):
    return blocks.preactivation_basic_block(x, filters, name=name)


def blocks_per_stage(depth):
    depths = cifar.valid_depths()
    return depths.index(depth) + 1 if depth in depths else None


def shape_of_stage_3():
    return rl.feature_maps(rl.resnet50((160, 160, 3)))[3].shape


def predict_class(model, picture):
    return int(np.argmax(model(picture[np.newaxis])[0]))


def for_fine_tuning(backbone, num_classes):
    backbone.trainable = False
    return with_head(backbone, num_classes)


def with_head(backbone, num_classes, *between, activation="softmax", called=True, **options):
    """Return a model: a backbone, layers `between` or the mean, and a Dense layer."""
    inputs = keras.Input(backbone.input_shape[1:]) if called else backbone.input
    x = backbone(inputs, **options) if called else backbone.output
    for layer in between or [layers.GlobalAveragePooling2D()]:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(num_classes, activation=activation)(x))


def steps_of_the_paper():
    paper = recipes.PAPER
    steps = math.ceil(45_000 / paper.batch_size)
    first = next(epoch for epoch in count(1) if schedules.paper(epoch * steps) < 0.1)
    return steps, paper.epochs, first


def rate_by_one_cycle(step, steps):
    rising = 0.2 * step / (steps / 10)  # one_cycle counts the steps of its warm-up from 1.
    falling = schedules.one_cycle(step, steps, peak=0.2, warmup=0.1, anneal="cosine")
    return rising if step < steps / 10 else falling


def both(model, pictures):
    return (model(pictures) + model(pictures[:, :, ::-1])) / 2


RIGHT = {
    "01-residual": lambda: residual,
    "01-gradient": lambda: 1 - 0.3,
    "01-shapes": lambda: ["e", "a"],
    "02-parameters": parameters_of_a_projection_block,
    "02-identity-block": lambda: identity_block,
    "02-bottleneck-shape": shape_of_a_bottleneck,
    "03-blocks": blocks_and_convolutions_of_resnet74,
    "03-biases": biases_of_resnet32,
    "03-depth": lambda: blocks_per_stage,
    "04-blocks": lambda: cifar.valid_depths("bottleneck").index(218) + 1,
    "04-preactivation": lambda: preactivation_block,
    "04-mid-widths": lambda: cifar.FORMS_V2["paper"].mid,
    "05-shape": shape_of_stage_3,
    "07-predict": lambda: predict_class,
    "07-finetune": lambda: for_fine_tuning,
    "06-steps": steps_of_the_paper,
    "06-rate": lambda: rate_by_one_cycle,
    "06-flip": lambda: both,
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answer_is_correct(verdict, name):
    said = verdict(name, RIGHT[name]())
    assert said.startswith("correct: ")
    assert said.endswith(".")


def by_operators(x, branch):
    return keras.ops.relu(x + branch(x))


def block_by_operators(x, filters, name):
    options = dict(padding="same", use_bias=False)
    y = layers.Conv2D(filters, 3, name=f"{name}_a", **options)(x)
    y = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_b")(y)
    y = layers.Conv2D(filters, 3, name=f"{name}_c", **options)(keras.activations.relu(y))
    return layers.Activation("relu")(layers.BatchNormalization(name=f"{name}_d")(y) + x)


def one(picture, dtype="uint8"):
    return picture[np.newaxis].astype(dtype)


def predict_with_a_bar(model, picture):
    return model.predict(one(picture)).argmax()


def frozen(**options):
    """Return a function that freezes the backbone and gives it a head, with these options."""

    def function(backbone, num_classes):
        backbone.trainable = False
        return with_head(backbone, num_classes, **options)

    return function


def frozen_layer_by_layer(backbone, num_classes):
    for layer in backbone.layers:
        layer.trainable = False
    return with_head(backbone, num_classes, called=False)


def frozen_afterwards(backbone, num_classes):
    model = with_head(backbone, num_classes, training=False)
    backbone.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def sequential(backbone, num_classes):
    backbone.trainable = False
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(0.9), layers.Dense(num_classes)]
    return keras.Sequential([backbone, *head, layers.Softmax()])


def by_operators_of_keras(backbone, num_classes):
    backbone.trainable = False
    x = layers.Dropout(0.5)(keras.ops.mean(backbone.output, axis=(1, 2)))
    return keras.Model(backbone.input, layers.Dense(num_classes, "softmax", use_bias=False)(x))


def clone_with_the_weights(backbone, num_classes):
    clone = keras.models.clone_model(backbone)
    clone.set_weights(backbone.get_weights())
    return for_fine_tuning(clone, num_classes)


def rate_by_math(step, steps):
    warm_up = steps // 10
    if step <= warm_up:
        return 0.2 * step / warm_up
    return 0.2 * math.cos(math.pi / 2 * (step - warm_up) / (steps - warm_up)) ** 2


def rate_by_numpy(step, steps):
    t = (step - 0.1 * steps) / (0.9 * steps)
    return np.where(
        t < 0, np.interp(step, [0, steps / 10], [0, 0.2]), 0.1 + 0.1 * np.cos(np.pi * t)
    )


def rate_by_operators_of_keras(step, steps):
    t = ops.maximum((step - steps / 10) / (steps - steps / 10), 0.0)
    return ops.minimum(2 * step / steps, 0.1 * (1 + ops.cos(math.pi * t)))


def rate_by_tensorflow(step, steps):
    warm_up = tf.constant(steps / 10, "float32")
    wave = 1 - tf.cos(math.pi * (steps - step) / (steps - warm_up))
    return 0.2 * tf.minimum(step / warm_up, 1) * (wave / 2 if step > warm_up else 1)


def rate_by_keras(step, steps):
    options = dict(warmup_target=0.2, warmup_steps=steps // 10)
    return keras.optimizers.schedules.CosineDecay(0.0, 0.9 * steps, **options)(step)


def both_in_one_call(model, pictures):
    views = np.concatenate([pictures, np.flip(pictures, axis=2)])
    return model.predict(views, verbose=0).reshape(2, len(pictures), -1).mean(axis=0)


def both_one_by_one(model, pictures):
    views = [np.stack([each, np.fliplr(each)]) for each in pictures]
    return [ops.mean(model(two), axis=0).numpy().tolist() for two in views]


def both_by_layers(model, pictures):
    x = keras.Input(pictures.shape[1:])
    y = layers.Average()([model(x), model(ops.flip(x, axis=-2))])
    return keras.Model(x, y)(pictures)


def both_by_tensorflow(model, pictures):
    pictures = tf.constant(pictures, "float32")
    views = [model(pictures, training=False), model(tf.image.flip_left_right(pictures))]
    return tf.cast(tf.reduce_mean(views, axis=0), "float64")


def both_in_place(model, pictures):
    found = model.predict_on_batch(pictures) * 0.5
    pictures[:] = pictures[:, :, ::-1].copy()
    return found + 0.5 * ops.convert_to_numpy(model(pictures.astype(int)))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("01-residual", by_operators),
        ("01-gradient", np.float32(0.7)),
        ("01-shapes", "ae"),
        ("01-shapes", {"a", "e"}),
        ("02-parameters", np.int64(57728)),
        ("02-identity-block", block_by_operators),
        ("02-bottleneck-shape", (None, 16, 16, 512)),
        ("03-blocks", [12.0, 36, 73]),
        ("04-blocks", 24.0),
        ("05-shape", [10, 10.0, 1024]),
        ("05-shape", (None, 10, 10, 1024)),
        (
            "07-predict",
            lambda model, picture: model(one(picture), training=False)[0].numpy().argmax(),
        ),
        ("07-predict", lambda model, picture: np.argmax(model.predict(one(picture), verbose=0))),
        ("07-predict", lambda model, picture: np.argmax(model(one(picture, "float32")))),
        ("07-predict", lambda model, picture: int(keras.ops.argmax(model(one(picture, float))[0]))),
        ("07-predict", lambda model, picture: model.predict_on_batch(one(picture)).argmax(-1)[0]),
        ("07-predict", lambda model, picture: keras.ops.argmax(model(one(picture)))),
        ("07-predict", lambda model, picture: np.array(np.argmax(model(one(picture))))),
        ("07-finetune", frozen(training=False)),
        ("07-finetune", frozen(training=True)),
        ("07-finetune", frozen(called=False)),
        ("07-finetune", frozen_layer_by_layer),
        ("07-finetune", frozen_afterwards),
        ("07-finetune", sequential),
        ("07-finetune", by_operators_of_keras),
        ("07-finetune", clone_with_the_weights),
        ("06-steps", [352.0, np.int64(182), 91]),
        ("06-steps", np.array([352, 182, 91])),
        ("03-biases", np.array(1232)),
        ("03-biases", tf.constant(1232)),
        ("03-blocks", (np.array(12), tf.constant(36), 73)),
        ("06-rate", rate_by_math),
        ("06-rate", lambda step, steps: np.float32(rate_by_math(step, steps))),
        ("06-rate", lambda step, steps: np.array(rate_by_math(step, steps), "float16")),
        ("06-rate", lambda step, steps: Fraction(rate_by_math(step, steps))),
        ("06-rate", lambda step, steps: keras.Variable(rate_by_math(step, steps))),
        ("06-rate", rate_by_numpy),
        ("06-rate", rate_by_operators_of_keras),
        ("06-rate", rate_by_tensorflow),
        ("06-rate", rate_by_keras),
        ("06-flip", lambda model, pictures: both(model, pictures).numpy().astype("float16")),
        ("06-flip", both_in_one_call),
        ("06-flip", both_one_by_one),
        ("06-flip", both_by_layers),
        ("06-flip", both_by_tensorflow),
        ("06-flip", both_in_place),
    ],
)
def test_right_answer_in_another_form_is_correct(verdict, name, answer):
    assert verdict(name, answer).startswith("correct: ")


def test_what_the_readers_function_prints_stands_before_the_verdict(verdict):
    said = verdict("07-predict", predict_with_a_bar)
    assert "1/1" in said
    assert " correct: " in said


# Answers not given yet


FUNCTIONS = (
    "01-residual",
    "02-identity-block",
    "03-depth",
    "04-preactivation",
    "07-predict",
    "07-finetune",
    "06-rate",
    "06-flip",
)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        *((name, answer) for name in NAMES for answer in (..., None, (1, ...))),
        *((name, lambda *args, **options: None) for name in FUNCTIONS),
        *((name, lambda *args, **options: ...) for name in FUNCTIONS),
    ],
)
def test_stub_is_not_done_yet(verdict, name, answer):
    said = verdict(name, answer)
    assert said.startswith("not done yet: ")
    assert said.endswith(f'rl.exercises.hint("{name}")')


# Wrong answers: numbers, tuples, letters

WRONG = [
    ("01-gradient", -0.3, "forgot the path through the skip"),
    ("01-gradient", 1, "forgot the path through the branch"),
    ("01-gradient", 0.3, "without its sign"),
    ("01-gradient", 1.3, "mind its sign"),
    ("01-gradient", -1.3, "what is dx/dx"),
    ("01-gradient", -0.7, "which of the two paths"),
    ("01-gradient", 0, "do not cancel"),
    ("01-gradient", 5, "one for each path"),
    ("01-gradient", "0.7", "one number is expected"),
    ("01-gradient", True, "one number is expected"),
    ("01-shapes", "ace", "pair c, (32, 32, 16) and (32, 32, 1). Keras adds these shapes without"),
    ("01-shapes", ("a", "e", "f"), "pair f, (8, 8, 64) and (1, 1, 64). Keras adds"),
    ("01-shapes", ["b"], "pair b, (32, 32, 16) and (16, 16, 32). Height, width and channels"),
    ("01-shapes", ["d"], "the channels do not"),
    ("01-shapes", "a", "still missing: 1"),
    ("01-shapes", (), "still missing: 2"),
    ("01-shapes", ("a", "z"), "letters of the pairs, from a to f"),
    ("01-shapes", (1, 5), "letters of the pairs"),
    ("02-parameters", 55552, "forgets the projection"),
    ("02-parameters", 55296, "kernel of the projection and forgets batch"),
    ("02-parameters", 57600, "batch normalisation that follows the projection"),
    ("02-parameters", 55680, "the kernel of the projection"),
    ("02-parameters", 57344, "forgets batch normalisation"),
    ("02-parameters", 57536, "one number a channel"),
    ("02-parameters", 58112, "moving mean and variance"),
    ("02-parameters", 57920, "counts a bias"),
    ("02-parameters", 58304, "the moving mean and variance too and counts a bias"),
    ("02-parameters", 43904, "because of the stride"),
    ("02-parameters", 42368, "because of the stride"),
    ("02-parameters", 76160, "two 3x3 kernels of one size"),
    ("02-parameters", 39296, "two 3x3 kernels of one size"),
    ("02-parameters", 74112, "projection as a 3x3 convolution"),
    ("02-parameters", 14528, "the notebook's example"),
    ("02-parameters", 57729, "Count three kernels"),
    ("02-bottleneck-shape", (16, 16, 128), "channels: received 128. That is the mid-width"),
    ("02-bottleneck-shape", (32, 32, 512), "height: received 32. That is the size of the input"),
    ("02-bottleneck-shape", (16, 16, 256), "That is what comes in"),
    ("02-bottleneck-shape", (16, 16, 1024), "not to the input"),
    ("02-bottleneck-shape", (8, 8, 512), "act twice"),
    ("02-bottleneck-shape", (4, 4, 512), "act three times"),
    ("02-bottleneck-shape", (15, 15, 512), "'same'"),
    ("02-bottleneck-shape", (16, 32, 512), "width: received 32"),
    ("02-bottleneck-shape", (16, 512), "Expected numbers: (height, width, channels)"),
    ("02-bottleneck-shape", (512, 16, 16), "The numbers are right; the channels come last"),
    ("02-bottleneck-shape", (16, 16, 64), "channels: received 64. The last convolution has"),
    ("03-blocks", (8, 24, 73), "solves 9n+2"),
    ("03-blocks", (24, 36, 73), "two to a block"),
    ("03-blocks", (36, 36, 73), "all three stages"),
    ("03-blocks", (74 / 6, 37, 74), "take them away first"),
    ("03-blocks", (37, 36, 73), "74 / 2"),
    ("03-blocks", (11, 36, 73), "leaves out the first block"),
    ("03-blocks", (12, 37, 73), "74 / 2"),
    ("03-blocks", (12, 24, 73), "two stages"),
    ("03-blocks", (12, 36, 36), "one to a block"),
    ("03-blocks", (12, 36, 24), "one stage only"),
    ("03-blocks", (12, 12, 73), "There are three"),
    ("03-blocks", (12, 72, 73), "counts the convolutions in the blocks"),
    ("03-blocks", (12, 36, 72), "the stem"),
    ("03-blocks", (12, 36, 74), "counts the dense layer"),
    ("03-blocks", (12, 36, 75), "counts the two projections"),
    ("03-blocks", (12, 36, 76), "projections and the dense layer"),
    ("03-blocks", (12, 36, 1), "Two in each block"),
    ("03-blocks", 9, "Expected numbers: (blocks in each stage, blocks in all, convolutions)"),
    ("03-biases", 1136, "forgets the two projections"),
    ("03-biases", 1216, "forgets the stem. The stem is a convolution, too"),
    ("03-biases", 1120, "forgets the stem and forgets the two projections"),
    ("03-biases", 1242, "the dense layer"),
    ("03-biases", 1248, "a projection in stage 1"),
    ("03-biases", 672, "one convolution to a block"),
    ("03-biases", 31, "counts convolutions, without projections"),
    ("03-biases", 33, "counts convolutions"),
    ("03-biases", 2, "counts the projections only"),
    ("03-biases", 0, "'paper' and 'standard'"),
    ("03-biases", 1000, "One bias for each channel"),
    ("04-blocks", 36, "the rule for basic blocks"),
    ("04-blocks", 72, "all three stages"),
    ("04-blocks", 216, "convolutions of all blocks"),
    ("04-blocks", 218 / 9, "take them away first"),
    ("04-blocks", 23, "leaves out the first block"),
    ("04-blocks", 1, "Two layers are in no block"),
    ("04-mid-widths", (16, 64, 128), "widely copied example"),
    ("04-mid-widths", [64, 128, 256], "that the stages output"),
    ("04-mid-widths", (32, 64, 128), "halves"),
    ("04-mid-widths", (16, 16, 16), "stem's 16 channels"),
    ("04-mid-widths", (64, 64, 64), "Each stage doubles"),
    ("04-mid-widths", (16, 32, 128), "stage 3: received 128"),
    ("04-mid-widths", (16, 32), "Expected numbers: (stage 1, stage 2, stage 3)"),
    ("05-shape", (10, 10, 256), "channels: received 256. That is the mid-width of stage 3"),
    ("05-shape", (10, 10, 512), "what stage 2 outputs, or a mid-width"),
    ("05-shape", (10, 10, 2048), "channels: received 2048. That is what stage 4 outputs"),
    ("05-shape", (10, 10, 128), "mid-width of stage 2"),
    ("05-shape", (10, 10, 64), "what the stem outputs"),
    ("05-shape", (10, 10, 3), "red, green and blue"),
    ("05-shape", (10, 10, 1000), "four times its mid-width"),
    ("05-shape", [80, 80, 64], "comes out of the stem's convolution"),
    ("05-shape", (40, 40, 64), "comes out of the stem."),
    ("05-shape", (40, 40, 256), "what stage 1 outputs"),
    ("05-shape", (None, 20, 20, 512), "received (20, 20, 512). That is what stage 2 outputs"),
    ("05-shape", (5, 5, 2048), "received (5, 5, 2048). That is what stage 4 outputs"),
    ("05-shape", (160, 160, 1024), "That is the picture's. Four steps"),
    ("05-shape", (80, 80, 1024), "What follows it also has strides"),
    ("05-shape", (40, 40, 1024), "smaller in the stem already"),
    ("05-shape", (20, 20, 1024), "Does the max pooling of the stem count"),
    ("05-shape", (5, 5, 1024), "Stage 1 keeps the size"),
    ("05-shape", (9, 9, 1024), "no pixels are lost"),
    ("05-shape", (10, 20, 1024), "width: received 20"),
    ("05-shape", (7, 7, 1024), "height: received 7. Each stride of 2 halves"),
    ("05-shape", (10, 1024), "Expected numbers: (height, width, channels)"),
    ("05-shape", "10x10x1024", "Expected numbers: (height, width, channels)"),
    ("06-steps", (351, 183, 92), "steps of an epoch: received 351. That counts full batches only"),
    ("06-steps", (391, 164, 82), "an epoch of 50,000 pictures. On how many"),
    ("06-steps", (390, 164, 82), "And the last batch, which is smaller, is left out"),
    ("06-steps", (40, 182, 91), "5,000 pictures that are not trained on"),
    ("06-steps", (39, 182, 91), "5,000 pictures that are not trained on"),
    ("06-steps", (128, 182, 91), "the number of pictures in a batch"),
    ("06-steps", (500, 182, 91), "divides steps by pictures"),
    ("06-steps", (250, 182, 91), "divides steps by pictures"),
    ("06-steps", (375, 182, 91), "divides steps by pictures"),
    ("06-steps", (45_000, 182, 91), "counts pictures"),
    ("06-steps", (50_000, 182, 91), "counts pictures"),
    ("06-steps", (64_000, 182, 91), "the whole run"),
    ("06-steps", (353, 182, 91), "the last, smaller one included"),
    ("06-steps", (45_000 / 128, 182, 91), "351.5625, no whole number. What is left after"),
    ("06-steps", (352, 181, 91), "epochs: received 181. So many epochs end before the last step"),
    ("06-steps", (352, 183, 91), "351 steps an epoch, or with 351.56"),
    ("06-steps", (352, 163, 91), "an epoch of 50,000 pictures"),
    ("06-steps", (352, 164, 91), "an epoch of 50,000 pictures"),
    ("06-steps", (352, 165, 91), "an epoch of 50,000 pictures"),
    ("06-steps", (352, 90, 91), "do not reach the end"),
    ("06-steps", (352, 91, 182), "do not reach the end"),
    ("06-steps", (352, 136, 91), "do not reach the end"),
    ("06-steps", (352, 137, 91), "do not reach the end"),
    ("06-steps", (352, 200, 91), "the widely copied example's run"),
    ("06-steps", (352, 500, 91), "divides steps by pictures"),
    ("06-steps", (352, 300, 91), "How many steps have so many epochs"),
    ("06-steps", (352, 64_000 / 352, 91), "no whole number. An epoch in which the run ends"),
    ("06-steps", (352, 182, 90), "first division: received 90. So many epochs are over"),
    ("06-steps", (352, 182, 92), "351 steps an epoch, or with 351.56"),
    ("06-steps", (352, 182, 81), "an epoch of 50,000 pictures"),
    ("06-steps", (352, 182, 82), "an epoch of 50,000 pictures"),
    ("06-steps", (352, 182, 83), "an epoch of 50,000 pictures"),
    ("06-steps", (352, 182, 136), "for the second time"),
    ("06-steps", (352, 182, 137), "for the second time"),
    ("06-steps", (352, 182, 181), "the end of the run"),
    ("06-steps", (352, 182, 182), "the end of the run"),
    ("06-steps", (352, 182, 250), "divides steps by pictures"),
    ("06-steps", (352, 182, 32_000), "That is the step"),
    ("06-steps", (352, 182, 1), "Which steps are in that epoch"),
    ("06-steps", (352, 182, 32_000 / 352), "An epoch that has begun counts"),
    ("06-steps", (352, 182, float("nan")), "received nan, no whole number"),
    ("06-steps", (352, 182, None), "Expected numbers: (steps of an epoch, epochs, first division)"),
    ("06-steps", (352, 182), "Expected numbers: (steps of an epoch, epochs, first division)"),
    ("06-steps", "352, 182, 91", "Expected numbers: (steps of an epoch, epochs, first division)"),
    ("06-steps", 352, "Expected numbers: (steps of an epoch, epochs, first division)"),
]


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_wrong_answer_gets_its_diagnosis(verdict, name, answer, words):
    said = verdict(name, answer)
    assert said.startswith("look again: ")
    assert words in said


def test_keras_adds_the_pairs_that_the_exercise_says_it_adds():
    def added(pair):
        try:
            layers.Add()([keras.Input(shape) for shape in pair[:2]])
        except ValueError:
            return False
        return True

    found = "".join(letter for letter, pair in notebook01.SHAPES.items() if added(pair))
    assert found == "acef"


# Wrong answers: a function of the depth


def with_floats(depth):
    return (depth - 2) / 6 if depth % 6 == 2 and depth > 2 else None


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda depth: (depth - 2) // 6, "returned 0 for depth 2. Is that a network?"),
        (lambda depth: depth // 6 if depth > 2 else None, "depth 18. No n gives"),
        (lambda depth: (depth - 2) // 6 if depth > 2 else None, "depth 18. No n gives"),
        (lambda depth: (depth - 2) // 9, "solves 9n+2"),
        (lambda depth: (depth - 2) // 2, "blocks of all three stages"),
        (lambda depth: (depth - 2) // 3, "convolutions of a stage"),
        (lambda depth: depth / 6, "+2 of 6n+2 is missing"),
        (lambda depth: (depth - 2) / 6, "range() refuses"),
        (with_floats, "range() refuses"),
        (lambda depth: depth % 6 == 2, "says that the depth is valid"),
        (lambda depth: blocks_per_stage(depth) or False, "returned False for depth 2"),
        (lambda depth: (depth - 2) // 6 if depth % 6 == 2 else None, "less than one block"),
        (lambda depth: abs(blocks_per_stage(abs(depth)) or 7), "returned 7 for each"),
        (lambda depth: cifar.valid_depths().index(depth) + 1, "for depth 2. Expected: None"),
        (lambda depth: 4, "what depth comes out"),
        (lambda depth: [3], "a whole number"),
        (lambda depth: 7 if depth == 1000 else blocks_per_stage(depth), "for depth 1000. No n"),
    ],
)
def test_wrong_function_of_the_depth_gets_its_diagnosis(verdict, function, words):
    said = verdict("03-depth", function)
    assert said.startswith("look again: ")
    assert words in said


# Wrong answers: blocks

ADDERS = {"+": layers.Add, "-": layers.Subtract, "*": layers.Multiply, "mean": layers.Average}


def written(line, **own):
    """Return a function of x that computes a line of steps with Keras layers."""

    def block(x):
        skip = y = x
        for step in line.split():
            if step == "=":
                skip = y
            elif step.startswith("skip-"):
                skip = own.get(step.removeprefix("skip-"), lambda y: layers.ReLU()(y))(skip)
            elif step in ADDERS:
                y = ADDERS[step]()([y, skip])
            else:
                y = own[step](y) if step in own else layers.ReLU()(y)
        return y

    return block


def residual_of(line):
    return lambda x, branch: written(line, branch=branch, negative=lambda y: -y)(x)


def block_of(line):
    def block(x, filters, name):
        return written(
            line,
            conv=lambda y: layers.Conv2D(filters, 3, padding="same", use_bias=False)(y),
            bn=lambda y: layers.BatchNormalization()(y),
        )(x)

    return block


ON_PICTURES = {
    "scale": lambda y: y / 255,
    "caffe": lambda y: keras.applications.resnet.preprocess_input(y.astype("float32")),
    "bgr": lambda y: y[..., ::-1],
    "mirror": lambda y: y[:, :, ::-1],
    "upside-down": lambda y: y[:, ::-1],
    "turn": lambda y: np.rot90(y, 2, axes=(1, 2)),
    "grey": lambda y: np.repeat(y.mean(axis=-1, keepdims=True), 3, axis=-1),
    "negative": lambda y: 255 - y,
}


def predict_of(line):
    def predict(model, picture):
        x = written(
            line,
            **ON_PICTURES,
            model=model,
            argmax=np.argmax,
            argmin=np.argmin,
            argsecond=lambda y: np.argsort(y[0])[-2],
            next=lambda y: y + 1,
            before=lambda y: y - 1,
            zero=lambda y: 0,
            **{"model-in-training": lambda y: model(y, training=True)},
        )(one(picture))
        return int(x)

    return predict


def fine_tuning_of(line):
    def with_this_head(backbone, num_classes):
        backbone.trainable = False
        x = keras.Input(backbone.input_shape[1:])
        y = written(
            line,
            backbone=backbone,
            average=layers.GlobalAveragePooling2D(),
            maximum=layers.GlobalMaxPooling2D(),
            dense=layers.Dense(num_classes),
            softmax=layers.Softmax(),
            sigmoid=layers.Activation("sigmoid"),
            sum=lambda y: ops.sum(y, axis=(1, 2)),
            halved=layers.MaxPooling2D(),
            unit=layers.UnitNormalization(),
            tanh=layers.Activation("tanh"),
            scale=layers.Rescaling(1 / 255),
            centre=layers.Rescaling(1 / 127.5, offset=-1),
            caffe=keras.applications.resnet.preprocess_input,
            bgr=lambda y: y[..., ::-1],
            mirror=lambda y: y[:, :, ::-1],
            **{
                "log-softmax": layers.Activation("log_softmax"),
                "softmax-pictures": layers.Softmax(axis=0),
            },
        )(x)
        return keras.Model(x, y)

    return with_this_head


CLOCKS = {
    "tenth": lambda step, steps: step / (steps / 10),
    "tenth-from-1": lambda step, steps: (step + 1) / (steps / 10),
    "tenth-whole": lambda step, steps: step // (steps / 10),
    "run": lambda step, steps: step / steps,
    "rest": lambda step, steps: (step - steps / 10) / (steps - steps / 10),
    "rest-whole": lambda step, steps: (step - steps / 10) // (steps - steps / 10),
    "rest-but-one": lambda step, steps: (step - steps / 10) / (steps - 1 - steps / 10),
    "rest-by-run": lambda step, steps: (step - steps / 10) / steps,
    "run-by-rest": lambda step, steps: step / (steps - steps / 10),
}
CURVES = {
    "line": lambda t: 0.2 * t,
    "square": lambda t: 0.2 * t * t,
    "peak": lambda t: 0.2,
    "zero": lambda t: 0,
    "down": lambda t: 0.2 - 0.2 * t,
    "cosine": lambda t: 0.1 * (1 + math.cos(math.pi * t)),
    "cosine-doubled": lambda t: 0.2 * (1 + math.cos(math.pi * t)),
    "cosine-bare": lambda t: 0.2 * math.cos(math.pi * t),
    "cosine-bare-half": lambda t: 0.1 * math.cos(math.pi * t),
    "cosine-up": lambda t: 0.1 * (1 - math.cos(math.pi * t)),
    "cosine-quarter": lambda t: 0.2 * math.cos(math.pi / 2 * t),
    "cosine-quarter-raised": lambda t: 0.1 * (1 + math.cos(math.pi / 2 * t)),
    "cosine-full": lambda t: 0.1 * (1 + math.cos(2 * math.pi * t)),
    "cosine-degrees": lambda t: 0.1 * (1 + math.cos(180 * t)),
    "cosine-no-pi": lambda t: 0.1 * (1 + math.cos(t)),
    "sine": lambda t: 0.2 * math.sin(math.pi * t),
    "sine-quarter": lambda t: 0.2 * math.sin(math.pi / 2 * t),
    "sine-quarter-down": lambda t: 0.2 * (1 - math.sin(math.pi / 2 * t)),
    "sine-raised": lambda t: 0.1 * (1 + math.sin(math.pi * t)),
}


def rate_of(line):
    rise, fall = line.split()

    def rate(step, steps):
        word, clock = (rise, "tenth") if step < steps / 10 else (fall, "rest")
        curve, _, other = word.partition(":")
        return CURVES[curve](CLOCKS[other or clock](step, steps))

    return rate


def normalised(y):
    return y / y.sum(axis=1, keepdims=True)


def both_of(line):
    """Return a function that computes a line of steps; two views stand in a list."""

    def function(model, pictures):
        def run(y, training=False):
            if isinstance(y, list):
                return [run(each, training) for each in y]
            return np.array(model(y, training=training))

        return written(
            line,
            **{name: lambda y, axes=axes: [y, np.flip(y, axes)] for name, axes in AXES.items()},
            **{name: lambda y, combine=combine: combine(*y) for name, combine in COMBINE.items()},
            **{
                "scale": lambda y: [each / 255 for each in y],
                "caffe": lambda y: [
                    keras.applications.resnet.preprocess_input(each.astype("float32")) for each in y
                ],
                "model": run,
                "model-in-training": lambda y: run(y, training=True),
                "normalise": normalised,
                "softmax": lambda y: normalised(np.exp(y)),
            },
        )(pictures)

    return function


AXES = {
    "mirror": 2,
    "upside-down": 1,
    "colours": -1,
    "order": 0,
    "turn": (1, 2),
    "every-axis": None,
}
COMBINE = {
    "average": lambda a, b: (a + b) / 2,
    "sum": lambda a, b: a + b,
    "first": lambda a, b: a,
    "second": lambda a, b: b,
    "half-second": lambda a, b: a + b / 2,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "product": lambda a, b: a * b,
    "geometric": lambda a, b: np.sqrt(a * b),
    "blend": lambda a, b: (a.astype(float) + b) / 2,
    "blend-uint8": lambda a, b: (a + b) / 2,
}
TABLES = {
    "01-residual": (residual_of, notebook01.RESIDUAL, notebook01.RESIDUAL_MISTAKES),
    "02-identity-block": (block_of, notebook02.IDENTITY_BLOCK, notebook02.IDENTITY_MISTAKES),
    "04-preactivation": (
        block_of,
        notebook04.PREACTIVATION_BLOCK,
        notebook04.PREACTIVATION_MISTAKES,
    ),
    "07-predict": (predict_of, notebook07.PREDICTION, notebook07.PREDICTION_MISTAKES),
    "07-finetune": (fine_tuning_of, notebook07.FINE_TUNING, notebook07.FINE_TUNING_MISTAKES),
    "06-rate": (rate_of, notebook06.RATE, notebook06.RATE_MISTAKES),
    "06-flip": (both_of, notebook06.FLIP, notebook06.FLIP_MISTAKES),
}
FOLLOW = {
    "07-predict": notebook07.follow_prediction,
    "07-finetune": notebook07.follow_fine_tuning,
    "06-rate": notebook06.follow_rate,
    "06-flip": notebook06.follow_flip,
}
LINES = [(name, line, text) for name, table in TABLES.items() for line, text in table[2].items()]


@pytest.mark.parametrize(("name", "line", "text"), LINES)
def test_wrong_order_gets_its_diagnosis(verdict, name, line, text):
    function = TABLES[name][0](line)
    assert verdict(name, function) == " ".join(f"look again: {text}".split())


def outputs(name, lines):
    """Return what each line of steps puts out in an exercise."""
    if name in FOLLOW:
        return {line: FOLLOW[name](line) for line in lines}
    if name == "01-residual":
        x, branch = notebook01._pictures(), notebook01._branch()
        return {line: notebook01.follow_residual(line, x, branch) for line in lines}
    return {line: blockprobes.follow_block(line, blockprobes._pictures()) for line in lines}


@pytest.mark.parametrize("name", TABLES)
def test_lines_of_steps_are_told_apart_with_a_margin(name):
    _, right, wrong = TABLES[name]
    found = outputs(name, [right, *wrong])
    assert len(found) == len(wrong) + 1
    for (one, a), (other, b) in combinations(found.items(), 2):
        assert np.abs(a - b).max() > 10 * probes.TOLERANCE, (one, other)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, branch: layers.Concatenate()([branch(x), x]), "concatenated"),
        (lambda x, branch: layers.ReLU()(layers.Add()([x, x])), "`branch` is never called"),
        (lambda x, branch: residual(branch(x), branch), "called 2 times"),
        (lambda x, branch: x, "returns its input"),
        (lambda x, branch: layers.Add()([x, branch]), "your function raised"),
        (lambda x, branch: layers.Flatten()(branch(x)), "A sum has the shape of its two parts"),
        (lambda x, branch: residual_of("branch + + relu")(x, branch), "First the branch"),
        (lambda x: x, "your function raised TypeError"),
        (lambda x, branch: np.zeros(3), "returned <ndarray>. Expected: a Keras tensor"),
        (lambda x, branch: [branch(x), x], "Expected: a Keras tensor"),
    ],
)
def test_wrong_residual_gets_its_diagnosis(verdict, function, words):
    assert words in verdict("01-residual", function)


def dropped(y):
    return layers.Dropout(0.9)(y)


class Louder(layers.Layer):
    def call(self, x, training=False):
        return 2 * x if training else x


# Mistakes that are no other order of the steps.
RESIDUALS = {
    "dropout": (lambda x, branch: residual(x, lambda y: dropped(branch(y))), "time: Dropout. This"),
    "dropout-behind": (lambda x, branch: dropped(residual(x, branch)), "time: Dropout. This"),
    "louder": (
        lambda x, branch: Louder()(residual(x, branch)),
        "in training it computes something",
    ),
    "skip-cut": (
        lambda x, branch: ops.relu(ops.stop_gradient(x) + branch(x)),
        "no gradient passes through the skip",
    ),
    "branch-cut": (
        lambda x, branch: ops.relu(x + ops.stop_gradient(branch(x))),
        "no gradient passes through the branch",
    ),
    "branch-begins-cut": (
        lambda x, branch: ops.relu(x + branch(ops.stop_gradient(x))),
        "no gradient passes through the branch",
    ),
    "cut": (
        lambda x, branch: ops.stop_gradient(residual(x, branch)),
        "no gradient passes through the block",
    ),
    "loss-added": (
        lambda x, branch: layers.ActivityRegularization(l2=1.0)(residual(x, branch)),
        "its gradient is another one",
    ),
    "normalised": (
        lambda x, branch: layers.ReLU()(layers.BatchNormalization()(x + branch(x))),
        "adds layers with weights: BatchNormalization.",
    ),
    "projected": (
        lambda x, branch: ops.relu(layers.Conv2D(3, 1)(x) + branch(x)),
        "adds layers with weights: Conv2D.",
    ),
    "leaky": (lambda x, branch: layers.LeakyReLU()(x + branch(x)), "another function than ReLU"),
    "capped": (lambda x, branch: layers.ReLU(6)(x + branch(x)), "another function than ReLU"),
    "gelu": (lambda x, branch: keras.activations.gelu(x + branch(x)), "another function than ReLU"),
}


@pytest.mark.parametrize("mistake", RESIDUALS)
def test_residual_with_a_mistake_gets_its_diagnosis(verdict, mistake):
    function, words = RESIDUALS[mistake]
    said = verdict("01-residual", function)
    assert said.startswith("look again: ")
    assert words in said


def test_no_two_mistakes_of_a_residual_have_one_diagnosis(verdict):
    different = ("dropout", "louder", "skip-cut", "branch-cut", "cut", "normalised", "leaky")
    said = {verdict("01-residual", RESIDUALS[mistake][0]) for mistake in different}
    assert len(said) == len(different)


class Residual(layers.Layer):
    """A right answer as a layer that holds the branch."""

    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def call(self, x):
        return ops.relu(ops.add(self.branch(x), x))


RESIDUAL_FORMS = {
    "layer": lambda x, branch: Residual(branch)(x),
    "lambda": lambda x, branch: layers.Lambda(lambda y: ops.relu(y + branch(y)))(x),
    "model": lambda x, branch: keras.Model(x, residual(x, branch))(x),
    "sequential": lambda x, branch: keras.Sequential([layers.Identity(), layers.ReLU()])(
        layers.add([x, branch(x)])
    ),
    "maximum": lambda x, branch: ops.maximum(ops.add(x, branch(x)), 0),
    "where": lambda x, branch: (lambda y: ops.where(y > 0, y, 0.0))(branch(x) + x),
    "twice-the-mean": lambda x, branch: ops.relu(2 * layers.Average()([x, branch(x)])),
}


@pytest.mark.parametrize("form", RESIDUAL_FORMS)
def test_right_residual_in_any_form_is_correct(verdict, form):
    assert verdict("01-residual", RESIDUAL_FORMS[form]).startswith("correct: with a branch of")


def convolve(x, filters, *, size=3, **options):
    return layers.Conv2D(filters, size, **{"padding": "same", "use_bias": False, **options})(x)


def wrong_block(*, norms=2, size=3, second=3, extra=None, norm_options=None, **options):
    """Return a function that makes an identity block with something wrong in it."""

    def norm(y, index):
        return layers.BatchNormalization(**(norm_options or {}))(y) if index < norms else y

    def block(x, filters, name):
        y = layers.ReLU()(norm(convolve(x, filters, size=size, **options), 0))
        y = norm(convolve(y, filters, size=second, **options), 1)
        x = extra(x, filters) if extra else x
        return layers.ReLU()(layers.Add()([x, y]))

    return block


def without_skip(x, filters, name):
    return blocks.basic_block(x, filters, 2, shortcut=None, name=name)


def wider(x, filters, name):
    return layers.ReLU()(x + convolve(x, 2 * filters))


def wider_by_operator(x, filters, name):
    return layers.ReLU()(layers.Add()([x, convolve(x, 2 * filters)]))


def one_layer_twice(x, filters, name):
    layer = layers.Conv2D(filters, 3, padding="same", use_bias=False)
    return layers.ReLU()(layer(layers.ReLU()(layer(x))) + x)


def names_fixed(x, filters, name):
    return blocks.basic_block(x, filters, name="block")


BLOCKS = [
    (wrong_block(norms=0), "batch normalisations in your block is 0"),
    (wrong_block(norms=1), "batch normalisations in your block is 1"),
    (wrong_block(use_bias=True), "have biases"),
    (wrong_block(padding="valid"), "without padding"),
    (wrong_block(strides=2), "a stride halves"),
    (wrong_block(size=1), "the kernels are (1, 1) and (3, 3)"),
    (wrong_block(second=5), "the kernels are (3, 3) and (5, 5)"),
    (wrong_block(groups=2), "groups or a dilation"),
    (wrong_block(dilation_rate=2), "groups or a dilation"),
    (wrong_block(norm_options={"scale": False}), "its scale or its shift"),
    (wrong_block(extra=lambda x, filters: convolve(x, filters, size=1)), "a projection"),
    (wrong_block(extra=lambda x, filters: convolve(x, filters)), "is 3. Expected: 2"),
    (wrong_block(extra=lambda x, filters: layers.Dense(filters)(x)), "does not need: Dense"),
    (without_skip, "(6, 6, 4): a stride halves"),
    (wider, "becomes (12, 12, 8): it must stay"),
    (wider_by_operator, "becomes (12, 12, 8): it must stay"),
    (one_layer_twice, "is 1. Expected: 2"),
    (block_of("relu conv relu bn conv bn"), "Compare the order"),
    (lambda x, filters, name: x, "returns its input"),
    (lambda x, filters, name: layers.Flatten()(x), "becomes (576,): it must stay"),
    (lambda x, filters, name: keras.Input((12, 12, 4)), "your function raised ValueError"),
    (lambda x, filters: x, "your function raised TypeError"),
]


@pytest.mark.parametrize("name", ["02-identity-block", "04-preactivation"])
@pytest.mark.parametrize(("function", "words"), BLOCKS)
def test_wrong_block_gets_its_diagnosis(verdict, name, function, words):
    said = verdict(name, function)
    assert said.startswith("look again: ")
    assert words in said


def test_block_whose_layers_have_fixed_names_gets_its_diagnosis(verdict):
    said = verdict("02-identity-block", names_fixed)
    assert said.startswith("look again: one block is right, but two do not fit")


# Wrong answers: the class of a picture


def test_no_class_alone_is_taken_for_another_mistake_but_scaled_pictures():
    lines = [notebook07.PREDICTION, *notebook07.PREDICTION_MISTAKES]
    constant = {line for line in lines if np.ptp(notebook07.follow_prediction(line)) == 0}
    assert constant == {"scale model argmax", "model argmax zero"}


def no_batch(model, picture):
    return int(np.argmax(model(picture)))


def batch_behind(model, picture):
    return int(np.argmax(model(picture[:, np.newaxis])))


def classes_of(function):
    """Return a function that calls `function` on what the model puts out for one picture."""
    return lambda model, picture: function(model(one(picture)).numpy())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_batch, "needs an axis in front of its height"),
        (lambda model, picture: model.predict(picture, verbose=0), "needs an axis in front"),
        (batch_behind, "The first axis is that of the pictures"),
        (lambda model, picture: picture.reshape(1, 64, 64, 3), "ValueError: cannot reshape"),
        (classes_of(lambda y: y), "shape (1, 7): a probability for each class"),
        (classes_of(lambda y: y[0]), "shape (7,): a probability for each class"),
        (classes_of(lambda y: y.tolist()), "shape (1, 7): a probability for each class"),
        (lambda model, picture: model(one(picture)), "shape (1, 7): a probability for each"),
        (classes_of(lambda y: y.argmax(axis=0)), "shape (7,), all zeros: along axis 0"),
        (classes_of(lambda y: y.argmax(axis=0)[0]), "the class is 0 for every picture"),
        (classes_of(lambda y: y.argmax(axis=1)), "shape (1,). It holds the class, but is no int"),
        (classes_of(lambda y: y.argmax(1)[:, None]), "shape (1, 1). It holds the class"),
        (classes_of(lambda y: [int(y.argmax())]), "shape (1,). It holds the class"),
        (classes_of(lambda y: y.max()), "Is it a probability?"),
        (classes_of(lambda y: float(y.argmax())), "Python refuses others"),
        (classes_of(lambda y: y.argmax(keepdims=True) / 2), "Expected: the number of a class"),
        (classes_of(lambda y: str(y.argmax())), "Expected: the number of a class, an int"),
        (classes_of(lambda y: y.argmax() > 2), "Expected: the number of a class, an int"),
        (classes_of(lambda y: 1), "the class is 1 for every picture"),
        (classes_of(lambda y: 10**6), "the class is 1000000 for every picture"),
        (classes_of(lambda y: min(3, y.argmax())), "4 of 8 pictures get a class that is not"),
    ],
)
def test_wrong_prediction_gets_its_diagnosis(verdict, function, words):
    said = verdict("07-predict", function)
    assert said.startswith("look again: ")
    assert words in said


def test_classes_of_the_judges_pictures_do_not_depend_on_rounding():
    model, pictures = probes.trained_model(), probes.pictures()
    for training in (False, True):
        for picture in pictures:
            lowest, low, *_, high, highest = np.sort(model(one(picture), training=training)[0])
            assert highest - high > 0.01
            assert training or low - lowest > 0.001


def test_training_mode_leaves_the_judges_model_as_it_was():
    model = probes.trained_model()
    before = model.get_weights()
    model(one(probes.pictures()[0]), training=True)
    assert all(map(np.array_equal, before, model.get_weights()))


# Wrong answers: a model for fine-tuning


def not_frozen(backbone, num_classes):
    return with_head(backbone, num_classes, training=False)


def head_frozen_too(backbone, num_classes):
    model = with_head(backbone, num_classes)
    model.trainable = False
    return model


def unfrozen(kind):
    """Return a function that freezes all layers but those of one kind."""

    def function(backbone, num_classes):
        for layer in backbone.layers:
            layer.trainable = isinstance(layer, kind)
        return with_head(backbone, num_classes, training=False)

    return function


def weights_frozen(backbone, num_classes):
    for weight in backbone.weights:
        weight.trainable = False
    return with_head(backbone, num_classes, training=False)


def clone_with_new_weights(backbone, num_classes):
    return for_fine_tuning(keras.models.clone_model(backbone), num_classes)


def new_network(backbone, num_classes):
    return rl.resnet_v1((16, 16, 3), 8, num_classes)


def network_for_other_pictures(backbone, num_classes):
    return rl.resnet_v1((32, 24, 3), 8, num_classes)


def cut(backbone, num_classes):
    return for_fine_tuning(keras.Model(backbone.input, backbone.layers[3].output), num_classes)


def added_twice(backbone, num_classes):
    backbone.trainable = False
    y = backbone(x := keras.Input(backbone.input_shape[1:]))
    y = layers.GlobalAveragePooling2D()(y + y)
    return keras.Model(x, layers.Dense(num_classes, activation="softmax")(y))


def two_outputs(backbone, num_classes):
    model = for_fine_tuning(backbone, num_classes)
    return keras.Model(model.input, [model.output, model.output])


def frozen_with(*between):
    """Return a function that freezes the backbone; `between` makes what precedes the Dense."""

    def function(backbone, num_classes):
        backbone.trainable = False
        return with_head(backbone, num_classes, *[make() for make in between])

    return function


def headless(*after):
    """Return a function that puts no Dense layer behind the backbone, but what `after` makes."""
    return lambda backbone, k: keras.Sequential([backbone, *[make() for make in after]])


mean = layers.GlobalAveragePooling2D


def mean_keepdims():
    return mean(keepdims=True)


FINE_TUNINGS = [
    (not_frozen, "the backbone is not frozen"),
    (head_frozen_too, "nothing is trainable, not even the Dense layer"),
    (unfrozen(layers.BatchNormalization), "scale and shift of the backbone's batch normalisations"),
    (unfrozen(layers.Conv2D), "4 of the backbone's 8 trainable weights are still trainable"),
    (weights_frozen, "its moving statistics change"),
    (clone_with_new_weights, "the backbone's weights are not in your model"),
    (new_network, "the backbone's weights are not in your model"),
    (cut, "left out or changed: 6 of its 12 weights"),
    (network_for_other_pictures, "takes is none for your model: your function raised"),
    (added_twice, "the output is not what the backbone's features give"),
    (two_outputs, "your model outputs [<"),
    (lambda backbone, k: with_head(backbone, 6), "outputs (6,) for a picture. One number"),
    (lambda backbone, k: backbone.output, "your function returns a tensor"),
    (lambda backbone, k: backbone, "returns the backbone as it came"),
    (lambda backbone, k: [backbone], "Expected: a keras.Model"),
    (headless(layers.ReLU), "(7, 7, 8) for a picture. That is the backbone's feature map"),
    (headless(mean), "(8,) for a picture. Those are the backbone's features"),
    (frozen_with(layers.ReLU), "(7, 7, 5) for a picture. Each place of the feature map has its"),
    (frozen_with(mean_keepdims), "axes of length 1"),
    (frozen_with(layers.Flatten), "weights of its own, as behind a Flatten"),
    (frozen_with(mean, lambda: layers.Dense(8)), "there are 2 Dense layers"),
    (frozen_with(mean, layers.BatchNormalization), "shapes [(8,), (8,), (8, 5), (5,)]. Expected"),
]


@pytest.mark.parametrize(("function", "words"), FINE_TUNINGS)
def test_wrong_model_for_fine_tuning_gets_its_diagnosis(verdict, function, words):
    said = verdict("07-finetune", function)
    assert said.startswith("look again: ")
    assert words in said


@pytest.mark.parametrize("training", [None, False, True])
def test_frozen_batch_normalisation_keeps_its_statistics_whatever_its_call_says(training):
    x, norm = keras.Input((8, 8, 3)), layers.BatchNormalization(trainable=False)
    pictures = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    keras.Model(x, norm(x, training=training))(pictures, training=True)
    assert not np.any(norm.moving_mean)


# Wrong answers: the learning rate of a step


def rate(rise="line", fall="cosine"):
    return rate_of(f"{rise} {fall}")


def times(factor):
    return lambda step, steps: factor * rate()(step, steps)


def scaled(line, rising=1, falling=1):
    """Return a line's function, with rates multiplied in the first tenth and in the rest."""

    def function(step, steps):
        return (rising if step < steps / 10 else falling) * rate_of(line)(step, steps)

    return function


def warmed_up_for(length):
    def function(step, steps):
        if step < length:
            return 0.2 * step / length
        return 0.1 * (1 + math.cos(math.pi * (step - length) / (steps - length)))

    return function


def one_cycle(step, steps):
    return schedules.one_cycle(step, steps, peak=0.2, warmup=0.1, anneal="cosine")


def for_64000(step, steps):
    t = (step - steps / 10) / (64_000 - 6_400)
    return 0.2 * step / (steps / 10) if t < 0 else 0.1 * (1 + math.cos(math.pi * t))


def changed(value, when):
    """Return a function that gives another value than the right rate `when(step, steps)`."""
    return lambda step, steps: value if when(step, steps) else rate()(step, steps)


RATES = [
    (one_cycle, "the warm-up counts its steps from 1"),
    (times(5), "the shape is right, but its top is 1, not PEAK. PEAK is missing"),
    (times(0.5), "the shape is right, but its top is 0.1, not PEAK."),
    (times(-1), "the shape is right, but its top is -0.2, not PEAK."),
    (times(0), "the rate is 0 at each step of each run"),
    (lambda step, steps: 0.2, "the rate is 0.2 at each step of each run"),
    (lambda step, steps: np.float32(1e-3), "the rate is 0.001 at each step of each run"),
    (scaled("line cosine", rising=5), "in the first tenth the shape is right, but its top is 1"),
    (
        scaled("line cosine", falling=5),
        "after the first tenth the shape is right, but its top is 1",
    ),
    (warmed_up_for(10), "The warm-up has no fixed length"),
    (warmed_up_for(5), "The warm-up has no fixed length"),
    (warmed_up_for(6400), "The warm-up has no fixed length"),
    (lambda step, steps: rate()(step, 64_000), "in runs of any length: `steps` is unused"),
    (lambda step, steps: rate()(step, 400), "in runs of any length: `steps` is unused"),
    (for_64000, "right in a run of 64000 steps, not in one of 120"),
    (rate("peak", "down"), "there is no warm-up"),
    (rate("square", "down"), "rises with the square"),
    (rate("line:run", "down"), "gets only a tenth of the way"),
    (rate("line:tenth-from-1", "cosine-full"), "counts its steps from 1"),
    (rate("cosine-full", "cosine"), "rate(0, 120) is 0.2. The line begins at 0"),
    (rate("sine-raised", "cosine"), "rate(0, 120) is 0.1. The line begins at 0"),
    (rate("sine", "cosine"), "rate(3, 120) is 0.1414. That is not on the straight line"),
    (changed(0.3, lambda step, steps: step == steps / 10), "rate(12, 120) is 0.3. There the warm"),
    (changed(0.1, lambda step, steps: step == steps), "rate(120, 120) is 0.1. There the rate"),
    (rate("line", "square"), "rate(12, 120) is 0. There the warm-up has just ended"),
    (changed(0.1, lambda step, steps: step > steps / 10), "not on half a cosine from PEAK to 0"),
    (changed(None, lambda step, steps: step < steps / 10), "Which way through it has no `return`?"),
    (changed(None, lambda step, steps: step > 70), "returned None for rate(93, 120), but not for"),
    (changed(..., lambda step, steps: step > 70), "Which way through it has no `return`?"),
    (changed("0", lambda step, steps: step == 0), "returned '0' for rate(0, 120). Expected: one"),
    (changed(1j, lambda step, steps: step == 0), "Expected: one number"),
    (changed(False, lambda step, steps: step == 0), "returned False for rate(0, 120)"),
    (changed(10**400, lambda step, steps: step == 0), "Expected: one number"),
    (changed(math.nan, lambda step, steps: step == steps), "Expected: a finite number"),
    (changed(tf.constant(np.inf), lambda step, steps: step == steps), "Expected: a finite number"),
    (lambda step, steps: [rate()(step, steps)], "of shape (1,). Expected: one number, the rate of"),
    (lambda step, steps: np.arange(steps), "of shape (120,). Expected: one number, the rate of"),
    (lambda step, steps: tf.zeros((2, 2)), "<EagerTensor> for rate(0, 120), of shape (2, 2)"),
    (lambda step, steps: [[1], [1, 2]], "Expected: one number"),
    (lambda step, steps: rate, "returned the function rate for rate(0, 120). Expected: one number"),
    (lambda step, steps: keras.Input(()), "returned <KerasTensor> for rate(0, 120)"),
    (lambda step: 0.2, "your function raised TypeError"),
    (lambda step, steps: 1 / step, "raised ZeroDivisionError: division by zero, in rate(0, 120)"),
    (lambda step, steps: [0][step], "IndexError: list index out of range, in"),
    (0.2, "received 0.2, where a function is expected"),
]


@pytest.mark.parametrize(("function", "words"), RATES)
def test_wrong_rate_gets_its_diagnosis(verdict, function, words):
    said = verdict("06-rate", function)
    assert said.startswith("look again: ")
    assert words in said


def test_probes_of_the_rate_are_whole_steps_in_runs_of_whole_tenths():
    assert all(step == int(step) and steps % 10 == 0 for step, steps in notebook06.PROBES)
    assert {type(step) for step, _ in notebook06.PROBES} == {int, float}


# Wrong answers: a picture and its mirror image


def of_both(function):
    """Return a function that calls `function` on the two views' probabilities."""
    return lambda model, pictures: function(
        np.array(model(pictures)), np.array(model(pictures[:, :, ::-1]))
    )


def both_of_other_pictures(model, pictures):
    return both(model, probes.pictures()[-5:])


FLIPS = [
    (
        of_both(lambda a, b: np.mean([a, b])),
        "of shape () for 5 pictures and 7 classes. That is one",
    ),
    (
        of_both(lambda a, b: (a + b).argmax(1)),
        "of shape (5,) for 5 pictures and 7 classes. That is",
    ),
    (of_both(lambda a, b: np.mean([a, b], axis=(0, 1))), "the mean over the pictures, too"),
    (
        of_both(lambda a, b: [a, b]),
        "of shape (2, 5, 7) for 5 pictures and 7 classes. The two stand",
    ),
    (of_both(lambda a, b: (a, b)), "one behind the other, not averaged"),
    (of_both(lambda a, b: np.concatenate([a, b])), "The rows of the mirror images follow"),
    (of_both(lambda a, b: np.concatenate([a, b], axis=1)), "The two stand side by side"),
    (
        of_both(lambda a, b: (a + b)[:2] / 2),
        "of shape (2, 7) for 5 pictures and 7 classes. Expected",
    ),
    (of_both(lambda a, b: (a + b).T / 2), "of shape (7, 5) for 5 pictures and 7 classes. Expected"),
    (of_both(lambda a, b: (a + b) / 4), "the numbers of a picture add up to 0.5"),
    (of_both(lambda a, b: a - b), "Probabilities add up to 1"),
    (of_both(lambda a, b: np.full_like(a, np.nan)), "add up to nan"),
    (of_both(lambda a, b: np.eye(7)[(a + b).argmax(1)]), "5 of 5 pictures get other probabilities"),
    (of_both(lambda a, b: (a + 2 * b) / 3), "5 of 5 pictures get other probabilities"),
    (both_of_other_pictures, "are neither one of yours nor its mirror image"),
    (of_both(lambda a, b: np.vstack([a[:1], (a + b)[1:] / 2])), "1 of 5 pictures get other"),
    (of_both(lambda a, b: np.eye(7, dtype="uint8")[:5]), "5 of 5 pictures get other probabilities"),
    (of_both(lambda a, b: {"a": a}), "no array of numbers. Expected: a row for each picture"),
    (of_both(lambda a, b: str(a)), "no array of numbers"),
    (of_both(lambda a, b: a > b), "no array of numbers"),
    (of_both(lambda a, b: a + 1j), "no array of numbers"),
    (of_both(lambda a, b: [[1], [1, 2]]), "no array of numbers"),
    (lambda model, pictures: (x for x in [1]), "returned <generator>, no array of numbers"),
    (lambda model, pictures: model, "returned <Functional>, no array of numbers"),
    (lambda model, pictures: model(keras.Input((8, 12, 3))), "returned <KerasTensor>, no array"),
    (
        lambda model, pictures: pictures,
        "of shape (5, 8, 12, 3) for 5 pictures and 7 classes. Those",
    ),
    (lambda model, pictures: both(model, pictures[0]), "A model takes a batch of pictures"),
    (lambda model, pictures: model(np.rot90(pictures, axes=(1, 2))), "have changed places"),
    (lambda model, pictures: model(pictures.swapaxes(1, 2)), "have changed places"),
    (lambda model, pictures: model(pictures[np.newaxis]), "`pictures` is a batch already"),
    (lambda model, pictures: model(pictures[:, :4]), "found shape=(5, 4, 12, 3)"),
    (lambda model: model, "your function raised TypeError"),
]


@pytest.mark.parametrize(("function", "words"), FLIPS)
def test_wrong_mean_of_mirror_images_gets_its_diagnosis(verdict, function, words):
    said = verdict("06-flip", function)
    assert said.startswith("look again: ")
    assert words in said


def test_no_axis_of_the_pictures_for_the_mirror_image_passes_for_another():
    shape = notebook06._pictures().shape
    assert len({*shape, probes.CLASSES}) == 5


# Whatever the answer


class Hostile:
    """An answer that raises whatever is done to it."""

    def __getattr__(self, name):
        raise RuntimeError("no attribute")

    def __fail(self, *args, **options):
        raise RuntimeError("no")

    __eq__ = __hash__ = __repr__ = __iter__ = __len__ = __float__ = __call__ = __bool__ = __fail


def raises(error):
    def function(*args, **options):
        raise error

    return function


GARBAGE = [
    "",
    "x" * 1000,
    b"ab",
    [],
    {},
    {"a": 1},
    object(),
    [object(), []],
    Hostile(),
    (Hostile(), 1, 2),
    Hostile,
    float("nan"),
    float("inf"),
    -1,
    10**400,
    1j,
    np.zeros(3),
    np.zeros((2, 2)),
    layers.ReLU(),
    layers.ReLU,
    keras,
    lambda: 1,
    lambda *args, **options: 1000,
    lambda *args, **options: object(),
    lambda *args, **options: Hostile(),
    lambda *args, **options: (Hostile(), 1),
    lambda *args, **options: args[0],
    raises(ValueError),
    raises(SystemExit(1)),
    raises(RecursionError("too deep")),
    raises(RuntimeError(object())),
]


@pytest.mark.parametrize("name", NAMES)
def test_garbage_gets_a_sentence(verdict, name):
    for number, answer in enumerate(GARBAGE):
        said = verdict(name, answer)
        assert said.startswith("look again: "), number
        assert "0x" not in said, number
        assert len(said) < 600, number


@pytest.mark.parametrize(
    "name",
    [
        "01-residual",
        "02-identity-block",
        "03-depth",
        "07-predict",
        "07-finetune",
        "06-rate",
        "06-flip",
    ],
)
def test_error_of_the_readers_function_is_told(verdict, name):
    said = verdict(name, raises(TypeError("Add() takes no list")))
    assert said.startswith("look again: your function raised TypeError: Add() takes no list")


def test_colours_and_tensor_names_in_an_error_are_left_out():
    error = ValueError(
        "\x1b[1mno <KerasTensor shape=(1,), name=keras_tensor_3>\x1b[0m\n\nat 0x7f12"
    )
    assert core.error_told(error) == "ValueError: no <KerasTensor shape=(1,)>"


def test_lines_are_short_enough_to_read(capsys):
    exercises.check("02-parameters", 57600)
    exercises.hint("02-parameters", number=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= core.WIDTH


@pytest.mark.parametrize("name", TABLES)
def test_check_says_the_same_twice_and_leaves_random_states_alone(verdict, name):
    random.seed(3)
    np.random.seed(3)
    states = random.getstate(), np.random.get_state()
    function = TABLES[name][0](next(iter(TABLES[name][2])))
    assert verdict(name, function) == verdict(name, function)
    assert random.getstate() == states[0]
    np.testing.assert_equal(np.random.get_state(), states[1])


def test_random_numbers_in_the_readers_function_are_the_same_each_time(verdict):
    def function(depth):
        return int(np.random.randint(10**6) + random.randrange(10**6)) + 10**6

    assert verdict("03-depth", function) == verdict("03-depth", function)


# Names and hints


def test_counts_that_a_verdict_names_are_those_of_resnet50():
    backbone = rl.resnet50((64, 64, 3), include_top=False)
    counted = rl.count_parameters(for_fine_tuning(backbone, 6))
    millions = f"{counted.total / 1e6:.1f} million"
    assert f"{counted.trainable:,} of {millions}" in notebook07.EXERCISES["07-finetune"].why


def test_every_exercise_has_a_name_with_a_notebook_number():
    assert all(re.fullmatch(r"\d\d-[a-z]+(-[a-z]+)*", name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_a_hint(capsys, name):
    assert exercises.hint(name, number=1) is None
    said = capsys.readouterr().out
    assert said.startswith("hint 1 of ")
    assert len(said.split()) > 10


@pytest.mark.parametrize("function", [lambda name: exercises.check(name, 1), exercises.hint])
def test_unknown_name_is_an_error_that_names_the_nearest(function):
    with pytest.raises(ValueError, match=r"nearest: '01-residual'.* Received: '01-residul'"):
        function("01-residul")
    with pytest.raises(ValueError, match=r"'02-identity-block'.* Received: 7"):
        function(7)
