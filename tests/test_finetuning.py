"""Fine-tuning: what is frozen and when, what goes into the network, and what is refused."""

from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
from backends import BACKEND
from keras import layers
from small import DATA, EachEpoch, small_resnet

import resnet_lib as rl
from resnet_lib import bases, datasets, finetuning, recipes, records
from resnet_lib.datasets import Dataset, Split
from resnet_lib.recipes import FINE_TUNE
from resnet_lib.training.architecture import architecture

SHORT = replace(FINE_TUNE, epochs=3, batch_size=32)
ALL_AT_ONCE = replace(SHORT, head=0, head_peak=None)


def tune(out=None, base=None, recipe=SHORT, **options):
    base = small_resnet() if base is None else base
    options = {"preprocessing": "0-1", "progress": False, "stages": 1} | options
    return finetuning.finetune(DATA, base, recipe, out=out, **options)


def weights(model):
    return {layer.name: layer.get_weights() for layer in model._flatten_layers()}


def changed(before, after):
    """Return the names of the layers whose weights are not the same to the bit."""
    pairs = ((name, before[name], after[name]) for name in before if name in after)
    return {name for name, old, new in pairs if not all(map(np.array_equal, old, new))}


@pytest.mark.slow
def test_the_head_learns_first_then_the_upper_stage_and_batch_normalisation_never():
    base, seen = small_resnet(), []
    before = weights(base)
    tune(base=base, callbacks=[EachEpoch(lambda model, epoch: seen.append(weights(model)))])
    assert changed(before, seen[0]) == set(), "the head alone, which is new"
    assert changed(seen[0], seen[1]) >= {"tuned_head"}
    convolutions = {n for n in before if n.startswith("stage3") and "conv" in n}
    assert changed(before, seen[2]) == convolutions
    assert len(convolutions) == 3
    assert changed(before, weights(base)) == set(), "the base stays as it is"


@pytest.mark.slow
def test_all_stages_but_batch_normalisation():
    base = small_resnet()
    run = tune(base=base, stages="all", recipe=ALL_AT_ONCE)
    kinds = {type(base.get_layer(name)) for name in changed(weights(base), weights(run.model))}
    assert kinds == {layers.Conv2D}
    assert run.record["base"]["stages"] == "all"


def test_a_stage_is_what_has_maps_of_one_size():
    base = bases.find("resnet20v1-cifar10")
    data = datasets.shapes(train=10, validation=10, test=10)
    free = {}
    for stages in (0, 1, 2, "all"):
        model = finetuning.tunable(base, data, stages=stages)
        free[stages] = {layer.name for layer in model.layers if layer.trainable_weights}
    assert free[0] == {"tuned_head"}
    assert {name.partition("_")[0] for name in free[1]} == {"tuned", "stage3"}
    assert {name.partition("_")[0] for name in free[2]} == {"tuned", "stage3", "stage2"}
    assert {name.partition("_")[0] for name in free["all"]} >= {"stem", "stage1"}
    assert not any("bn" in name for names in free.values() for name in names)


def test_the_networks_output_is_that_of_the_base_with_another_head():
    """Pixels of 0-255 go in, and the base sees what it saw in its training."""
    base = bases.find("resnet20v1-shapes")
    data = datasets.shapes(train=10, validation=10, test=10)
    model = finetuning.tunable(base, data)
    below = keras.Model(base.model.inputs, base.model.get_layer("head_pool").output)
    features = below.predict(data.test.images, verbose=0)
    kernel, bias = model.get_layer("tuned_head").get_weights()
    scores = np.exp(features @ kernel + bias)
    wanted = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(data.test.images, verbose=0), wanted, atol=1e-5)


