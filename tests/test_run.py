"""A run: what it leaves behind, what it refuses, and that nothing of it is lost."""

import json
import resource
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from small import (
    DATA,
    PICTURES,
    SHORT,
    At,
    EachEpoch,
    net,
    raising,
    resnet8,
    train,
)

from resnet_lib import cifar, datasets, records, training
from resnet_lib.__main__ import main
from resnet_lib.recipes import EXAMPLE, ONE_CYCLE
from resnet_lib.training import callbacks, network
from resnet_lib.training import fit as fitting


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
    assert record["dataset"]["source"] == PICTURES.source == run.source
    assert record["dataset"]["sha256"] == PICTURES.sha256
    assert record["notes"] == {"form": "example"}
    assert {len(values) for values in record["history"].values()} == {2}
    assert record["history"]["learning_rate"] == pytest.approx([1e-3, 1e-3])
    assert record["started"] <= record["finished"]
    assert PICTURES.source in str(run)


def test_the_saved_model_takes_pixels_and_gives_the_recorded_accuracy(run):
    loaded = records.load(run.folder)
    model = loaded.load_model()
    predicted = np.argmax(model.predict(PICTURES.test.images, verbose=0), axis=1)
    accuracy = np.mean(predicted == PICTURES.test.labels)
    assert accuracy == pytest.approx(loaded.record["results"]["test_accuracy_best"])


@pytest.mark.slow
def test_without_a_folder_nothing_is_kept_and_the_model_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = resnet8()
    before = model.get_weights()
    run = training.train(model, PICTURES, EXAMPLE, epochs=np.int64(1), seed=np.int64(3))
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


def test_an_existing_folder_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="Nothing is overwritten"):
        training.train(resnet8(), PICTURES, out=tmp_path)
    command = ["train", "--model", "resnet8v1", "--dataset", "shapes", "--out", str(tmp_path)]
    assert main(command) == 2
    assert "Nothing is overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"epochs": 1.5}])
def test_numbers_below_one_are_refused(wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=rf"`{name}` .* (from|at least) 1\b.*Received: {value}"):
        training.train(resnet8(), PICTURES, **wrong)


def test_what_is_refused_leaves_no_folder(tmp_path):
    out = tmp_path / "run"
    for wrong in ({"seed": -1}, {"seed": 1.5}, {"notes": {"rate": np.float32(1)}}):
        with pytest.raises((ValueError, TypeError)):
            training.train(resnet8(), PICTURES, out=out, **wrong)
        assert not out.exists()


def test_a_trained_model_is_not_given_its_preprocessing_twice():
    inside = network.with_preprocessing(resnet8(), PICTURES.train.images)
    with pytest.raises(ValueError, match=r"preprocessing of its own.*scale"):
        training.train(inside, PICTURES, epochs=1)


def test_a_model_that_does_not_fit_the_images_is_refused():
    with pytest.raises(ValueError, match=r"\(32, 32, 3\) and 10 classes.*\(16, 16, 3\)"):
        training.train(cifar.resnet_v1((16, 16, 3), 8), PICTURES)
    with pytest.raises(ValueError, match=r"functional or sequential.*'resnet20'"):
        training.train("resnet20", PICTURES)
    with pytest.raises(ValueError, match="4 classes"):
        training.train(cifar.resnet_v1((32, 32, 3), 8, 4), PICTURES)


def test_a_model_that_puts_out_scores_is_refused():
    scores = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10, name="top")]
    )
    with pytest.raises(ValueError, match=r"softmax.*last layer, top,.*add up to"):
        training.train(scores, PICTURES)


def test_the_confusion_matrix_adds_up_to_the_accuracy(run):
    results = run.record["results"]
    counts = np.array(results["test_confusion"])
    wanted = np.bincount(PICTURES.test.labels, minlength=10)
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


