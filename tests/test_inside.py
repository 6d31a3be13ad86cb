"""Blocks left out, swapped, measured: against models that are built so by hand."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from small import PICTURES

from resnet_lib import cifar, inside, inspection, zoo

RANDOM = np.random.default_rng(0)
SOME = RANDOM.random((4, 16, 16, 3), "float32")
LABELS = np.arange(4)


def net(build=cifar.resnet_v1, depth=14, **options):
    keras.utils.set_random_seed(0)
    model = build((16, 16, 3), depth, **options)
    for weight in model.weights:  # Statistics and scales that change what passes.
        if any(name in weight.path for name in ("beta", "moving_mean")):
            weight.assign(0.3 * RANDOM.normal(size=weight.shape))
    head = model.get_layer("head_dense").kernel
    head.assign(0.02 * head)  # Else the softmax says 0 and 1, whatever comes.
    return model


V1 = net()
V2 = net(cifar.resnet_v2, 11)
PLAIN = net(cifar.plain_net)


def answers(model, pictures=SOME):
    return ops.convert_to_numpy(model(pictures, training=False))


def zeroed(model, block):
    """Return the answers of a network whose branch in a block was made to add nothing."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    last = [layer for layer in copy.layers if layer.name.startswith(block + "_") and layer.weights]
    last = [layer for layer in last if "shortcut" not in layer.name][-1]
    last.set_weights([0 * weight if weight.ndim != 0 else weight for weight in last.get_weights()])
    return answers(copy)


def test_blocks_are_named_in_order():
    assert inside.blocks(V1)[:3] == ("stage1_block1", "stage1_block2", "stage2_block1")
    assert len(inside.blocks(V1)) == 6
    assert len(inside.blocks(PLAIN)) == 6
    assert len(inside.blocks(V2)) == 3


@pytest.mark.parametrize("block", ["stage1_block2", "stage2_block1", "stage3_block2"])
def test_without_a_block_its_branch_adds_nothing(block):
    before = answers(V1)
    found = answers(inside.without_block(V1, block))
    np.testing.assert_allclose(found, zeroed(V1, block), atol=1e-5)
    assert np.abs(found - before).max() > 1e-4
    np.testing.assert_array_equal(answers(V1), before)


@pytest.mark.slow
def test_without_a_block_of_a_preactivated_network_its_branch_adds_nothing():
    for block in inside.blocks(V2):
        found = answers(inside.without_block(V2, block))
        np.testing.assert_allclose(found, zeroed(V2, block), atol=1e-5)


def test_without_a_block_of_a_plain_network_its_layers_are_gone():
    found = inside.without_block(PLAIN, "stage2_block2")
    names = {layer.name for layer in PLAIN.layers} - {layer.name for layer in found.layers}
    assert {name[:13] for name in names} == {"stage2_block2"}
    assert len(names) == sum(layer.name.startswith("stage2_block2_") for layer in PLAIN.layers)
    with pytest.raises(ValueError, match=r"keeps the shape.*stage2_block1"):
        inside.without_block(PLAIN, "stage2_block1")


@pytest.mark.slow
def test_swapped_blocks_have_each_others_weights():
    names = ("stage3_block2", "stage2_block2")
    with pytest.raises(ValueError, match="same layers, in the same shapes"):
        inside.swapped(V1, *names)
    model = net(depth=20)
    one, other = "stage1_block2", "stage1_block3"
    by_hand = keras.models.clone_model(model)
    by_hand.set_weights(model.get_weights())
    for layer in model.layers:
        for name, instead in ((one, other), (other, one)):
            if layer.name.startswith(name + "_") and layer.weights:
                twin = by_hand.get_layer(layer.name.replace(name, instead))
                twin.set_weights(layer.get_weights())
    found = answers(inside.swapped(model, one, other))
    np.testing.assert_allclose(found, answers(by_hand), atol=1e-5)
    assert np.abs(found - answers(model)).max() > 1e-5


