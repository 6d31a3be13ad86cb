"""The runs and the trained networks that come with the library."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

import resnet_lib as rl
from resnet_lib import records, zoo

RUNS = records.recorded()


@pytest.fixture(params=zoo.names())
def name(request):
    return request.param


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_record_is_whole(run):
    record, epochs = run.record, len(run.history["loss"])
    assert record["format"] == records.FORMAT
    assert record["epochs"] == record["recipe"]["epochs"] == epochs
    assert "stopped" not in record
    assert {len(values) for values in run.history.values()} == {epochs}
    assert rl.recipes.Recipe.from_dict(record["recipe"])
    assert len(record["dataset"]["sha256"]) == 64
    assert {"keras", "backend_version", "processor", "cores"} <= record["environment"].keys()
    best = int(np.argmax(run.history["val_accuracy"])) + 1
    assert record["results"]["best_epoch"] == best
    assert record["results"]["chosen_on"] == "validation"


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_record_is_small(run):
    assert len(json.dumps(run.record, indent=1)) < 20_000


def test_the_table_has_a_line_for_each_run():
    lines = records.table(RUNS).splitlines()
    assert [line.split()[0] for line in lines[1:]] == sorted(RUNS)


def test_the_readme_has_the_table():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert textwrap.indent(records.table(RUNS), "    ") in readme


def test_each_trained_network_has_a_record_and_a_card(name):
    run, card = RUNS[name], zoo.card(name)
    assert f"{run.record['results']['test_accuracy_best']:.1%}" in card
    assert run.source in card
    assert max(map(len, card.splitlines())) < 140


def test_a_trained_network_takes_pixels(name):
    model, dataset = rl.load_trained(name), RUNS[name].record["dataset"]
    assert model.input_shape[1:] == tuple(dataset["image_shape"])
    assert (
        rl.count_parameters(model).trainable == RUNS[name].record["model"]["trainable_parameters"]
    )
    images = np.random.default_rng(0).integers(0, 256, (2, *dataset["image_shape"]), "uint8")
    found = np.asarray(model(images))
    assert found.shape == (2, len(dataset["classes"]))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("wrong", ["resnet50", "", None, "../resnet20v1-cifar10"])
def test_a_network_that_does_not_exist(wrong):
    with pytest.raises(ValueError, match="resnet20v1-cifar10"):
        rl.load_trained(wrong)


@pytest.mark.images
def test_the_signs_are_those_of_the_records():
    hashes = {run.record["dataset"]["sha256"] for name, run in RUNS.items() if "signs" in name}
    assert hashes == {rl.datasets.sign_digits().sha256}


@pytest.mark.images
def test_the_trained_network_has_its_recorded_accuracy_on_real_pictures():
    data, record = rl.datasets.cifar10(), RUNS["resnet20v1-cifar10"].record
    if data.sha256 != record["dataset"]["sha256"]:
        pytest.skip("these are other copies of the pictures than the record's")
    model = rl.load_trained("resnet20v1-cifar10")
    answers = model.predict(data.test.images, batch_size=256, verbose=0).argmax(axis=1)
    accuracy = np.mean(answers == data.test.labels)
    assert accuracy == pytest.approx(record["results"]["test_accuracy_best"], abs=0.001)


def test_a_recorded_run_without_its_model_says_which_file():
    with pytest.raises(FileNotFoundError, match=r"resnet50-signs-seed0\.keras"):
        RUNS["resnet50-signs-seed0"].load_model()
