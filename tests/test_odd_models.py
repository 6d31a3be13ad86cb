"""Models as people bring them: odd layers are copied faithfully, and what is refused says why.

Each model here takes pictures of 16x16 and returns the probabilities of ten classes.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops
from small import DATA, SHORT, net

from resnet_lib import training
from resnet_lib.recipes import WeightDecay
from resnet_lib.training.copies import copied
from resnet_lib.training.network import check_model, prepared

PICTURES = DATA.train.images[:8]
PIXELS = (PICTURES / 255).astype("float32")
SHAPE = (16, 16, 3)
CHANNEL = replace(SHORT, epochs=1, normalize="channel")


class Plain(keras.layers.Layer):
    """A layer of one's own that is registered nowhere and says little of itself."""

    def __init__(self, filters=4):
        super().__init__()
        self.filters = filters

    def build(self, shape):
        self.conv = layers.Conv2D(self.filters, 3, padding="same")
        self.conv.build(shape)
        self.gain = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return self.gain * self.conv(x) + x[..., :1]

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.filters)

    def get_config(self):
        return {"filters": self.filters}


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A block of one's own, of layers that are made at once."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.conv = layers.Conv2D(filters, 3, padding="same")
        self.norm = layers.BatchNormalization()

    def call(self, x):
        y = self.norm(self.conv(x))
        return ops.concatenate([y + ops.mean(x, -1, keepdims=True), x], -1)

    def get_config(self):
        return super().get_config() | {"filters": self.filters}


class Halved(keras.Model):
    """A subclassed model, for use inside another."""

    def __init__(self, filters=4, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(filters, 3, strides=2)

    def call(self, x):
        return self.conv(x)


def twice(x):
    return 2 * ops.tanh(x)


def head(x):
    return layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def conv(x, filters=4, **options):
    return layers.Conv2D(filters, 3, padding="same", **options)(x)


def shortcut_by_hand(x):
    x = conv(x)
    short = x[:, ::2, ::2]
    y = conv(x, 8, strides=2)
    return head(ops.relu(y + ops.concatenate([short, ops.zeros_like(short)], -1)))


def grey_levels(x):
    return head(conv(ops.cast(ops.cast(8 * x, "int32"), "float32") / 8))


def one_hot_levels(x):
    levels = ops.one_hot(ops.cast(7.99 * ops.clip(x[..., 0], 0, 1), "int32"), 8, dtype="float32")
    return head(conv(levels))


def levels_by_a_layer(x):
    return head(conv(layers.Rescaling(1, dtype="int32")(8 * x) / 8))


def table_of_levels(x):
    levels = layers.Discretization(bin_boundaries=[0.25, 0.5, 0.75])(x[..., 0])
    return head(conv(layers.Embedding(4, 3)(levels)))


def adapted(x):
    normalize = layers.Normalization()
    normalize.adapt(2 * PIXELS)
    return head(conv(normalize(2 * x)))


def shared(x):
    layer, inner = layers.Conv2D(3, 3, padding="same"), layers.Dense(3)
    nested = keras.Sequential([keras.Input(SHAPE), layer, inner])
    return head(nested(inner(layer(x))))


def nested(x):
    inputs = {"a": keras.Input(SHAPE, name="a"), "b": keras.Input(SHAPE, name="b")}
    inner = keras.Model(inputs, {"sum": conv(inputs["a"]) + conv(inputs["b"])}, name="inner")
    inner.compile("sgd", loss=twice)
    return head(keras.Sequential([layers.ReLU(), layers.Dense(5)])(inner({"a": x, "b": -x})["sum"]))


def wrappers(x):
    rows = layers.TimeDistributed(keras.Sequential([layers.Dense(5), layers.Dense(4)]))(x)
    rows = layers.TimeDistributed(Plain())(rows[:, None])[:, 0]
    return head(layers.SpectralNormalization(layers.Conv2D(4, 3))(rows))


def attention(x):
    x = layers.Reshape((256, 4))(conv(x))
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x) + x)
    return layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x))


