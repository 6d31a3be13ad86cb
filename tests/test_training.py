"""Training: what a run leaves behind, what it refuses, and that it learns."""

import json
import os
import shlex
from dataclasses import replace

import keras
import numpy as np
import pytest

from resnet_lib import batches, cifar, datasets, preparation, recipes, records, training
from resnet_lib.__main__ import main
from resnet_lib.recipes import EXAMPLE, ONE_CYCLE

DATA = datasets.shapes(train=256, validation=64, test=64)


def net(depth=8):
    keras.utils.set_random_seed(0)
    return cifar.resnet_v1((32, 32, 3), depth)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "deep" / "first"
    return training.train(net(), DATA, out=out, epochs=2, seed=3, notes={"form": "example"})


def test_a_run_folder_holds_record_model_and_checkpoints(run):
    names = sorted(path.name for path in run.folder.iterdir())
    assert names == ["checkpoints", "model.keras", "record.json"]
    assert (run.folder / "checkpoints" / "best.keras").is_file()


def test_the_record_says_what_was_done(run):
    record = json.loads((run.folder / "record.json").read_text())
    assert record["model"]["id"] == "resnet8v1"
    assert record["model"]["trainable_parameters"] == 78_186
    assert record["recipe"] == EXAMPLE.as_dict()
    assert (record["epochs"], record["batch_size"], record["seed"]) == (2, 32, 3)
    assert record["dataset"]["source"] == DATA.source == run.source
    assert record["dataset"]["sha256"] == DATA.sha256
    assert record["notes"] == {"form": "example"}
    assert {len(values) for values in record["history"].values()} == {2}
    assert record["history"]["learning_rate"] == pytest.approx([1e-3, 1e-3])
    assert record["started"] <= record["finished"]
    assert DATA.source in str(run)


def test_the_saved_model_takes_pixels_and_gives_the_recorded_accuracy(run):
    loaded = records.load(run.folder)
    model = loaded.load_model()
    predicted = np.argmax(model.predict(DATA.test.images, verbose=0), axis=1)
    accuracy = np.mean(predicted == DATA.test.labels)
    assert accuracy == pytest.approx(loaded.record["results"]["test_accuracy_best"])


def test_without_a_folder_nothing_is_kept_and_the_model_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = net()
    before = model.get_weights()
    run = training.train(model, DATA, epochs=np.int64(1), seed=np.int64(3))
    assert run.folder is None
    assert list(tmp_path.iterdir()) == []
    assert (run.record["epochs"], run.record["seed"]) == (1, 3)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not model.compiled
    out, err = capsys.readouterr()
    assert out.startswith("epoch 1/1: loss ")
    assert out.count("\n") == 1, "a line an epoch, without times"
    assert err == ""


def test_preprocessing_is_inside_and_subtracts_the_mean_image():
    model = net()
    inside = preparation.with_preprocessing(model, DATA.train.images)
    images = DATA.test.images[:8]
    mean = DATA.train.images.mean(axis=0)
    expected = np.asarray(model(((images - mean) / 255).astype("float32")))
    np.testing.assert_allclose(np.asarray(inside(images.astype("float32"))), expected, atol=1e-6)
    without = preparation.with_preprocessing(model, DATA.train.images, None)
    expected = np.asarray(model((images / 255).astype("float32")))
    np.testing.assert_allclose(np.asarray(without(images.astype("float32"))), expected, atol=1e-6)


def test_two_runs_with_one_seed_see_the_same_batches():
    def first(seed, epoch):
        return batches.Batches(DATA.train, 32, seed=seed, epoch=epoch)[0][0]

    np.testing.assert_array_equal(first(1, 0), first(1, 0))
    assert not np.array_equal(first(1, 0), first(2, 0))
    assert not np.array_equal(first(1, 0), first(1, 1))


def test_an_epoch_shows_each_image_once():
    epoch = batches.Batches(DATA.train, 100, augment=False)
    assert [len(epoch[i][1]) for i in range(len(epoch))] == [100, 100, 56]
    seen = np.concatenate([epoch[i][0] for i in range(len(epoch))])
    order = np.argsort(epoch.order)
    np.testing.assert_array_equal(seen[order], DATA.train.images)


def test_an_existing_folder_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="Nothing is overwritten"):
        training.train(net(), DATA, out=tmp_path)
    command = ["train", "--model", "resnet8v1", "--dataset", "shapes", "--out", str(tmp_path)]
    assert main(command) == 2
    assert "Nothing is overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"epochs": 1.5}])
def test_numbers_below_one_are_refused(wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=rf"{name}: expected .* (from|at least) 1\b.*{value}"):
        training.train(net(), DATA, **wrong)


def test_what_is_refused_leaves_no_folder(tmp_path):
    out = tmp_path / "run"
    for wrong in ({"seed": -1}, {"seed": 1.5}, {"notes": {"rate": np.float32(1)}}):
        with pytest.raises((ValueError, TypeError)):
            training.train(net(), DATA, out=out, **wrong)
        assert not out.exists()


def test_a_trained_model_is_not_given_its_preprocessing_twice():
    inside = preparation.with_preprocessing(net(), DATA.train.images)
    with pytest.raises(ValueError, match=r"preprocessing of its own.*scale"):
        training.train(inside, DATA, epochs=1)


def test_an_adapted_normalisation_survives_the_copy():
    inputs = keras.Input((32, 32, 3))
    normalize = keras.layers.Normalization()
    normalize.adapt(DATA.train.images / 255)
    model = keras.Model(inputs, normalize(inputs))
    inside = preparation.with_preprocessing(model, DATA.train.images, None)
    images = DATA.test.images[:4].astype("float32")
    np.testing.assert_allclose(inside(images), model(images / 255), atol=1e-5)