RESUMED = """
import hashlib, os, sys
import resnet_lib as rl
import keras
from dataclasses import replace
from resnet_lib.training import callbacks

class Cut(BaseException):
    pass

def net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False)(inputs)
    x = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="small")

def fast_net():
    keras.utils.set_random_seed(0)
    return rl.resnet_fast((16, 16, 3), widths=(8, 8))

CASES = {
    "plain": (net, rl.recipes.ONE_CYCLE),
    "averaged": (net, replace(rl.recipes.ONE_CYCLE, ema=0.8)),
    "fast": (fast_net, rl.recipes.FAST),
}

def train(out, **options):
    make, recipe = CASES[CASE]
    recipe = replace(recipe, epochs=3, batch_size=32)
    return rl.train(
        make(), DATA, recipe, out=out, seed=1, progress=False, deterministic=True, **options
    )

def told(run):
    weights = hashlib.sha256(b"".join(w.tobytes() for w in run.model.get_weights())).hexdigest()
    names = [name for name in run.history if "seconds" not in name]
    accuracy = {name: value for name, value in run.record["results"].items()}
    return weights, accuracy, {name: run.history[name] for name in names}

def cut_in(owner, method, when):
    plain, calls = getattr(owner, method), []
    def cutting(self, *args):
        calls.append(1)
        if when == "before" and len(calls) == 2:
            raise Cut
        plain(self, *args)
        if when == "after" and len(calls) == 2:
            raise Cut
    setattr(owner, method, cutting)
    return lambda: setattr(owner, method, plain)

shapes = rl.datasets.shapes(train=128, validation=64, test=64)
small = [rl.datasets.Split(part.images[:, ::2, ::2].copy(), part.labels)
         for part in (shapes.train, shapes.validation, shapes.test)]
DATA = rl.datasets.Dataset(*small, shapes.class_names, shapes.source)
END = "on_epoch_end"
PLACES = [(callbacks.Best, END, "before"), (callbacks.Recorder, END, "before"),
          (callbacks.Backup, END, "before"), (callbacks.Backup, END, "after")]
os.chdir(sys.argv[1])
for CASE in CASES:
    whole = told(train(f"whole {CASE}"))
    print("weights", whole[0])
    if len(sys.argv) > 2:
        continue
    for number, place in enumerate(PLACES if CASE == "plain" else PLACES[2:3]):
        restore = cut_in(*place)
        try:
            train(f"cut {CASE} {number}")
            raise SystemExit(f"was not cut: {place}")
        except Cut:
            pass
        restore()
        resumed = told(train(f"cut {CASE} {number}", resume=True))
        assert resumed == whole, (CASE, place, resumed, whole)
        print("equal")
"""


