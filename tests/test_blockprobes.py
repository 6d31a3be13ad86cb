"""A block is judged by what it computes, learns and is called, whatever it is written as."""

import re
from functools import cache, partial

import numpy as np
import pytest

from resnet_lib import blocks
from resnet_lib.exercises import blockprobes, core, notebook02, notebook04, probes

# After resnet_lib, which prepares the environment for TensorFlow.
import keras  # isort: skip
from keras import layers, ops  # isort: skip

EXERCISES = {**notebook02.EXERCISES, **notebook04.EXERCISES}
V1, V2 = "02-identity-block", "04-preactivation"
NAMES = (V1, V2)


def verdict(name, function):
    return " ".join(core.verdict(EXERCISES[name], name, function).split())


# A block as it should be, with places to put something else in


def unchanged(y):
    return y


def conv(filters, name=None, **options):
    return layers.Conv2D(filters, 3, **{"padding": "same", "use_bias": False, **options}, name=name)


def twice(**options):
    return options, options


def block(exercise, *, c=({}, {}), b=({}, {}), call=None, **places):
    """Return a function that makes a block, with other options or something in a place of it.

    Args:
        exercise: V1 or V2.
        c: options of the two convolutions.
        b: options of the two batch normalisations.
        call: options of the normalisations' calls.
        **places: functions for the places `skip`, `inner`, `end` (of the branch) and `out`.
    """
    place = {**dict.fromkeys(("skip", "inner", "end", "out"), unchanged), **places}

    def function(x, filters, name):
        convolutions = [conv(filters, f"{name}_conv{i}", **each) for i, each in enumerate(c)]
        norms = [
            partial(layers.BatchNormalization(name=f"{name}_bn{i}", **each), **(call or {}))
            for i, each in enumerate(b)
        ]
        return order_of(exercise, convolutions, norms, x, **place)

    return function


def order_of(
    exercise,
    convolutions,
    norms,
    x,
    relu=ops.relu,
    skip=unchanged,
    inner=unchanged,
    end=unchanged,
    out=unchanged,
):
    """Compute a block with layers made elsewhere."""
    (conv1, conv2), (bn1, bn2) = convolutions, norms
    if exercise == V1:
        return out(relu(skip(x) + end(bn2(conv2(inner(relu(bn1(conv1(x)))))))))
    return out(skip(x) + end(conv2(relu(bn2(inner(conv1(relu(bn1(x)))))))))


# Right answers, in forms that nobody foresaw


def subclassed(exercise):
    class Block(layers.Layer):
        def __init__(self, filters, **options):
            super().__init__(**options)
            self.norms = [layers.BatchNormalization() for _ in range(2)]
            self.convolutions = [conv(filters) for _ in range(2)]

        def call(self, x):
            return order_of(exercise, self.convolutions, self.norms, x)

    return lambda x, filters, name: Block(filters, name=name)(x)


def subclassed_and_built_late(exercise):
    class Block(layers.Layer):
        def build(self, shape):
            self.conv2, self.bn2 = conv(shape[-1]), layers.BatchNormalization(epsilon=1e-5)
            self.conv1, self.bn1 = conv(shape[-1]), layers.BatchNormalization(momentum=0.9)

        def call(self, x, training=None):
            norms = [partial(bn, training=training) for bn in (self.bn1, self.bn2)]
            relu = partial(ops.maximum, 0.0)
            return order_of(exercise, (self.conv1, self.conv2), norms, x, relu)

    return lambda x, filters, name: Block(name=name)(x)


def subclassed_model(exercise):
    class Block(keras.Model):
        def __init__(self, filters, **options):
            super().__init__(**options)
            self.norms = [layers.BatchNormalization() for _ in range(2)]
            self.convolutions = [conv(filters) for _ in range(2)]

        def call(self, x):
            return order_of(exercise, self.convolutions, self.norms, x)

    return lambda x, filters, name: Block(filters, name=name)(x)


def sequential(exercise):
    def function(x, filters, name):
        norm, relu = layers.BatchNormalization, layers.ReLU
        if exercise == V1:
            branch = keras.Sequential([conv(filters), norm(), relu(), conv(filters), norm()])
        else:
            first = [norm(), relu(), conv(filters), norm()]
            branch = keras.Sequential([*first, relu(), conv(filters)])
        branch.name = f"{name}_branch"
        y = layers.Add()([branch(x), x])
        return layers.ReLU()(y) if exercise == V1 else y

    return function


def inner_model(exercise):
    def function(x, filters, name):
        inputs = keras.Input(x.shape[1:])
        return keras.Model(inputs, block(exercise)(inputs, filters, "inner"), name=name)(x)

    return function


