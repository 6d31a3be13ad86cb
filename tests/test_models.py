"""Networks by their ids."""

import re

import numpy as np
import pytest

import resnet_lib as rl
from resnet_lib import models
from resnet_lib.__main__ import BLOCKS, main
from resnet_lib.training.architecture import architecture

import keras  # isort: skip

SHAPE = (32, 32, 3)


def test_the_networks_that_ids_name():
    assert models.build("resnet8v1", SHAPE, 4).name == "ResNet8v1"
    assert models.build("resnet11v2", SHAPE, form="paper").name == "ResNet11v2"
    assert models.build("plain8", SHAPE).name == "Plain8"
    built = models.build("resnet50", SHAPE, 6)
    assert (built.name, built.output_shape) == ("ResNet50", (None, 6))
    assert models.parse_model_id("resnet152") == (rl.resnet152, 152)


@pytest.mark.parametrize("wrong", ["resnet20", "ResNet20v1", "plain20v1", "resnet20v3", "", None])
def test_what_names_none(wrong):
    with pytest.raises(ValueError, match=r"'resnet20v1'.*'resnet50'"):
        models.build(wrong, SHAPE)


def test_v2_of_basic_blocks_is_asked_for():
    asked = models.build("resnet20v2", SHAPE, 4, form="paper", block="basic")
    library = rl.resnet_v2(SHAPE, 20, 4, form="paper", block="basic")
    assert rl.count_parameters(asked) == rl.count_parameters(library)
    assert models.build("resnet8v2", SHAPE, block="basic").name == "ResNet8v2"
    with pytest.raises(ValueError, match="depth"):
        models.build("resnet8v2", SHAPE)


@pytest.mark.parametrize("model_id", ["plain20", "resnet50", "resnetfast", "resnet8v1-resnext"])
def test_where_there_is_one_kind_of_block_none_is_chosen(model_id):
    with pytest.raises(ValueError, match=r"no `block` but for v1 and v2.*'se' for '" + model_id):
        models.build(model_id, SHAPE, block="se")


@pytest.mark.parametrize("model_id", ["plain20-se", "resnet50-se", "resnet20-se", "resnet8v1-"])
def test_a_block_in_an_id_that_names_no_network(model_id):
    with pytest.raises(ValueError, match=f"Expected `model_id` .*'{model_id}'"):
        models.build(model_id, SHAPE)


@pytest.mark.parametrize(
    ("model_id", "block", "name"),
    [
        ("resnet8v1", "se", "ResNet8v1-se"),
        ("resnet8v1", "resnet-d", "ResNet8v1-resnet-d"),
        ("resnet11v1", "resnext", "ResNet11v1-resnext"),
        ("resnet8v2", "convnext", "ResNet8v2-convnext"),
        ("resnet8v1", "basic", "ResNet8v1"),
    ],
)
def test_a_block_is_named_apart_or_in_the_id_that_the_record_has(model_id, block, name):
    asked = models.build(model_id, SHAPE, block=block)
    assert asked.name == name
    again = models.build(name.lower(), SHAPE)
    assert again.name == name
    assert architecture(again) == architecture(asked)


def test_a_block_may_be_a_function():
    built = models.build("resnet8v1", SHAPE, block=rl.blocks.se_block)
    assert built.name == "ResNet8v1-se"


def test_blocks_that_do_not_exist():
    with pytest.raises(
        ValueError, match=r"'stochastic-depth'\. Received: 'sse'; the nearest: 'se'"
    ):
        models.parse_model_id("resnet20v1", "sse")
    with pytest.raises(ValueError, match=r"'se'.*Received: 'wide', a block of resnet_v2"):
        models.parse_model_id("resnet20v1-wide")
    with pytest.raises(ValueError, match="depth=14; the nearest valid: 11 and 20"):
        models.parse_model_id("resnet14v1-resnext")


def test_the_command_line_knows_the_names_of_the_blocks():
    of_v1, of_v2 = re.fullmatch(r"of v1: (.*); of v2: (.*)", BLOCKS).groups()
    for told, known in ((of_v1, models.BLOCKS["v1"]), (of_v2, models.BLOCKS["v2"])):
        assert re.split(", | or ", told.replace(" (the default)", "")) == list(known)


def test_depths_that_do_not_exist():
    with pytest.raises(ValueError, match="20 and 26"):
        models.build("resnet22v1", SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "recipe", "form"),
    [
        ("resnet8v1", "one-cycle", "standard"),
        ("resnet11v2", "one-cycle", "paper"),
        ("resnet50", "one-cycle", "applications"),
        ("resnet18", "example", "paper"),
    ],
)
def test_the_command_records_the_form_that_it_chose(model, recipe, form, tmp_path, monkeypatch):
    asked = {}

    def train(model, data, recipe, **options):
        asked.update(options)
        raise ValueError("enough")

    monkeypatch.setattr("resnet_lib.training.train", train)
    command = ["train", "--model", model, "--dataset", "shapes", "--recipe", recipe]
    assert main([*command, "--epochs", "1", "--out", str(tmp_path / "run")]) == 2
    assert asked["notes"]["form"] == form


def test_the_command_records_the_block_that_was_asked_for(tmp_path, monkeypatch):
    asked = {}

    def train(model, data, recipe, **options):
        asked.update(options, model=model)
        raise ValueError("enough")

    monkeypatch.setattr("resnet_lib.training.train", train)
    command = "train --model resnet8v1 --block se --dataset shapes --epochs 1 --out"
    assert main([*command.split(), str(tmp_path / "run")]) == 2
    assert asked["model"].name == "ResNet8v1-se"
    assert asked["notes"]["block"] == "se"


def test_dropout_stands_before_the_last_layer_and_changes_no_weight():
    keras.utils.set_random_seed(0)
    plain = models.build("resnet8v1", SHAPE, 4)
    dropped = models.with_dropout(plain, 0.5)
    assert [layer.name for layer in dropped.layers[-3:]] == [
        "head_pool",
        "head_dropout",
        "head_dense",
    ]
    assert [layer.name for layer in plain.layers[-2:]] == ["head_pool", "head_dense"]
    images = np.random.default_rng(0).random((2, *SHAPE), "float32")
    same = [np.asarray(model(images, training=False)) for model in (plain, dropped)]
    np.testing.assert_array_equal(*same)
    assert models.with_dropout(plain, 0) is plain


@pytest.mark.parametrize("rate", [-0.1, 1, 2, float("nan"), "0.5", None])
def test_dropout_out_of_range(rate):
    with pytest.raises(ValueError, match=r"Expected `dropout` .* at least 0, below 1"):
        models.build("resnet8v1", SHAPE, dropout=rate)
