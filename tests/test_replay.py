"""A model computed call by call returns what the model returns, and parts of it can be replaced."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from nets import net

from resnet_lib import replay

PICTURES = np.random.default_rng(0).random((2, 32, 32, 3), "float32")


def computed(model, pictures=PICTURES):
    graph = replay.graph_of(model)
    [found] = graph.compute({0: ops.convert_to_tensor(pictures)}, [graph.output])
    return ops.convert_to_numpy(found)


def nested():
    """A model that is used twice in another, which has odd calls around it."""
    inner = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(inner)
    body = keras.Model(inner, layers.BatchNormalization()(x), name="body")
    inputs = keras.Input((8, 8, 3), name="pixels")
    x = ops.concatenate([body(inputs * 0.5), layers.Dropout(0.5)(body(1 - inputs))], axis=-1)
    x = layers.Add()([x, ops.flip(x, axis=1)])
    x = layers.GlobalAveragePooling2D()(x)
    head = keras.Sequential([keras.Input((8,)), layers.Dense(3, activation="softmax")], name="head")
    return keras.Model(inputs, head(x))


@pytest.mark.parametrize("name", ["v1", "v2 paper", "plain small", "se", "stochastic depth"])
def test_what_is_replayed_is_what_the_model_returns(name):
    expected = ops.convert_to_numpy(net(name)(PICTURES, training=False))
    np.testing.assert_allclose(computed(net(name)), expected, atol=1e-6)


def test_nested_models_are_looked_into_each_time_they_are_used():
    model, pictures = nested(), PICTURES[:, :8, :8]
    expected = ops.convert_to_numpy(model(pictures, training=False))
    np.testing.assert_allclose(computed(model, pictures), expected, atol=1e-6)
    names = [step.names for step in replay.graph_of(model).steps]
    assert sum(each[0] == "body" for each in names) == 4
    assert names[-1][0] == "head"


def test_a_sequential_model_is_a_row_of_steps():
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(2)])
    np.testing.assert_allclose(computed(model), ops.convert_to_numpy(model(PICTURES)), atol=1e-5)


def test_what_is_given_is_not_computed():
    graph = replay.graph_of(net("plain small"))
    middle = replay.steps_named(graph, "stage2_block1_relu2")[-1]
    assert len(graph.between(middle.made, [graph.output])) < len(graph.steps) / 2
    value = ops.zeros((1, *middle.shape[1:]))
    [found] = graph.compute({middle.made[0]: value}, [graph.output])
    head = replay.steps_named(graph, "stage3_block1_relu2")[-1]
    [again] = graph.compute({middle.made[0]: value}, head.made)
    [rest] = graph.compute({head.made[0]: again}, [graph.output])
    np.testing.assert_allclose(found, rest, atol=1e-6)
    assert graph.depends(graph.output, middle.made[0])
    assert not graph.depends(middle.made[0], graph.output)


ENDS = {
    "activation": lambda x: layers.Dense(3, activation="softmax")(x),
    "layer": lambda x: layers.Softmax()(layers.Dense(3)(x)),
    "named": lambda x: layers.Activation("softmax")(layers.Dense(3)(x)),
    "operation": lambda x: ops.softmax(layers.Dense(3)(x)),
    "behind it": lambda x: layers.Identity()(layers.Dense(3, activation="softmax")(x)),
    "cast": lambda x: layers.Activation("linear")(layers.Dense(3, activation="softmax")(x)),
    "sigmoid": lambda x: layers.Dense(3, activation="sigmoid")(x),
    "none": lambda x: layers.Dense(3)(x),
    "nested": lambda x: keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="softmax")]
    )(x),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_logits_are_found(end):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, end(inputs))
    graph, rows = replay.graph_of(model), PICTURES[:, 0, :4, 0]
    dense = next(layer for layer in model._flatten_layers() if isinstance(layer, layers.Dense))
    before = dense.activation
    with replay.without_softmax(graph) as logits:
        [found] = graph.compute({0: rows}, [logits])
    kernel, bias = map(ops.convert_to_numpy, (dense.kernel, dense.bias))
    np.testing.assert_allclose(found, rows @ kernel + bias, atol=1e-6)
    assert dense.activation is before
    assert replay.has_softmax(graph) == (end is not ENDS["none"])


def test_the_softmax_comes_back_after_an_error():
    model = net("plain small")
    with pytest.raises(KeyError), replay.without_softmax(replay.graph_of(model)):
        raise KeyError
    assert model.layers[-1].activation is keras.activations.softmax


def test_what_cannot_be_replayed_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="functional model"):
        replay.graph_of(Own())
    one, other = keras.Input((2,)), keras.Input((2,))
    with pytest.raises(ValueError, match=r"one input and one output.*2 and 1"):
        replay.graph_of(keras.Model([one, other], one + other))
    with pytest.raises(ValueError, match="nearest: 'head_dense'"):
        replay.steps_named(replay.graph_of(net("v1")), "head_dens")