def by_operators_in_another_order(exercise):
    def function(x, filters, name):
        norms = [layers.BatchNormalization(name=f"{name}_{i}") for i in "ab"]
        convolutions = [conv(filters, f"{name}_{i}") for i in "cd"]
        return order_of(exercise, convolutions[::-1], norms[::-1], x)

    return function


def padded_by_a_layer(exercise):
    def function(x, filters, name):
        valid = [conv(filters, f"{name}_{i}", padding="valid") for i in "cd"]
        convolutions = [lambda y, c=c: c(layers.ZeroPadding2D()(y)) for c in valid]
        norms = [layers.BatchNormalization(name=f"{name}_{i}") for i in "ab"]
        return order_of(exercise, convolutions, norms, x, keras.activations.relu)

    return function


FORMS = {
    "plain": block,
    "subclassed": subclassed,
    "subclassed-built-late": subclassed_and_built_late,
    "subclassed-model": subclassed_model,
    "sequential": sequential,
    "inner-model": inner_model,
    "operators-another-order": by_operators_in_another_order,
    "padding-layers": padded_by_a_layer,
    "other-epsilon": partial(block, b=twice(epsilon=1e-2, momentum=0.5)),
    "other-kernels": partial(block, c=twice(kernel_initializer="orthogonal")),
    "decay": partial(block, c=twice(kernel_regularizer=keras.regularizers.L2(0.1))),
    "half-precision": partial(block, c=twice(dtype="mixed_bfloat16")),
    "dropout-of-nothing": partial(block, end=lambda y: layers.Dropout(0.0)(y)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_right_block_in_any_form_is_correct(name, form):
    assert verdict(name, FORMS[form](name)) == f"correct: {EXERCISES[name].why}"


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_is_correct(name):
    stand_in = EXERCISES[name].stand_in
    assert verdict(name, stand_in) == f"correct: {EXERCISES[name].why}"
    assert stand_in(keras.Input((8, 8, 3)), 3, "block").shape == (None, 8, 8, 3)


@pytest.mark.parametrize(
    ("name", "zeros"),
    [
        (V1, {"b": ({}, {"gamma_initializer": "zeros"})}),
        (V1, {"c": ({}, {"kernel_initializer": "zeros"})}),
        (V2, {"c": ({}, {"kernel_initializer": "zeros"})}),
    ],
    ids=["v1-zero-gamma", "v1-zero-kernel", "v2-zero-kernel"],
)
def test_branch_that_starts_at_zero_is_a_variant(name, zeros):
    said = verdict(name, block(name, **zeros))
    assert said.startswith("correct: a variant: your branch ends in zeros")
    assert said.endswith(EXERCISES[name].why)


# Wrong answers: each mistake has a diagnosis of its own


def projected(x):
    return layers.Conv2D(x.shape[-1], 1, use_bias=False)(x)


def pooled_and_projected(x):
    return projected(layers.AveragePooling2D(2, 1, padding="same")(x))


class Louder(layers.Layer):
    def call(self, x, training=False):
        return 2 * x if training else x


MISTAKES = {
    "bn-in-inference": (dict(call={"training": False}), "called with training=False"),
    "bn-in-training": (dict(call={"training": True}), "the statistics of the batch in inference"),
    "bn-frozen": (dict(b=twice(trainable=False)), "batch normalisation of your block is frozen"),
    "dropout": (dict(end=lambda y: layers.Dropout(0.9)(y)), "output each time: Dropout. This"),
    "noise": (dict(inner=lambda y: layers.GaussianNoise(0.3)(y)), "each time: GaussianNoise."),
    "louder": (dict(end=lambda y: Louder()(y)), "in training it computes something else"),
    "conv-frozen": (dict(c=({}, {"trainable": False})), "a convolution of your block is frozen"),
    "skip-cut": (dict(skip=ops.stop_gradient), "no gradient passes through the skip"),
    "branch-cut": (dict(end=ops.stop_gradient), "no gradient passes through the branch"),
    "all-cut": (dict(out=ops.stop_gradient), "no gradient gets into your block"),
    "loss-added": (
        dict(end=lambda y: layers.ActivityRegularization(l2=1.0)(y)),
        "changes the weights in another way",
    ),
    "kernels-zero": (dict(c=twice(kernel_initializer="zeros")), "your kernels start as zeros"),
    "kernels-one": (dict(c=twice(kernel_initializer="ones")), "start with one number everywhere"),
    "gamma-zero": (
        dict(b=twice(gamma_initializer="zeros")),
        "a zero lies before a ReLU and lets no gradient pass",
    ),
    "projection": (dict(skip=projected), "a projection. That is a variant"),
    "resnet-d": (dict(skip=pooled_and_projected), "are a variant, the shortcut of ResNet-D"),
    "sum-normalised": (
        dict(out=lambda y: layers.BatchNormalization()(y)),
        "a third batch normalisation",
    ),
    "skip-normalised": (
        dict(skip=lambda y: layers.BatchNormalization()(y)),
        "the skip has a batch normalisation of its own",
    ),
    "skip-relu": (dict(skip=ops.relu), "the skip goes through a ReLU of its own"),
    "branch-relu": (dict(end=ops.relu), "ReLU"),
    "biases": (dict(c=twice(use_bias=True)), "your convolutions have biases"),
    "activation": (dict(c=twice(activation="relu")), "The argument `activation` of Conv2D"),
    "scaled": (dict(end=lambda y: 0.1 * y), "Compare the order"),
    "axis": (dict(b=({"axis": 1}, {})), "another axis than that of the channels"),
    "layer-norm": (
        dict(inner=lambda y: layers.LayerNormalization()(y)),
        "that it does not need: LayerNormalization.",
    ),
    "unpadded": (dict(c=twice(padding="valid")), "a 3x3 convolution without padding"),
    "strides": (dict(c=({"strides": 2}, {})), "a stride halves"),
}


def ignoring(**fixed):
    """Return a function that makes a block with a fixed value in place of an argument."""

    def of(exercise):
        def function(x, filters, name):
            return block(exercise)(x, **{"filters": filters, "name": name, **fixed})

        return function

    return of


def nameless(exercise):
    def function(x, filters, name):
        norms = [layers.BatchNormalization() for _ in range(2)]
        return order_of(exercise, [conv(filters), conv(filters)], norms, x)

    return function


def one_name(exercise):
    def function(x, filters, name):
        norms = [layers.BatchNormalization(name=name) for _ in range(2)]
        return order_of(exercise, [conv(filters), conv(filters)], norms, x)

    return function


def shared(exercise, filters=16):
    convolutions = [conv(filters) for _ in range(2)]
    norms = [layers.BatchNormalization() for _ in range(2)]
    return lambda x, filters, name: order_of(exercise, convolutions, norms, x)


def half_as_many(exercise):
    def function(x, filters, name):
        norms = [layers.BatchNormalization() for _ in range(2)]
        return order_of(exercise, [conv(filters // 2), conv(filters)], norms, x)

    return function


def frozen_model(exercise):
    def function(x, filters, name):
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, block(exercise)(inputs, filters, name))
        model.trainable = False
        return model(x)

    return function


OTHERS = {
    "64-filters": (ignoring(filters=64), "works where `filters` is 64, not where"),
    "4-filters": (
        ignoring(filters=4),
        "works where `filters` is 4, not where it is 6",
    ),
    "half-the-filters": (half_as_many, "your convolutions have 2 and 4 filters"),
    "fixed-name": (ignoring(name="mine"), "two do not fit into one model"),
    "nameless": (nameless, "its layers do not bear its name: "),
    "one-name": (one_name, "two layers of your block have the same name"),
    "shared": (shared, "they are made outside of it, once"),
}


@cache
def said_of(name, mistake):
    if mistake in OTHERS:
        return verdict(name, OTHERS[mistake][0](name))
    return verdict(name, block(name, **MISTAKES[mistake][0]))


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", NAMES)
def test_mistake_is_named(name, mistake):
    said = said_of(name, mistake)
    assert said.startswith("look again: ")
    assert MISTAKES[mistake][1] in said


@pytest.mark.parametrize("mistake", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_argument_that_is_not_used_is_named(name, mistake):
    said = said_of(name, mistake)
    assert said.startswith("look again: ")
    assert OTHERS[mistake][1] in said


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_two_mistakes_have_one_diagnosis(name):
    said = {mistake: said_of(name, mistake) for mistake in (*MISTAKES, *OTHERS)}
    assert len(set(said.values())) == len(said)


@pytest.mark.parametrize("mistake", ["skip-cut", "bn-in-inference", "dropout"])
@pytest.mark.parametrize("name", NAMES)
def test_mistake_inside_a_layer_of_the_readers_is_named(name, mistake):
    class Block(layers.Layer):
        def __init__(self, filters, **options):
            super().__init__(**options)
            self.norms = [layers.BatchNormalization() for _ in range(2)]
            self.convolutions = [conv(filters) for _ in range(2)]
            self.dropout = layers.Dropout(0.5)

        def call(self, x):
            if mistake == "bn-in-inference":
                norms = [partial(norm, training=False) for norm in self.norms]
                return order_of(name, self.convolutions, norms, x)
            places = {"end": self.dropout} if mistake == "dropout" else {"skip": ops.stop_gradient}
            return order_of(name, self.convolutions, self.norms, x, **places)

    said = verdict(name, lambda x, filters, name: Block(filters, name=name)(x))
    assert said.startswith("look again: ")
    assert MISTAKES[mistake][1].split(":")[0] in said


@pytest.mark.parametrize("name", NAMES)
def test_frozen_model_is_named(name):
    assert "is frozen: `trainable` is False" in verdict(name, frozen_model(name))


@pytest.mark.parametrize("built", [False, True])
def test_shared_layers_are_named_though_they_were_built_for_other_channels(built):
    function = shared(V1)
    if built:
        function(keras.Input((8, 8, 16)), 16, "block")
    assert "made outside of it, once" in verdict(V1, function)


@pytest.mark.parametrize("name", NAMES)
def test_one_shared_batch_normalisation_is_named(name):
    norm = layers.BatchNormalization()

    def function(x, filters, **_):
        return order_of(
            name, [conv(filters), conv(filters)], [layers.BatchNormalization(), norm], x
        )

    assert "made outside of it, once" in verdict(name, function)


def test_bottleneck_is_named():
    def function(x, filters, name):
        return blocks.bottleneck_block(x, filters // 4, name=name)

    assert "your block is a bottleneck" in verdict(V1, function)


def test_function_with_other_arguments_is_told_how_it_is_called():
    said = verdict(V1, lambda x, filters, prefix: block(V1)(x, filters, prefix))
    assert said.endswith("It is called with (x, filters, name=…).")
    misspelt = block(V1, c=twice(pading="same"))
    assert "It is called with" not in verdict(V1, misspelt)
    assert "pading" in verdict(V1, misspelt)


def test_rare_dropout_is_named():
    function = block(V1, end=lambda y: layers.Dropout(1e-6)(y))
    assert "gives another output each time: Dropout." in verdict(V1, function)


def test_what_a_right_function_prints_is_seen_once(capsys):
    def function(x, filters, name):
        print("the shape is", x.shape)
        return block(V1)(x, filters, name)

    assert verdict(V1, function).startswith("correct: ")
    assert capsys.readouterr().out.count("the shape is") == 1


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "gelu", "tanh", "relu6"])
def test_another_function_than_relu_is_named(activation):
    def function(x, filters, name):
        norms = [layers.BatchNormalization() for _ in range(2)]
        relu = layers.Activation(activation)
        return order_of(V1, [conv(filters), conv(filters)], norms, x, relu)

    assert "another function than ReLU stands where" in verdict(V1, function)


def test_a_mistake_that_keras_overrules_is_overruled():
    x, norm = keras.Input((4, 4, 3)), layers.BatchNormalization()
    model = keras.Model(x, norm(x, training=False))
    model(np.random.default_rng(0).normal(size=(8, 4, 4, 3)), training=True)
    assert np.any(ops.convert_to_numpy(norm.moving_mean))


# What the lines of steps say


@pytest.mark.parametrize("right", [notebook02.IDENTITY_BLOCK, notebook04.PREACTIVATION_BLOCK])
def test_lines_with_a_cut_change_weights_in_other_ways_than_the_right_one(right):
    found = {line: blockprobes._changes_of(line) for line in (right, *blockprobes._cut(right))}
    assert probes.same_changes(found[right], blockprobes._changes_of(right))
    for line in blockprobes._cut(right):
        assert not probes.same_changes(found[line], found[right]), line
    assert max(len(re.findall("cut", line)) for line in found) == 1


@pytest.mark.parametrize("right", [notebook02.IDENTITY_BLOCK, notebook04.PREACTIVATION_BLOCK])
def test_a_step_changes_every_weight_by_far_more_than_rounding(right):
    assert all(np.abs(change).max() > 1e-3 for change in blockprobes._changes_of(right))


@pytest.mark.parametrize("right", [notebook02.IDENTITY_BLOCK, notebook04.PREACTIVATION_BLOCK])
def test_lines_that_are_derived_are_told_from_the_right_one(right):
    x = blockprobes._pictures()
    output = blockprobes.follow_block(right, x)
    derived = [*blockprobes._always_training(right), *blockprobes._activated(right)]
    for line in [*derived, *probes.other_activations(right)]:
        assert not probes.same(blockprobes.follow_block(line, x), output), line