def test_what_comes_back_is_a_model_that_can_be_saved(tmp_path):
    model = inside.without_block(V1, "stage1_block1")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answers(again), answers(model), atol=1e-6)


def test_accuracy_without_each_block_is_that_of_the_models_without():
    found = inside.accuracy_without(PLAIN, SOME, LABELS)
    assert found.layers == ("whole", *inside.blocks(PLAIN))
    assert found.values[0] == (answers(PLAIN).argmax(axis=1) == LABELS).mean()
    assert np.isnan(found.values[1:]).sum() == 2, "two blocks of a plain network change the shape"
    labels = answers(inside.without_block(V1, "stage2_block2")).argmax(axis=1)
    found = inside.accuracy_without(V1, SOME, labels)
    assert dict(zip(found.layers, found.values, strict=True))["stage2_block2"] == 1
    with pytest.raises(ValueError, match="4 pictures and 3 labels"):
        inside.accuracy_without(V1, SOME, labels[:3])


# The stream


def test_contributions_are_norms_of_what_is_added():
    found = inside.contributions(V1, SOME)
    assert found.layers == inside.blocks(V1)
    probe = keras.Model(V1.input, V1.get_layer("stage1_block2_add").input)
    stream, branch = map(ops.convert_to_numpy, probe(SOME, training=False))
    norms = [np.sqrt((each**2).sum(axis=(1, 2, 3))) for each in (branch, stream)]
    assert found.values[1] == pytest.approx((norms[0] / norms[1]).mean(), rel=1e-4)
    with pytest.raises(ValueError, match=r"add to a stream.*stage1_block1"):
        inside.contributions(PLAIN, SOME)


def test_many_pictures_are_measured_in_batches(monkeypatch):
    whole = inside.contributions(V1, SOME).values
    rates = inside.accuracy_without(V1, SOME, LABELS).values
    monkeypatch.setattr(inside, "BATCH", 3)
    np.testing.assert_array_equal(inside.accuracy_without(V1, SOME, LABELS).values, rates)
    np.testing.assert_allclose(inside.contributions(V1, SOME).values, whole, rtol=1e-5)


def test_lengths_of_paths_are_tosses_of_a_coin():
    shares = inside.path_lengths(4)
    np.testing.assert_allclose(shares, np.array([1, 4, 6, 4, 1]) / 16)
    assert inside.path_lengths(500).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="`number`"):
        inside.path_lengths(0)