def test_a_model_that_does_not_fit_the_images_is_refused():
    with pytest.raises(ValueError, match=r"\(32, 32, 3\) and 10 classes.*\(16, 16, 3\)"):
        training.train(cifar.resnet_v1((16, 16, 3), 8), DATA)
    with pytest.raises(ValueError, match="one input and one output"):
        training.train("resnet20", DATA)
    with pytest.raises(ValueError, match="4 classes"):
        training.train(cifar.resnet_v1((32, 32, 3), 8, 4), DATA)


def test_a_model_that_puts_out_scores_is_refused():
    scores = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10, name="top")]
    )
    with pytest.raises(ValueError, match=r"softmax.*top.*'linear'"):
        training.train(scores, DATA)


def test_a_file_gets_its_name_when_it_is_on_the_disk(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: (done.append(n), r(*a)))
    records.save({}, tmp_path)
    assert done == ["fsync", "replace"]


def test_what_is_not_a_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"record\.json"):
        records.load(tmp_path)
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(ValueError, match="record of a run"):
        records.load(tmp_path)
    (tmp_path / "record.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="record of a run"):
        records.load(tmp_path)
    (tmp_path / "record.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99"):
        records.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"run\.model"):
        records.Run({}).load_model()
    with pytest.raises(FileNotFoundError, match=r"model\.keras"):
        records.Run({}, tmp_path).load_model()


def test_the_command_line_trains(tmp_path, capsys):
    out = tmp_path / "run"
    command = "train --model plain8 --dataset shapes --form standard --epochs 1 --limit 64"
    code = main([*command.split(), "--seed", "5", "--batch-size", "16", "--out", str(out)])
    assert code == 0
    record = records.load(out).record
    assert record["model"]["id"] == "plain8"
    rest = ["--seed", "5", "--batch-size", "16", "--out", str(out)]
    words = ["python", "-m", "resnet_lib", *command.split(), *rest]
    assert record["notes"] == {"form": "standard", "dropout": 0, "command": shlex.join(words)}
    assert (record["seed"], record["batch_size"]) == (5, 16)
    assert record["dataset"]["sizes"][0] == 64
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--model", "resnet21v1"], "20 and 26"),
        (["--model", "vgg16"], "resnet20v1"),
        (["--model", "resnet8v1", "--form", "best"], "'example', 'paper', 'standard'"),
        (["--model", "resnet8v1", "--limit", "0"], "1"),
        (["--model", "resnet8v1", "--size", "64"], "from 8 to 32"),
        (["--model", "resnet8v1", "--dropout", "1"], "below 1"),
        (["--model", "resnet8v1", "--set", "rate=1"], "'batch_size'"),
        (["--model", "resnet8v1", "--set", "momentum=2"], "from 0 to 1"),
    ],
)
def test_the_command_line_answers_in_one_line(wrong, said, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--dataset", "shapes", "--out", str(out), *wrong]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_fields_of_the_recipe_on_the_command_line(tmp_path, monkeypatch):
    asked = []

    def train(model, data, recipe, **options):
        asked.append((recipe, model.layers[-2].name, options["notes"]["command"]))
        raise ValueError("enough")

    monkeypatch.setattr("resnet_lib.training.train", train)
    command = "train --model plain8 --dataset shapes --recipe one-cycle --epochs 2 --dropout 0.3"
    command += " --set peak=0.1 --set augment=false --set sizes=[[1,1]] --set anneal=cosine"
    command += " --set weight_decay=0.002"
    out = ["--out", str(tmp_path / "run")]
    assert main([*command.split(), *out, "--resume"]) == 2
    changes = dict(epochs=2, peak=0.1, augment=False, sizes=((1, 1),), anneal="cosine")
    wanted = replace(ONE_CYCLE, **changes, weight_decay=recipes.WeightDecay(0.002))
    typed = shlex.join(["python", "-m", "resnet_lib", *command.split(), *out])
    assert asked == [(wanted, "head_dropout", typed)]


def test_what_is_no_assignment_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--model", "plain8", "--out", "x", "--set", "peak"])
    assert "expected FIELD=VALUE, received 'peak'" in capsys.readouterr().err


def test_the_command_line_lists_runs(run, capsys):
    assert main(["records", str(run.folder)]) == 0
    shown = capsys.readouterr().out
    best = max(run.history["val_accuracy"])
    assert f"{100 * best:.1f}" in shown
    assert f"{run.folder} " in shown
    assert run.source in shown
    assert main(["records"]) == 0
    assert main(["records", str(run.folder / "no")]) == 2


def test_the_confusion_matrix_adds_up_to_the_accuracy(run):
    results = run.record["results"]
    counts = np.array(results["test_confusion"])
    wanted = np.bincount(DATA.test.labels, minlength=10)
    np.testing.assert_array_equal(counts.sum(axis=1), wanted)
    assert np.trace(counts) / counts.sum() == pytest.approx(results["test_accuracy_best"])


@pytest.mark.images
@pytest.mark.slow
def test_resnet20_learns_real_pictures_in_a_few_hundred_steps():
    data = datasets.cifar10()
    parts = data.train.limit(6_400), data.validation.limit(500), data.test.limit(2_000)
    data = datasets.Dataset(*parts, data.class_names, data.source)
    recipe = replace(ONE_CYCLE, epochs=2, batch_size=64, peak=0.2, sizes=((1, 1),), augment=False)
    keras.utils.set_random_seed(0)
    model = cifar.resnet_v1((32, 32, 3), 20, form="standard")
    run = training.train(model, data, recipe, progress=False)  # 200 steps
    assert run.record["dataset"]["sizes"][2] == 2000
    assert run.record["results"]["test_accuracy_last"] > 0.35
