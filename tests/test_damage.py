"""Damage to a run's folder, and cuts: a resume gives what the whole run gives, or says why not."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
from small import SHORT, train

from resnet_lib import records
from resnet_lib.training import callbacks
from resnet_lib.training import fit as fitting
from resnet_lib.training import run as running

RECIPE = replace(SHORT, epochs=2)
FILES = (
    "record.json",
    "model.keras",
    "checkpoints/record.json",
    "checkpoints/best.keras",
    "checkpoints/last_epoch/epoch-00001.weights.h5",
    "checkpoints/last_epoch/epoch-00002.weights.h5",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two epochs of three, so that everything is there that a resume may go on from."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    train(folder, epochs=2)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="module")
def goes_on(whole):
    """A function: what a resume of all three epochs goes on from, its history and its weights."""
    record = records.load(whole / fitting.PROGRESS).record
    kept = {name: record[name] for name in record if name not in ("format", "checkpoints")}
    asked = kept | {"epochs": 3, "history": {name: [] for name in record["history"]}}

    def goes_on(folder):
        history = running._resumed(asked, folder)["history"]
        names = [fitting.BEST, callbacks.backup_of(fitting.BACKUP, len(history["loss"]))]
        return history, [(folder / name).read_bytes() for name in names]

    return goes_on


def loaded(folder):
    run = records.load(folder)
    model = run.load_model()
    return run.record, model.to_json(), [weight.tobytes() for weight in model.get_weights()]


def flipped(path, places=100):
    """Yield a place and write the file with another byte there, for so many places."""
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for place in sorted(random.choice(len(content), min(places, len(content)), replace=False)):
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        yield int(place)
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_that_has_changed_is_seen_or_does_no_harm(name, folder, goes_on):
    read = goes_on if name.startswith("checkpoints") else loaded
    expected, seen = read(folder), 0
    for place in flipped(folder / name):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = read(folder)
            except (ValueError, OSError) as error:
                assert type(error) in (ValueError, OSError), (place, repr(error))
                assert str(folder / name) in str(error), (place, str(error))
                seen += 1
                continue
        if found != expected:
            damaged = f"{folder / name} is damaged or gone: the run goes on after epoch 1."
            assert damaged in [str(each.message) for each in told], place
            assert len(found[0]["loss"]) == 1
            seen += 1
    # An archive has its dates and more that nobody reads, and the older backup is not read at all.
    assert seen >= (0 if name.endswith("00001.weights.h5") else 85), seen


def test_a_best_model_whose_numbers_have_changed_is_seen(folder):
    """Each byte of the first kernel, in both files."""
    for name in ("model.keras", fitting.BEST):
        path = folder / name
        content = path.read_bytes()
        kernel = keras.saving.load_model(path).get_weights()[2].tobytes()
        at = content.index(kernel)
        for place in range(at, at + len(kernel), 40):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert not records.is_whole(path)
        path.write_bytes(content)
        assert records.is_whole(path)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "replace"])
def test_the_newest_backup_spoiled_the_one_before_gives_the_same_result(harm, whole, folder):
    expected = train(shutil.copytree(whole, folder.with_name("unharmed")), resume=True)
    first, newest = sorted((folder / fitting.BACKUP).iterdir())
    spoil(newest, harm, first)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = train(folder, resume=True)
    damaged = [str(each.message) for each in told if "the run goes on after epoch 1" in str(each)]
    assert len(damaged) == (harm != "remove")
    assert [each["epoch"] for each in run.record["resumed"]] == [1]
    same_result(run, expected)


def spoil(path, harm, other=None):
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "replace":
        shutil.copy(other, path)
    else:
        content[len(content) // 2] ^= 4
        path.write_bytes(content[: len(content) // 2] if harm == "cut" else content)


def same_result(run, expected):
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert run.history[name] == pytest.approx(expected.history[name], rel=1e-4), name
    assert run.record["results"]["best_epoch"] == expected.record["results"]["best_epoch"]
    for found, wanted in zip(run.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_lost_best_model_is_told_before_the_first_step(harm, folder, monkeypatch):
    monkeypatch.setattr(running.Job, "fit", lambda *_, **__: pytest.fail("it trains"))
    (folder / fitting.BEST).with_name("before.keras").unlink(missing_ok=True)
    spoil(folder / fitting.BEST, harm)
    with pytest.raises(OSError, match=r"best\.keras is damaged or gone.*remove .*last_epoch,"):
        train(folder, resume=True)
    monkeypatch.undo()
    shutil.rmtree(folder / fitting.BACKUP)  # As the message says.
    assert train(folder, resume=True).record["resumed"][0]["epoch"] == 0


class Accuracies(keras.callbacks.Callback):
    """Stands in for what is measured, so that the second epoch is the best."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_accuracy"] = (0.5, 0.6, 0.4)[epoch]