def own_dtypes(x):
    x = layers.Conv2D(4, 3, dtype="float64")(x)
    x = layers.Conv2D(4, 3, dtype="mixed_float16")(x)
    return head(layers.BatchNormalization(dtype="float32")(x))


def functions(x):
    x = conv(x, activation=twice)
    return head(
        layers.Activation(lambda x: ops.abs(x))(layers.Dense(4, activation=lambda x: -x)(x))
    )


def in_float32_alone(x):
    import tensorflow as tf

    return head(conv(layers.Lambda(lambda x: x * tf.constant(0.5))(conv(x))))


def augmented(x):
    x = layers.RandomFlip()(layers.RandomRotation(0.1)(layers.RandomTranslation(0.1, 0.1)(x)))
    x = layers.RandomContrast(0.1, value_range=(0, 1))(layers.GaussianNoise(0.1)(x))
    return head(conv(layers.Resizing(20, 20)(layers.CenterCrop(14, 14)(x))))


ODD = {
    "shortcut by hand": shortcut_by_hand,
    "grey levels": grey_levels,
    "levels by a layer": levels_by_a_layer,
    "one hot": one_hot_levels,
    "table": table_of_levels,
    "adapted": adapted,
    "shared": shared,
    "nested": nested,
    "wrappers": wrappers,
    "attention": attention,
    "own dtypes": own_dtypes,
    "functions": functions,
    "lambda": in_float32_alone,
    "augmented": augmented,
    "own layer": lambda x: head(Plain()(x)),
    "own block": lambda x: head(Block(5, name="first")(Block(4)(x))),
    "subclassed inside": lambda x: head(Halved()(x)),
    "groups": lambda x: head(layers.GroupNormalization(2)(conv(x))),
    "cast last": lambda x: ops.cast(head(conv(x)), "float32"),
    "softmax last": lambda x: ops.softmax(layers.Dense(10)(layers.Flatten()(conv(x)))),
    "separable": lambda x: head(layers.SeparableConv2D(4, 3)(layers.DepthwiseConv2D(3)(x))),
}


def built(build, name="odd"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, build(inputs), name=name)
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        for weight in layer._trainable_variables:
            weight.assign(weight + 0.1 * random.normal(size=weight.shape))
    return model


def assert_returns(model, pictures, expected, atol):
    np.testing.assert_allclose(model(pictures, training=False), expected, atol=atol)


@pytest.mark.parametrize("build", ODD.values(), ids=ODD)
def test_a_copy_computes_what_the_original_does_and_is_trained(build):
    model = built(build)
    config, expected = model.get_config(), np.asarray(model(PIXELS, training=False))
    check_model(model, DATA, CHANNEL)
    rounding = 1e-3 if build is own_dtypes else 1e-6  # The original computes in 16 bits there.
    assert_returns(copied(model), PIXELS, expected, 1e-6)
    assert_returns(prepared(model, CHANNEL), PIXELS, expected, rounding)
    assert_returns(prepared(model, CHANNEL, "mixed_bfloat16"), PIXELS, expected, 0.03)
    whole = prepared(model, replace(CHANNEL, normalize=None), "mixed_bfloat16", PICTURES)
    assert_returns(whole, PICTURES, expected, 0.03)
    whole.compile("sgd", "sparse_categorical_crossentropy")
    before = whole.get_weights()
    assert np.isfinite(whole.train_on_batch(PICTURES, DATA.train.labels[:8]))
    assert any((a != b).any() for a, b in zip(before, whole.get_weights(), strict=True))
    assert str(model.get_config()) == str(config)


# What a model returns, and what it does to its pixels, is judged by what comes out of it.


def refused(model, match, data=DATA, recipe=CHANNEL):
    with pytest.raises(ValueError, match=rf"(?s)^Expected.*Received.*{match}"):
        check_model(model, data, recipe)


def features(x):
    return layers.Flatten()(conv(x))