@pytest.mark.parametrize("mode", bases.PREPARATIONS)
def test_preparations_are_keras_own_and_inside(mode, tmp_path):
    inputs = keras.Input((16, 16, 3))
    plain = keras.Model(inputs, layers.Conv2D(4, 3, name="c")(inputs), name="plain")
    model = finetuning.tunable(bases.find(plain), DATA, preprocessing=mode)
    pictures = DATA.test.images[:4].astype("float32")
    prepared = pictures / 255
    if mode != "0-1":
        prepare = keras.applications.imagenet_utils.preprocess_input
        prepared = prepare(pictures.copy(), "channels_last", mode)
    taps = keras.Model(model.inputs, model.get_layer("c").output)
    np.testing.assert_allclose(
        taps.predict(pictures, verbose=0), plain.predict(prepared, verbose=0), rtol=1e-4, atol=1e-3
    )
    assert len(architecture(model)) == 64, "a run to be resumed is told from others by it"
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        loaded.predict(pictures, verbose=0), model.predict(pictures, verbose=0)
    )


def freed(model, stages):
    """Return the names of the layers with weights that can be trained."""
    finetuning.freeze_below(model, stages)
    single = [each for each in model._flatten_layers() if not isinstance(each, keras.Model)]
    return {layer.name for layer in single if layer.trainable_weights}


@pytest.mark.parametrize("stages", [1, 2])
def test_the_one_pixel_of_a_squeeze_is_no_stage(stages):
    plain, squeezed = (
        freed(rl.resnet_v1((32, 32, 3), 20, form="standard", block=block), stages)
        for block in ("basic", "se")
    )
    assert plain <= squeezed
    assert {name.split("_")[0] for name in squeezed} == {name.split("_")[0] for name in plain}
    assert len(squeezed - plain) == 2 * 3 * stages, "two dense layers in each block"


def test_padding_is_no_stage():
    base = keras.applications.MobileNetV2((64, 64, 3), include_top=False, weights=None)
    model = keras.Model(base.input, layers.Dense(3)(layers.Flatten()(base.output)))
    free = freed(model, 2)
    assert "block_14_expand" in free and "block_13_expand" in free
    assert "block_5_project" not in free
    sizes = {tuple(model.get_layer(name).output.shape[1:3]) for name in free if "block" in name}
    assert sizes == {(2, 2), (4, 4)}


def test_stages_that_cannot_be_told_are_not_guessed():
    inner = rl.resnet_v1((None, None, 3), 8, form="standard")
    inner = finetuning.features_of(inner)
    x = inputs = keras.Input((32, 32, 3))
    outer = keras.Model(inputs, layers.Dense(10)(inner(layers.Rescaling(1 / 255)(x))))
    with pytest.raises(ValueError, match=r"made with input_shape=.*Received: stages=1 for"):
        finetuning.freeze_below(outer, 1)
    assert freed(outer, 0) == {outer.layers[-1].name}
    assert len(freed(outer, "all")) == 1 + 9, "its convolutions and the head"


def test_a_class_of_ones_own_is_refused_with_the_way_out():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model(np.zeros((1, 16, 16, 3)))
    with pytest.raises(ValueError, match="functional or sequential"):
        tune(base=model)


def beginning_with_statistics(mean, spread):
    """A base that begins with a batch normalisation of pictures with such pixels."""
    norm = layers.BatchNormalization(name="first")
    x = norm(inputs := keras.Input((16, 16, 3)))
    model = keras.Model(inputs, small_resnet()(x))
    norm.moving_mean.assign(np.full(3, mean))
    norm.moving_variance.assign(np.full(3, spread**2))
    return model


def test_a_frozen_normalisation_gets_the_pixels_whose_statistics_it_has():
    of_shares, of_pixels = beginning_with_statistics(0.4, 0.25), beginning_with_statistics(110, 60)
    with pytest.raises(ValueError, match=r"first sees them as they are.*preprocessing="):
        tune(base=of_shares, preprocessing=None, stages=0)
    with pytest.raises(ValueError, match="prepared twice"):
        tune(base=of_pixels, preprocessing="0-1")
    tune(base=of_shares, preprocessing="0-1", stages=0, recipe=replace(SHORT, epochs=2))
    tune(base=of_pixels, preprocessing=None, stages=0, recipe=replace(SHORT, epochs=2))