@pytest.mark.slow
def test_the_best_model_before_is_there_for_the_backup_before(tmp_path, monkeypatch):
    """The newest epoch is the best and its file is spoiled: the epoch is trained again."""
    plain = fitting.Job._callbacks
    monkeypatch.setattr(fitting.Job, "_callbacks", lambda *a: [Accuracies(), *plain(*a)])
    out = tmp_path / "run"
    train(out, epochs=2)
    expected = train(shutil.copytree(out, tmp_path / "unharmed"), resume=True)
    spoil(out / fitting.BEST, "flip")
    with pytest.warns(UserWarning, match=r"best\.keras is damaged.*after epoch 1"):
        run = train(out, resume=True)
    assert expected.record["results"]["best_epoch"] == 2
    same_result(run, expected)


def test_backups_that_are_none_of_this_runs_are_not_taken(folder, goes_on):
    backup, progress = folder / fitting.BACKUP, folder / fitting.PROGRESS
    expected = goes_on(folder)
    newest = callbacks.backup_of(backup, 2)
    for name in ("epoch-backup.weights.h5", "epoch-00009.weights.h5", "epoch-1.weights.h5"):
        shutil.copy(newest, backup / name)
    assert callbacks.backups(backup)[0][0] == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # They are not taken for damaged ones either.
        assert goes_on(folder) == expected
    empty = json.loads(progress.read_text())
    empty["history"] = {name: [] for name in empty["history"]}
    records.save({name: empty[name] for name in empty if name != "sha256"}, progress.parent)
    fresh = train(None, RECIPE, epochs=1)
    run = train(folder, RECIPE, resume=True, epochs=1)
    assert run.history["loss"] == pytest.approx(fresh.history["loss"], rel=1e-4)


def test_a_run_of_before_there_were_digests_goes_on(folder):
    """And where such a backup does not load, that is said in our words."""
    progress = folder / fitting.PROGRESS
    record = json.loads(progress.read_text())
    for name in ("sha256", "checkpoints"):
        del record[name]
    del record["model"]["architecture"]
    callbacks.backup_of(folder / fitting.BACKUP, 1).unlink()  # One was kept.
    progress.write_text(json.dumps(record))
    other = shutil.copytree(folder, folder.with_name("other"))
    assert len(train(folder, resume=True).history["loss"]) == 3
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save_weights(
        callbacks.backup_of(other / fitting.BACKUP, 2)
    )
    with pytest.raises(OSError, match=r"00002\.weights\.h5 is damaged or gone"):
        train(other, resume=True)
    without_optimizer = records.load(other).load_model()
    without_optimizer.save_weights(callbacks.backup_of(other / fitting.BACKUP, 2))
    with pytest.raises(OSError, match=r"00002\.weights\.h5 is damaged or gone"):
        train(other, resume=True)
    spoil(other / fitting.BEST, "flip")
    with pytest.raises(OSError, match=r"best\.keras is damaged or gone"):
        train(other, resume=True)