SCORES = {
    "linear": lambda x: layers.Dense(10)(x),
    "dropout": lambda x: layers.Dropout(0.5)(layers.Dense(10)(x)),
    "reshape": lambda x: layers.Reshape((10,))(layers.Dense(10)(x)),
    "add": lambda x: layers.Add()([layers.Dense(10)(x), layers.Dense(10)(x)]),
    "relu": lambda x: layers.ReLU()(layers.Dense(10)(x)),
    "sigmoid": lambda x: layers.Dense(10, "sigmoid", kernel_initializer="zeros")(x),
    "log": lambda x: layers.Dense(10, activation="log_softmax")(x),
    "nested": lambda x: keras.Sequential([layers.Dense(10)])(x),
    "other axis": lambda x: layers.Softmax(axis=0)(layers.Dense(10)(x)),
}


@pytest.mark.parametrize("last", SCORES.values(), ids=SCORES)
def test_scores_are_refused_whatever_the_last_layer(last):
    refused(built(lambda x: last(features(x))), "odd, whose last layer, .*, returns .* add up to")


def test_scores_that_happen_to_add_up_to_one_are_refused():
    """Two sigmoids of 0, until something is learnt."""
    two = replace_classes(2)
    inputs = keras.Input(SHAPE)
    top = layers.Dense(2, activation="sigmoid", kernel_initializer="zeros")(features(inputs))
    refused(keras.Model(inputs, top), "add up to", two)


def replace_classes(number):
    parts = (DATA.train, DATA.validation, DATA.test)
    parts = [replace(part, labels=part.labels % number) for part in parts]
    return replace(
        DATA,
        **dict(zip(("train", "validation", "test"), parts, strict=True)),
        class_names=DATA.class_names[:number],
    )


PROBABILITIES = {
    "operation": lambda x: ops.softmax(layers.Dense(10)(x)),
    "layer": lambda x: layers.Softmax()(layers.Dense(10)(x)),
    "nested": lambda x: keras.Sequential([layers.Dense(10), layers.Activation("softmax")])(x),
    "reshaped": lambda x: layers.Reshape((10,))(layers.Dense(10, activation="softmax")(x)),
    "mean": lambda x: layers.Average()([layers.Dense(10, "softmax")(x) for _ in range(2)]),
    "16 bits": lambda x: ops.cast(layers.Dense(10, "softmax")(x), "bfloat16"),
    "logs": lambda x: ops.exp(layers.Dense(10, activation="log_softmax")(x)),
}


@pytest.mark.parametrize("last", PROBABILITIES.values(), ids=PROBABILITIES)
def test_probabilities_are_taken_whatever_the_last_layer(last):
    check_model(built(lambda x: last(features(x))), DATA, CHANNEL)