@pytest.mark.slow
def test_a_run_cut_anywhere_and_resumed_ends_as_an_uninterrupted_one(tmp_path):
    """Bit for bit, dropout, sizes, averaged weights and all; and so does the same run again."""
    said = {}
    for name in ("cut", "again"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", RESUMED, str(tmp_path / name)]
        command += ["only whole runs"] if name == "again" else []
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        said[name] = process.stdout.split()
    assert said["cut"].count("equal") == 6
    weights = [word for word in said["cut"] if len(word) == 64]
    assert len(set(weights)) == 3, "averaged weights are others, and so is another network"
    assert [word for word in said["again"] if len(word) == 64] == weights, "the same bits again"


@pytest.mark.slow
def test_an_interrupted_run_returns_and_goes_on(tmp_path):
    stop = At(1, 1, raising(KeyboardInterrupt()))
    run = train(tmp_path / "run", callbacks=[stop])
    assert run.record["stopped"] == "by hand in epoch 2"
    assert len(run.history["loss"]) == 1
    assert "test_accuracy_last" not in run.record["results"]
    assert "stopped: by hand in epoch 2" in str(run)
    found = fitting.probabilities(run.model, DATA.test)
    assert fitting.accuracy(found, DATA.test) == run.record["results"]["test_accuracy_best"]
    resumed = train(tmp_path / "run", resume=True)
    assert "stopped" not in resumed.record
    assert len(resumed.history["loss"]) == 3
    again = train(tmp_path / "run", resume=True)
    assert again.record["finished"] == resumed.record["finished"], "nothing is left to do"


def test_interrupted_in_the_first_epoch_the_weights_of_then_are_kept(tmp_path):
    run = train(tmp_path / "run", callbacks=[At(0, 2, raising(KeyboardInterrupt()))])
    assert run.record["results"]["best_epoch"] is None
    assert not np.array_equal(run.model.get_weights()[2], net().get_weights()[0])
    assert "the last weights" in str(run)


def test_the_first_epochs_of_a_recipe_can_be_followed_by_the_others(tmp_path):
    train(tmp_path / "run", epochs=1)
    run = train(tmp_path / "run", epochs=2, resume=True)
    assert len(run.history["loss"]) == 2
    with pytest.raises(ValueError, match=r"from 1 to 3.*Received: 4") as refused:
        train(epochs=4)
    assert "replace(recipe, epochs=" in refused.value.__notes__[0]


def test_what_was_started_otherwise_is_not_resumed(tmp_path):
    train(tmp_path / "run", epochs=1)
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    with pytest.raises(ValueError, match=r"seed: then 0, now 1"):
        train(tmp_path / "run", resume=True, seed=1)
    with pytest.raises(ValueError, match=r"Received: recipe\.peak: then 0\.05, now 0\.2$"):
        train(tmp_path / "run", replace(SHORT, peak=0.2), resume=True)
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before
    with pytest.raises(ValueError, match="out=None"):
        train(resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a run's folder"):
        train(tmp_path / "other", resume=True)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


def test_a_full_disk_leaves_the_last_finished_epoch(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(model):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    try:
        with pytest.raises(OSError) as failed:
            train(tmp_path / "run", callbacks=[At(1, 0, fill)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "resume" in failed.value.__notes__[-1]
    assert callbacks.backups(tmp_path / "run" / fitting.BACKUP)[0][0] == 1
    keras.saving.load_model(tmp_path / "run" / fitting.BEST)
    assert len(train(tmp_path / "run", resume=True).history["loss"]) == 3


def test_a_folder_of_the_users_is_left_alone(tmp_path):
    """One with `checkpoints/` in it, too, for many projects have that."""
    names = ("model.keras", "checkpoints/best.keras")
    (tmp_path / "checkpoints").mkdir()
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match="not a run's folder"):
        train(tmp_path, resume=True)
    assert [(tmp_path / name).read_text() for name in names] == ["mine", "mine"]


def test_an_interruption_after_the_last_epoch_loses_nothing(tmp_path):
    def stop(model, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    stopped = train(tmp_path / "run", callbacks=[EachEpoch(stop)])
    assert stopped.record["stopped"] == "by hand in epoch 3"
    resumed = train(tmp_path / "run", resume=True)
    assert [each["epoch"] for each in resumed.record["resumed"]] == [3]
    assert resumed.history == stopped.history


def test_a_half_written_model_never_becomes_the_best(tmp_path):
    recipe = replace(SHORT, peak=1e-9)  # The first epoch stays the best.
    train(tmp_path / "run", recipe, epochs=1)
    (tmp_path / "run" / fitting.BEST.with_name("part.keras")).write_text("half")
    train(tmp_path / "run", recipe, resume=True)
    keras.saving.load_model(tmp_path / "run" / fitting.BEST)


def test_a_damaged_backup_says_so(tmp_path):
    train(tmp_path / "run", epochs=1)
    [backup] = (tmp_path / "run" / fitting.BACKUP).iterdir()
    backup.write_bytes(backup.read_bytes()[:1000])
    with pytest.raises(OSError, match=r"is damaged.*remove .*last_epoch, and the run starts anew"):
        train(tmp_path / "run", resume=True)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    def second(model):
        with pytest.raises(BlockingIOError, match="Another process"):
            train(tmp_path / "run", resume=True)

    assert train(tmp_path / "run", epochs=1, callbacks=[At(0, 1, second)]).history["loss"]


def test_what_cannot_start_leaves_no_folder(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(TypeError, match="iterable"):
        train(out, callbacks=keras.callbacks.EarlyStopping())
    with pytest.raises(ValueError, match=r"Dataset\. Received: \(1, 2\)"):
        training.train(net(), (1, 2), SHORT, out=out)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        train(out, tensorboard=True)
    with pytest.raises(ValueError, match="folder for the run as `out`"):
        train(tensorboard=True)
    assert not out.exists()


@pytest.mark.slow
def test_only_what_is_there_is_promised(tmp_path):
    fails = {"callbacks": [At(0, 1, raising(RuntimeError("mine")))]}
    for out in (None, tmp_path / "run"):
        with pytest.raises(RuntimeError) as failed:
            train(out, **fails)
        assert not hasattr(failed.value, "__notes__")
    assert train(tmp_path / "run", replace(SHORT, peak=0.01), resume=True), "nothing was learnt"