@pytest.mark.parametrize("content", ["", "{", '{"format": 1}', "[]", "null", "\xff"])
def test_a_damaged_record_is_told_with_the_way_to_mend_it(content, folder):
    for name in (fitting.PROGRESS, records.RECORD):
        before = (folder / name).read_bytes()
        (folder / name).write_text(content, encoding="latin-1")
        with pytest.raises(ValueError, match=r"record\.json, which .*put it back"):
            train(folder, resume=True, epochs=2)
        (folder / name).write_bytes(before)


def test_a_finished_runs_model_that_is_damaged_is_told(folder):
    path = folder / records.MODEL
    for harm in ("flip", "cut"):
        content = path.read_bytes()
        spoil(path, harm)
        with pytest.raises(ValueError, match=r"model\.keras, which is damaged: put it back"):
            records.load(folder).load_model()
        with pytest.raises(ValueError, match=r"model\.keras, which is damaged: put it back"):
            train(folder, resume=True, epochs=2)
        path.write_bytes(content)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"Found no such file: put it back"):
        train(folder, resume=True, epochs=2)


class Cut(BaseException):
    """What no handler of errors takes, as a power cut."""


def cut_at(monkeypatch, number):
    """Let the process end at its so-manieth renaming; returns how many there were."""
    real, calls = os.replace, []

    def replacing(source, target):
        calls.append(target)
        if len(calls) == number:
            raise Cut
        return real(source, target)

    monkeypatch.setattr(os, "replace", replacing)
    return calls


@pytest.mark.slow
def test_a_run_cut_at_any_write_ends_as_a_whole_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        calls = cut_at(patch, 0)
        expected = train(tmp_path / "whole", RECIPE)
    assert len(calls) >= 7  # Two of records, two backups, a best, the model, the record.
    for number in range(1, len(calls) + 1):
        out = tmp_path / f"cut{number}"
        with monkeypatch.context() as patch:
            cut_at(patch, number)
            with pytest.raises(Cut):
                train(out, RECIPE)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            run = train(out, RECIPE, resume=True)
        assert not [each for each in told if "damaged" in str(each.message)], "a cut is no damage"
        same_result(run, expected)
        assert records.load(out).load_model()


def test_a_run_cut_while_it_wrote_its_first_record_is_resumed(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        cut_at(patch, 1)
        with pytest.raises(Cut):
            train(out, RECIPE)
    left = out / fitting.PROGRESS.with_suffix(".part")
    assert [path for path in out.rglob("*") if path.is_file()] == [left]
    whole = left.read_bytes()
    for length in (0, 1, 15, 40):
        left.write_bytes(whole[:length])
        assert running._is_run(out)
    with pytest.raises(FileExistsError, match="resume"):
        train(out, RECIPE)
    assert len(train(out, RECIPE, resume=True).history["loss"]) == 2


@pytest.mark.parametrize("other", ["mine.txt", "checkpoints/record.part", "checkpoints/mine.txt"])
def test_what_only_looks_like_a_cut_run_stays_as_it_is(other, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "record.part").write_text('{\n "format": 1,\n')
    (tmp_path / other).write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="not a run's folder"):
        train(tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


FULL = """
import resource, signal, sys
import resnet_lib as rl
import keras
sys.path.insert(0, sys.argv[2])
from small import SHORT, EachEpoch, train

def fill(model, epoch):
    if epoch == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))

try:
    train(sys.argv[1], callbacks=[EachEpoch(fill)])
except OSError as error:
    print("told:", error.strerror, *error.__notes__)
"""


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_process_ends_by_itself(tmp_path):
    """The HDF5 library used to end it with a segmentation fault, at the exit."""
    tests = os.path.dirname(__file__)
    command = [sys.executable, "-c", FULL, str(tmp_path / "run"), tests, "9000"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "told: File too large" in process.stdout
    assert "Go on from there with resume=True (--resume)" in process.stdout
    assert "Traceback" not in process.stderr
    assert len(train(tmp_path / "run", resume=True).history["loss"]) == 3