class Scaled(keras.layers.Layer):
    """A layer of one's own that scales pixels, and has a convolution."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(4, 3, name="inside")

    def call(self, x):
        return self.conv(x / 127.5 - 1)


def adapted_to(pixels):
    normalize = layers.Normalization(name="fitted")
    normalize.adapt(pixels)
    return normalize


def two_branches(x):
    return head(layers.Add()([conv(x), conv(x / 255.0)]))


DOUBLED = {
    "rescaling": (lambda x: head(conv(layers.Rescaling(1 / 255, name="mine")(x))), "mine"),
    "to -1": (lambda x: head(conv(layers.Rescaling(1 / 127.5, offset=-1, name="mine")(x))), "mine"),
    "adapted": (lambda x: head(conv(adapted_to(PICTURES)(x))), "fitted"),
    "division": (lambda x: head(conv(x / 255)), "true_divide"),
    "caffe": (lambda x: head(conv(keras.applications.resnet.preprocess_input(x))), "add"),
    "tf": (lambda x: head(conv(keras.applications.mobilenet.preprocess_input(x))), "true_divide"),
    "lambda": (lambda x: head(conv(layers.Lambda(lambda x: x / 255, name="mine")(x))), "mine"),
    "deep": (
        lambda x: head(
            keras.Sequential([layers.Rescaling(1 / 255, name="mine"), layers.Conv2D(4, 3)])(x)
        ),
        "mine",
    ),
    "padded": (lambda x: head(conv(layers.ZeroPadding2D()(x[:, 1:] / 255))), "zero_padding2d"),
    "moved": (lambda x: head(conv(layers.RandomTranslation(0.5, 0.5)(x) / 255)), "true_divide"),
    "own layer": (lambda x: head(Scaled()(x)), "inside"),
    "subclassed": (lambda x: head(Halved()(x / 255)), "true_divide"),
    "time": (lambda x: head(layers.TimeDistributed(layers.Dense(4))(x / 255)), "true_divide"),
    "dense": (lambda x: layers.Dense(10, "softmax")(layers.Flatten()(x / 255)), "true_divide"),
    "norm first": (lambda x: head(layers.BatchNormalization()(x / 255)), "true_divide"),
    "one branch": (two_branches, "true_divide"),
    "multiplied": (lambda x: head(conv(x * 255)), "multiply"),
    "root": (lambda x: head(conv(ops.sqrt(x))), "sqrt"),
}


@pytest.mark.parametrize(("build", "named"), DOUBLED.values(), ids=DOUBLED)
def test_preprocessing_in_a_model_is_refused_and_named(build, named):
    refused(built(build), rf"odd, in which .*{named}.* make mean .* and spread .* of pixels with")


@pytest.mark.parametrize("normalize", ["image", None])
def test_preprocessing_is_refused_whatever_the_recipe_does(normalize):
    recipe = replace(CHANNEL, normalize=normalize)
    for build, named in list(DOUBLED.values())[:5]:
        refused(built(build), named, recipe=recipe)


HARMLESS = {
    "padding": lambda x: head(conv(layers.ZeroPadding2D(4)(x))),
    "cropping": lambda x: head(conv(layers.CenterCrop(8, 8)(x))),
    "larger": lambda x: head(conv(layers.Resizing(32, 32)(x))),
    "smaller": lambda x: head(conv(layers.Resizing(8, 8)(x))),
    "flip": lambda x: head(conv(layers.RandomFlip()(x))),
    "channels": lambda x: head(conv(x[..., ::-1])),
    "grey": lambda x: head(conv(ops.mean(x, -1, keepdims=True))),
    "noise": lambda x: head(conv(layers.GaussianNoise(0.5)(x))),
    "to -1": lambda x: head(conv(x * 2 - 1)),
    "adapted": lambda x: head(conv(adapted_to(PIXELS)(x))),
    "levels": grey_levels,
    "norm": lambda x: head(conv(layers.BatchNormalization()(x))),
    "norm alone": lambda x: head(conv(layers.BatchNormalization(center=False, scale=False)(x))),
    "pooling": lambda x: head(conv(layers.MaxPooling2D()(x))),
    "colour": lambda x: head(x),
    "patches": lambda x: head(layers.Dense(8)(layers.Reshape((4, 4, 48))(x))),
    "each picture": lambda x: head(
        conv(layers.LayerNormalization((1, 2, 3), center=False, scale=False)(x))
    ),
    "undone": lambda x: head(conv(layers.Rescaling(1 / 255)(x * 255))),
    "constant": lambda x: head(conv(x) + conv(100 * ops.ones_like(x))),
}


@pytest.mark.parametrize("normalize", ["channel", "image", None])
@pytest.mark.parametrize("build", HARMLESS.values(), ids=HARMLESS)
def test_what_leaves_pixels_about_as_they_are_is_taken(build, normalize):
    check_model(built(build), DATA, replace(CHANNEL, normalize=normalize))


def test_pooling_of_noise_is_no_preprocessing():
    noise = np.random.default_rng(0).integers(0, 256, (64, *SHAPE), dtype=np.uint8)
    data = replace(DATA, train=replace(DATA.train.limit(64), images=noise))
    check_model(built(head), data, CHANNEL)
    refused(built(lambda x: head(x / 255)), "true_divide", data)


# What is no model of one input and one output.


class Unready(keras.layers.Layer):
    """A layer of one's own that cannot be made anew."""

    def __init__(self, filters):
        super().__init__()
        self.filters = filters

    def call(self, x):
        return x


