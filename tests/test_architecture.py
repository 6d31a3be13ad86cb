"""What tells one network from another when a run is resumed."""

import keras
import pytest
from keras import layers
from small import SHORT, train

from resnet_lib import cifar, imagenet, models
from resnet_lib.training.architecture import architecture


def net(pooling=None, rate=0.2, strides=1, activation="relu", name=None, **options):
    pixels = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides, padding="same", **options)(pixels)
    x = layers.Activation(activation, name=name)(layers.BatchNormalization()(x))
    x = (pooling or layers.AveragePooling2D(4))(x)
    x = layers.Dropout(rate)(layers.Flatten()(x))
    return keras.Model(pixels, layers.Dense(4, activation="softmax")(x), name=name)


def calculated(factor=2, function="lambda x: x * 2", dtype="int32"):
    """A network with operations, a function, a network inside and a layer that is used twice."""
    pixels = keras.Input((16, 16, 3))
    inside = keras.Sequential([layers.Conv2D(3, 3, padding="same"), layers.ReLU()])
    x = keras.ops.cast(keras.ops.cast(inside(pixels) * factor, dtype), "float32")
    x = layers.Lambda(eval(compile(function, f"/tmp/cell_{id(inside)}.py", "eval")))(x)
    return keras.Model(pixels, inside(x + pixels))


ONE = architecture(net())


@pytest.mark.parametrize(
    "other",
    [
        {"pooling": layers.MaxPooling2D(4)},
        {"pooling": layers.AveragePooling2D(4, strides=3)},
        {"rate": 0.3},
        {"strides": 2},
        {"activation": "tanh"},
        {"use_bias": False},
        {"kernel_regularizer": keras.regularizers.L2(1e-4)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_a_layer_does_is_seen(other):
    assert architecture(net(**other)) != ONE


@pytest.mark.parametrize(
    "other", [{"factor": 3}, {"function": "lambda x: x * 3"}, {"dtype": "int8"}]
)
def test_operations_and_functions_are_seen(other):
    assert architecture(calculated(**other)) != architecture(calculated())


def test_connections_are_seen():
    """Of the same layers in the same order."""

    def joined(*ends):
        pixels = keras.Input((16, 16, 3))
        a = layers.Conv2D(3, 3, padding="same")(pixels)
        tensors = {"pixels": pixels, "a": a, "b": layers.Conv2D(3, 3, padding="same")(a)}
        return keras.Model(pixels, layers.Subtract()([tensors[end] for end in ends]))

    ways = [("a", "b"), ("b", "a"), ("pixels", "b")]
    assert architecture(joined("a", "b")) == architecture(joined("a", "b"))
    assert len({architecture(joined(*ends)) for ends in ways}) == len(ways)


def test_a_frozen_layer_is_seen():
    frozen = net()
    frozen.layers[1].trainable = False
    assert architecture(frozen) != ONE


@pytest.mark.slow
def test_names_and_precision_are_not_seen():
    calculations = architecture(calculated())
    assert architecture(net(name="mine")) == ONE
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert architecture(net()) == ONE
        assert architecture(calculated()) == calculations
    finally:
        keras.config.set_dtype_policy("float32")
    keras.backend.clear_session()
    assert architecture(net()) == ONE
    assert architecture(calculated()) == calculations


@pytest.mark.slow
def test_the_forms_of_a_network_are_seen():
    forms = ["applications", "paper", "v1.5"]
    small = [imagenet.resnet50((32, 32, 3), 10, form=form) for form in forms]
    small += [cifar.resnet_v1((32, 32, 3), 8, form=form) for form in ("example", "standard")]
    small += [models.build("resnet8v1", (32, 32, 3), dropout=rate) for rate in (0.1, 0.5)]
    assert len({architecture(each) for each in small}) == len(small)


def test_a_run_is_not_resumed_with_another_network(tmp_path):
    def dropped(rate):
        pixels = keras.Input((16, 16, 3))
        x = layers.Dropout(rate)(layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(pixels)))
        return keras.Model(pixels, layers.Dense(10, activation="softmax")(x), name="net")

    train(tmp_path / "run", model=dropped(0.2), epochs=1)
    before = sorted((path, path.stat().st_mtime) for path in tmp_path.rglob("*"))
    told = r"Received: model\.architecture: then \w{64}, now \w{64}; the network's layers, their"
    with pytest.raises(ValueError, match=told):
        train(tmp_path / "run", model=dropped(0.5), resume=True)
    assert sorted((path, path.stat().st_mtime) for path in tmp_path.rglob("*")) == before
    run = train(tmp_path / "run", SHORT, model=dropped(0.2), resume=True)
    assert len(run.history["loss"]) == 3