def linear():
    """A network without activations, whose gradient is a sum over its paths."""
    inputs = keras.Input((4, 4, 2))
    x = inputs
    for number, factor in ((1, 3.0), (2, 5.0)):
        name = f"stage1_block{number}"
        conv = layers.Conv2D(2, 1, use_bias=False, name=f"{name}_conv1")
        y = conv(x)
        conv.set_weights([factor * np.eye(2, dtype="float32")[None, None]])
        x = layers.Add(name=f"{name}_add")([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Softmax()(x))


def test_gradients_along_paths_are_products_of_their_branches():
    model, pictures = linear(), RANDOM.random((1, 4, 4, 2), "float32")
    norms = inside.path_gradients(model, pictures, [0], samples=50)
    shortest, middle, longest = norms / norms[0]
    assert (shortest, longest) == (1, pytest.approx(15, rel=1e-4))
    assert middle == pytest.approx(4, rel=1e-4), "the mean of 3 and 5"


def test_all_paths_together_are_the_gradient():
    model, pictures = linear(), RANDOM.random((1, 4, 4, 2), "float32")

    def loss(values):
        return ops.mean(keras.losses.sparse_categorical_crossentropy(np.array([0]), model(values)))

    [whole] = inspection.gradients(loss, [pictures])
    norms = inside.path_gradients(model, pictures, [0], samples=50)
    counts = 4 * inside.path_lengths(2)
    assert (counts * norms).sum() == pytest.approx(np.linalg.norm(whole), rel=1e-4)


# Early exits


def test_the_own_head_reads_the_last_stage_alone():
    labels = answers(V1).argmax(axis=1)
    found = inside.early_exits(V1, SOME, labels)
    assert found.blocks == inside.blocks(V1)
    assert np.isnan(found.own[:4]).all() and found.own[-1] == 1
    assert np.isnan(found.fitted).all()
    early = answers(inside.without_block(V1, "stage3_block2"))
    # The ReLU behind the sum leaves the stream of a v1 network as it is.
    assert found.own[4] == (early.argmax(axis=1) == labels).mean()


def test_a_fitted_head_finds_what_is_in_the_stream():
    """Of pictures whose brightness is their class, the stem already tells."""
    labels = np.arange(300) % 3
    pictures = RANDOM.normal(labels[:, None, None, None], 0.2, (300, 16, 16, 3)).astype("float32")
    training = (pictures[:200], labels[:200])
    found = inside.early_exits(V1, pictures[200:], labels[200:], training=training)
    assert found.fitted.shape == (6,)
    assert found.fitted.min() > 0.9
    shuffled = (pictures[:200], RANDOM.permutation(labels[:200]))
    found = inside.early_exits(V1, pictures[200:], labels[200:], training=shuffled)
    assert found.fitted.max() < 0.6
    with pytest.raises(ValueError, match="more than 64 training pictures"):
        inside.early_exits(V1, SOME, LABELS, training=(SOME, LABELS))


# What is refused


def test_what_has_no_blocks_is_refused():
    inputs = keras.Input((4, 4, 2))
    with pytest.raises(ValueError, match="names tell its blocks"):
        inside.blocks(keras.Model(inputs, layers.Conv2D(2, 1)(inputs)))
    with pytest.raises(ValueError, match="nearest: 'stage1_block2'"):
        inside.without_block(V1, "stage1_block7")
    y = layers.Conv2D(2, 1, name="stage1_block1_conv")(inputs)
    with pytest.raises(ValueError, match="one addition, named as the rest"):
        inside.blocks(keras.Model(inputs, layers.Add()([inputs, y])))
    two = net(cifar.resnet_v2, 8, form="paper", block="transformer")
    with pytest.raises(ValueError, match="one addition"):
        inside.contributions(two, SOME)


# A trained network


@pytest.mark.slow
def test_a_trained_network_bears_the_loss_of_a_block_and_its_preprocessing_stays():
    model = zoo.load_trained("resnet20v1-shapes")
    pictures, labels = PICTURES.test.images, PICTURES.test.labels
    found = inside.accuracy_without(model, pictures, labels)
    assert found.values[0] > 0.9
    assert np.median(found.values[1:]) > 0.5
    exits = inside.early_exits(model, pictures, labels)
    assert exits.own[-1] == found.values[0]
    ratios = inside.contributions(model, pictures)
    assert len(ratios) == 9 and (ratios.values > 0).all()
    norms = inside.path_gradients(model, pictures[:4], labels[:4], samples=1)
    assert norms.shape == (10,) and np.isfinite(norms).all()
    swapped = inside.swapped(model, "stage1_block2", "stage1_block3")
    assert answers(swapped, pictures[:2]).shape == (2, 10)


@pytest.mark.slow
def test_it_runs_on_jax():
    pytest.importorskip("jax")
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    script = """
import numpy as np, resnet_lib as rl
import keras

keras.utils.set_random_seed(1)
x = inputs = keras.Input((4, 4, 2))
for name in ("stage1_block1", "stage1_block2"):
    y = keras.layers.Conv2D(2, 1, activation="relu", name=f"{name}_conv1")(x)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
pictures, labels = np.random.default_rng(0).random((4, 4, 4, 2), "float32"), np.arange(4) % 3
one = rl.inside.without_block(model, "stage1_block1")(pictures)
assert np.abs(one - rl.inside.swapped(model, *rl.inside.blocks(model))(pictures)).max() > 0
print(rl.inside.contributions(model, pictures), rl.inside.early_exits(model, pictures, labels))
assert rl.inside.path_gradients(model, pictures, labels, samples=1).min() > 0
"""
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