def two_inputs():
    inputs = [keras.Input(SHAPE, name="left"), keras.Input(SHAPE, name="right")]
    return keras.Model(inputs, head(layers.Add()(inputs)), name="pair")


def two_outputs():
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, [head(inputs), head(conv(inputs))], name="fork")


def frozen(model):
    model.trainable = False
    model.layers[-1].trainable = True  # Keras still trains nothing: the model's word counts.
    return model


NO_MODELS = {
    "text": (lambda: "resnet20", "'resnet20'"),
    "layer": (lambda: layers.Dense(10), "Dense"),
    "subclassed": (Halved, "a subclassed model.*keras.Model.inputs, model.inputs"),
    "not built": (lambda: keras.Sequential([layers.Dense(10)]), "not built.*keras.Input"),
    "two inputs": (two_inputs, "pair with 2 inputs, left, right"),
    "two outputs": (two_outputs, "fork with 2 outputs.*outputs.0."),
    "map": (lambda: built(lambda x: layers.Dense(10, "softmax")(x)), r"outputs of \(16, 16, 10\)"),
    "frozen": (lambda: frozen(net()), "small, in which none can be trained"),
    "name": (lambda: built(lambda x: head(layers.ReLU(name="scale")(x))), "odd with scale"),
    "unready": (lambda: built(lambda x: head(Unready(3)(x)), "odd"), "unready.* of Unready"),
}


@pytest.mark.parametrize(("build", "said"), NO_MODELS.values(), ids=NO_MODELS)
def test_what_cannot_be_trained_says_which_it_is_and_leaves_no_folder(build, said, tmp_path):
    model = build()
    refused(model, said)
    with pytest.raises(ValueError, match="Expected"):
        training.train(model, DATA, CHANNEL, out=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="Expected"):
        training.for_budget(1, model, DATA, CHANNEL)
    assert not (tmp_path / "run").exists()


def test_what_the_refusal_of_a_subclassed_model_tells_to_do_helps():
    inputs, model = keras.Input(SHAPE), Halved()
    check_model(
        keras.Model(inputs, head(keras.Model(inputs, model(inputs))(inputs))), DATA, CHANNEL
    )


@pytest.mark.parametrize("kind", [dict, list, tuple])
def test_one_output_and_one_input_in_a_dict_or_a_list_are_trained(kind):
    inputs = keras.Input(SHAPE, name="class")
    one = (lambda x: {"class": x}) if kind is dict else lambda x: kind([x])
    run = training.train(keras.Model(one(inputs), one(head(inputs))), DATA, CHANNEL, progress=False)
    assert run.model(PICTURES).shape == (8, 10)
    assert len(run.record["history"]["loss"]) == 1


# The trained model, and Keras' own settings.


def operations_inside(x):
    x = conv(x * 2 - 1, 8)
    return head(ops.relu(keras.Sequential([layers.Conv2D(8, 3), layers.BatchNormalization()])(x)))


def test_a_trained_model_is_flat_of_keras_layers_and_every_file_of_it_loads(tmp_path):
    run = training.train(net(), DATA, CHANNEL, progress=False)
    assert all(type(each).__module__.startswith("keras.") for each in run.model.operations)
    assert all(isinstance(each, keras.Layer) for each in run.model.operations)
    assert all(len(layer._inbound_nodes) == 1 for layer in run.model.layers)
    inside = keras.Model(run.model.input, run.model.layers[-2].output)
    assert inside(PICTURES).shape == (8, 8)
    for name in ("model.h5", "model.keras"):
        run.model.save(tmp_path / name)
        loaded = keras.saving.load_model(tmp_path / name)
        np.testing.assert_allclose(loaded(PICTURES), run.model(PICTURES), atol=1e-6)


