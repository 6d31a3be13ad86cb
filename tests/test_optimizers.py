"""Muon: its matrices, its steps by formula, and what it leaves to SGD."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from resnet_lib.recipes import FAST, WeightDecay
from resnet_lib.training.network import prepared
from resnet_lib.training.optimizers import Muon, make_optimizer, orthogonalized

RATE, MOMENTUM, OTHER = 0.05, 0.8, 3.0
RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.normal(size=(16, 6, 6, 3)).astype("float32")
TARGETS = RANDOM.normal(size=(16, 2)).astype("float32")
SHAPES = [(3, 3, 4, 8), (3, 3, 8, 8), (1, 1, 4, 16), (2, 2, 3, 12)]


def kernel(shape):
    return RANDOM.normal(size=shape).astype("float32")


def as_matrix(x):
    return np.array(x).reshape(-1, x.shape[-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_an_orthogonalized_kernel_keeps_its_directions_and_evens_their_lengths(shape):
    given = kernel(shape)
    found = orthogonalized(keras.ops.convert_to_tensor(given))
    assert tuple(found.shape) == shape
    left, lengths, right = np.linalg.svd(as_matrix(given), full_matrices=False)
    inside = left.T @ as_matrix(found) @ right.T
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-4)
    assert lengths.max() / lengths.min() > 1.5
    evened = np.diag(inside)[lengths > lengths.max() / 10]  # The shortest take more iterations.
    assert evened.min() > 0.6
    assert evened.max() < 1.25


def test_the_length_of_a_kernel_does_not_matter():
    given = kernel(SHAPES[0])
    one, other = (np.array(orthogonalized(given * scale)) for scale in (1, 100))
    np.testing.assert_allclose(one, other, atol=1e-4)


def two_layers():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3)(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def recorded_steps(optimizer, steps=3):
    """Train some steps; return the weights before and after each, and the gradients by Keras."""
    model, seen = two_layers(), [two_layers().get_weights()]
    gradients = []

    class Noting(type(optimizer)):
        def update_step(self, gradient, variable, learning_rate):
            gradients.append(gradient)
            super().update_step(gradient, variable, learning_rate)

    optimizer.__class__ = Noting
    model.compile(optimizer, loss="mean_squared_error", run_eagerly=True, jit_compile=False)
    for _ in range(steps):
        model.train_on_batch(PICTURES, TARGETS)
        seen.append(model.get_weights())
    gradients = [np.array(each) for each in gradients]
    return seen, [gradients[i : i + 4] for i in range(0, len(gradients), 4)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has no eager training")
@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_are_those_of_the_formula(nesterov):
    options = dict(momentum=MOMENTUM, nesterov=nesterov, other_rate=OTHER)
    seen, gradients = recorded_steps(Muon(RATE, **options))
    sums = [np.zeros_like(each) for each in seen[0]]
    for before, after, given in zip(seen, seen[1:], gradients, strict=False):
        for number, gradient in enumerate(given):
            sums[number] = MOMENTUM * sums[number] + gradient
            step = MOMENTUM * sums[number] + gradient if nesterov else sums[number]
            if before[number].ndim == 4:
                start = before[number] * np.sqrt(8) / np.linalg.norm(before[number])
                expected = start - RATE * np.array(orthogonalized(step))
            else:
                expected = before[number] - OTHER * RATE * step
            np.testing.assert_allclose(after[number], expected, rtol=1e-4, atol=1e-5)


def test_the_recipe_says_what_muon_does():
    recipe = replace(FAST, optimizer="muon", peak=0.1, other_rate=7.5, bias_rate=64)
    optimizer = make_optimizer(recipe)
    assert isinstance(optimizer, Muon)
    assert (optimizer.other_rate, optimizer.momentum, optimizer.nesterov) == (7.5, 0.85, True)
    assert Muon.from_config(optimizer.get_config()).other_rate == 7.5


def test_biases_have_their_rate_with_muon_too():
    def moved(bias_rate):
        recipe = replace(FAST, optimizer="muon", peak=0.1, other_rate=2, bias_rate=bias_rate)
        model = two_layers()
        before = [np.array(each) for each in model.get_weights()]
        model.compile(make_optimizer(recipe), loss="mean_squared_error")
        model.train_on_batch(PICTURES, TARGETS)
        return [np.abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True)]

    np.testing.assert_allclose(moved(10), np.multiply(moved(1), [1, 10, 1, 10]), rtol=1e-3)


@pytest.mark.parametrize("meaning", ["gradient", "loss"])
def test_kernels_that_keep_their_length_have_no_penalty(meaning):
    recipe = replace(FAST, weight_decay=WeightDecay(0.1, meaning))
    with_sgd = prepared(two_layers(), replace(recipe, optimizer="sgd", other_rate=None))
    with_muon = prepared(two_layers(), replace(recipe, optimizer="muon", peak=0.1, other_rate=1))
    assert [layer.kernel_regularizer is None for layer in with_sgd.layers[1::2]] == [False, False]
    assert [layer.kernel_regularizer is None for layer in with_muon.layers[1::2]] == [True, False]


def test_decay_apart_from_the_gradient_spares_biases():
    recipe = replace(FAST, weight_decay=WeightDecay(0.1, "update"), bias_rate=1)
    optimizer = make_optimizer(replace(recipe, optimizer="muon", peak=0.1, other_rate=1))
    model = two_layers()
    optimizer.build(model.trainable_variables)
    decays = [optimizer._use_weight_decay(each) for each in model.trainable_variables]
    assert decays == [True, False, True, False]