def test_pixels_are_prepared_once():
    with pytest.raises(ValueError, match=r"in which \w+ sees them as they are.*preprocessing="):
        tune(preprocessing=None)
    inside = keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), small_resnet()])
    with pytest.raises(ValueError, match=r"prepared twice. Received: 'caffe'"):
        tune(base=inside, preprocessing="caffe")
    with pytest.raises(ValueError, match="prepared twice"):
        tune(base="resnet20v1-cifar10", preprocessing="0-1")
    with pytest.raises(ValueError, match=r"'caffe', 'tf', 'torch', '0-1'. Received: 'tif'"):
        tune(preprocessing="tif")


# The head is found.


def body(x):
    return layers.Conv2D(5, 3, name="body")(x)


HEADS = {
    "dense": lambda x: layers.Dense(7, "softmax")(layers.GlobalAveragePooling2D()(x)),
    "dropout": lambda x: layers.Softmax()(
        layers.Dense(7)(layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x)))
    ),
    "convolution": lambda x: layers.Softmax()(
        layers.GlobalAveragePooling2D()(layers.Conv2D(7, 1)(x))
    ),
    "none": lambda x: x,
    "pooled": lambda x: layers.GlobalAveragePooling2D()(x),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_the_head_is_taken_off(kind, nested):
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, HEADS[kind](body(inputs)))
    if nested:
        outer = keras.Input((16, 16, 3))
        model = keras.Sequential([outer, layers.Rescaling(1 / 255), model])
    features = finetuning.features_of(model)
    assert features.output_shape[-1] == 5
    found = weights(finetuning.tunable(bases.find(features), DATA))
    assert found["tuned_head"][0].shape == (5, 10)


def test_hidden_layers_below_the_last_one_are_features():
    inputs = keras.Input((16, 16, 3))
    hidden = layers.Dense(6, "relu")(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Dense(7, "softmax")(hidden))
    assert finetuning.features_of(model).output_shape == (None, 6)


def test_what_has_no_features_is_refused():
    inputs = keras.Input((16, 16, 3))
    odd = keras.Model(
        inputs, layers.Reshape((16, 2, 8, 3))(layers.Conv2D(3, 1)(inputs)), name="odd"
    )
    with pytest.raises(ValueError, match=r"feature map.*odd, which outputs \(None, 16, 2, 8, 3\)"):
        finetuning.tunable(bases.find(odd), DATA)
    two = keras.Model(inputs, [layers.Conv2D(3, 1)(inputs), inputs], name="two")
    with pytest.raises(ValueError, match="two with 1 and 2"):
        finetuning.features_of(two)


# Pictures.


def test_pictures_take_the_size_and_the_channels_of_the_base():
    grey = Dataset(
        *(
            Split(part.images[..., :1].copy(), part.labels)
            for part in (DATA.train, DATA.validation, DATA.test)
        ),
        DATA.class_names,
        "grey",
    )
    found = finetuning.fitted(grey, (8, 8, 3))
    assert found.image_shape == (8, 8, 3)
    assert found.source == "grey, 16x16x1 as 8x8x3"
    blocks = grey.test.images.reshape(-1, 8, 2, 8, 2, 1).mean((2, 4))
    assert np.abs(found.test.images - blocks).max() <= 1, "rounded by rows, then by columns"
    assert finetuning.fitted(grey, (16, 16, 1)) is grey
    assert finetuning.fitted(grey, (32, 24, 3)).image_shape == (32, 24, 3)
    with pytest.raises(ValueError, match=r"of 1 channels, as the base takes. Received: 3"):
        finetuning.fitted(DATA, (8, 8, 1))


def test_what_was_resized_is_said_and_recorded(capsys):
    run = finetuning.finetune(DATA, "resnet20v1-shapes", SHORT, epochs=1, stages=0)
    assert capsys.readouterr().out.startswith(
        f"resnet20v1-shapes takes other pictures: {DATA.source}, 16x16x3 as 32x32x3\n"
    )
    assert run.record["dataset"]["image_shape"] == [32, 32, 3]
    assert run.source == f"{DATA.source}, 16x16x3 as 32x32x3"
    assert run.model.input_shape == (None, 32, 32, 3)