def test_a_model_with_operations_keeps_them_and_no_others(tmp_path):
    run = training.train(
        built(operations_inside), DATA, CHANNEL, out=tmp_path / "run", progress=False
    )
    names = [each.name for each in run.model.operations if not isinstance(each, keras.Layer)]
    assert [name.rstrip("_0123456789") for name in names] == ["multiply", "subtract", "relu"]
    loaded = keras.saving.load_model(tmp_path / "run" / "model.keras")
    np.testing.assert_array_equal(loaded(PICTURES), run.model(PICTURES))


@pytest.mark.slow
@pytest.mark.parametrize("floatx", ["float16", "float64"])
def test_a_users_floatx_and_policy_are_left_alone(floatx):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    try:
        model = built(
            lambda x: head(
                layers.BatchNormalization()(Plain()(keras.Sequential([layers.Conv2D(4, 3)])(x)))
            )
        )
        run = training.train(
            model, DATA, replace(CHANNEL, epochs=2, sizes=((1 / 2, 1 / 2), (1, 1))), progress=False
        )
        recipe = training.for_budget(1, model, DATA, CHANNEL)
        assert (keras.config.floatx(), keras.config.dtype_policy().name) == (floatx, floatx)
        assert {weight.dtype for weight in model.weights} == {floatx}
        assert run.model.predict(PICTURES, verbose=0).dtype == "float32"
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert recipe.epochs > 0
    assert {weight.dtype for weight in run.model.weights} == {"float32"}
    with pytest.raises(ValueError, match="Expected"):
        training.train("resnet20", DATA)
    assert keras.config.floatx() == "float32"


def test_a_run_copies_its_model_three_times(monkeypatch):
    """Once to look at it, once to train it, once to keep it."""
    made = []
    clone = keras.models.clone_model
    monkeypatch.setattr(
        keras.models, "clone_model", lambda *a, **b: made.append(a) or clone(*a, **b)
    )
    training.train(net(), DATA, CHANNEL, progress=False)
    assert len(made) == 3


def test_a_nested_model_is_trained_at_several_sizes():
    inputs = keras.Input(SHAPE)
    model = keras.Model(
        inputs, head(keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3)])(inputs))
    )
    recipe = replace(SHORT, epochs=2, normalize="channel", sizes=((1 / 2, 1 / 2), (1, 1)))
    run = training.train(model, DATA, recipe, progress=False)
    assert len(run.record["history"]["loss"]) == 2


def test_a_recipe_reaches_into_wrappers():
    inner = keras.Sequential([layers.Dense(4, kernel_regularizer="l2")])
    inputs = keras.Input(SHAPE)
    x = layers.SpectralNormalization(layers.Conv2D(4, 3, kernel_regularizer="l2"))(inputs)
    model = keras.Model(inputs, head(layers.TimeDistributed(inner)(x)))
    assert len(model.losses) == 2
    recipe = replace(CHANNEL, weight_decay=WeightDecay(0.1, "update"))
    copy = prepared(model, recipe, "mixed_bfloat16")
    assert copy.losses == []
    assert copy.layers[1].layer.compute_dtype == "bfloat16"
    assert len(prepared(model, replace(CHANNEL, weight_decay=None)).losses) == 2


def test_what_is_frozen_inside_a_layer_stays_frozen():
    model = built(lambda x: head(Block(5, name="first")(Plain()(x))))
    first, plain = model.get_layer("first"), model.layers[1]
    first.norm.trainable = plain.trainable = False
    copy = prepared(model, CHANNEL, images=PICTURES)
    assert [w.shape for w in copy.trainable_weights] == [w.shape for w in model.trainable_weights]
    assert not copy.get_layer("first").norm.trainable
    assert not copy.get_layer(plain.name).trainable