def test_another_size_than_the_bases():
    model_of = finetuning.tunable
    base = bases.find("resnet20v1-shapes")
    data = finetuning.fitted(DATA, finetuning.shape_for(base, DATA, 16))
    assert model_of(base, data).input_shape == (None, 16, 16, 3)
    flat = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4), layers.Dense(3)]
    )
    with pytest.raises(ValueError, match="leave `size` out"):
        model_of(bases.find(flat), DATA)


def test_few_pictures_get_more_epochs():
    def epochs(n):
        part = Split(np.zeros((n, 1, 1, 3), np.uint8), np.zeros(n, np.int64))
        return finetuning.suited(Dataset(part, part, part, ("a", "b"), "zeros")).epochs

    assert [epochs(n) for n in (8, 144, 480, 5000)] == [60, 34, 10, 10]


# The same run as `train` has.


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [1, 2])
def test_a_run_goes_on_where_it_stopped_in_either_phase(stopped, tmp_path):
    whole = tune(tmp_path / "whole")
    tune(tmp_path / "cut", epochs=stopped)
    again = tune(tmp_path / "cut", resume=True)
    assert again.history["loss"] == pytest.approx(whole.history["loss"], rel=1e-4)
    assert again.history["learning_rate"] == whole.history["learning_rate"]
    for found, wanted in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    loaded = records.load(tmp_path / "whole").load_model()
    found = np.argmax(loaded.predict(DATA.test.images, verbose=0), axis=1) == DATA.test.labels
    assert found.mean() == pytest.approx(whole.record["results"]["test_accuracy_best"])


def test_another_base_than_the_runs_is_refused(tmp_path):
    tune(tmp_path / "run", epochs=1)
    other = small_resnet()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    with pytest.raises(ValueError, match=r"base\.sha256: then"):
        tune(tmp_path / "run", base=other, resume=True)
    with pytest.raises(ValueError, match=r"class_weight: then None, now"):
        tune(tmp_path / "run", class_weight="balanced", resume=True)
    base = records.load(tmp_path / "run").record["base"]
    names = {"name", "sha256", "pictures", "stages", "preprocessing", "dropout"}
    assert base.keys() == names
    assert base["preprocessing"] == "0-1"


def test_what_is_refused_leaves_no_folder(tmp_path):
    out = tmp_path / "run"
    wrongs = [{"stages": -1}, {"stages": "some"}, {"dropout": 1}, {"size": 0}, {"seed": -1}]
    for wrong in [*wrongs, {"class_weight": {"cat": 2}}, {"recipe": "fine-tune"}]:
        with pytest.raises(ValueError, match="Expected"):
            tune(out, **wrong)
    with pytest.raises(ValueError, match=r"resnet_lib\.datasets\.Dataset. Received: 'pictures'"):
        finetuning.finetune("pictures")
    assert not out.exists()


@cache
def three_of_the_shapes(train, test):
    # On 18 pictures the choice of the epoch is a matter of luck: with it 77 % were right, not 87 %.
    drawn = datasets.shapes(train=10 * train, validation=300, test=10 * test, seed=3)
    kinds = np.array([0, 6, 8])  # Circle, cross, heart.
    parts = []
    for part in (drawn.train, drawn.validation, drawn.test):
        rows = np.flatnonzero(np.isin(part.labels, kinds))
        parts.append(Split(part.images[rows], np.searchsorted(kinds, part.labels[rows])))
    return Dataset(*parts, ("circle", "cross", "heart"), "three shapes")


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="the same steps as on TensorFlow, and slower")
def test_a_small_set_is_learnt_from_a_network_that_knows_other_pictures():
    """48 pictures of each class: four in five of others are right, by what CIFAR-10 taught."""
    run = rl.finetune(three_of_the_shapes(48, 50), "resnet20v1-cifar10", progress=False)
    assert run.record["results"]["test_accuracy_best"] > 0.8
    assert run.record["results"]["baselines"]["test"]["accuracy"] == pytest.approx(1 / 3)
    assert run.record["recipe"]["name"] == recipes.FINE_TUNE.name
