"""The card inside a .keras file."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from resnet_lib import cards, records, zoo

ALONE = """
import json, sys, zipfile
card = json.loads(zipfile.ZipFile(sys.argv[1]).read("card.json"))
import keras
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
shape = (1, *card["input_shape"])
import numpy as np
found = model.predict(np.full(shape, 100, "uint8"), verbose=0)
print(json.dumps([card["classes"], found[0].tolist(), "resnet_lib" in sys.modules]))
"""


@pytest.mark.slow
def test_card_and_network_are_of_use_without_this_package(run, tmp_path):
    command = [sys.executable, "-c", ALONE, str(run.folder / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    classes, found, imported = json.loads(done.stdout)
    assert not imported
    assert classes == list(run.class_names)
    answers = run.predict(np.full((32, 32, 3), 100, "uint8"))
    assert found == pytest.approx(answers.probabilities[0].tolist(), abs=1e-5)


def test_every_network_that_train_saves_has_a_card(run):
    with zipfile.ZipFile(run.folder / "model.keras") as archive:
        assert archive.namelist().count("card.json") == 1
        card = json.loads(archive.read("card.json"))
    assert card == cards.of(run.record) == cards.read(run.folder / "model.keras")
    assert card["classes"] == run.record["dataset"]["classes"]
    assert card["input_shape"] == [32, 32, 3]
    assert card["accuracy"]["test"] == run.record["results"]["test_accuracy_best"]
    assert card["accuracy"]["validation"] == max(run.history["val_accuracy"])
    assert card["epochs"] == [2, 200]
    assert (card["temperature"], card["threshold"]) == (None, None)
    assert "/" not in card["source"]
    assert "notes" not in card, "a command line tells of its writer's folders"


@pytest.mark.parametrize("name", zoo.names())
def test_the_networks_that_come_with_the_library_have_their_cards(name):
    path = records.RECORDED / f"{name}.keras"
    assert cards.read(path) == cards.of(records.recorded()[name].record)
    assert records.is_whole(path)


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_card_takes_the_place_of_another_and_nothing_else_changes(run, tmp_path):
    old, path = run.folder / "model.keras", tmp_path / "new.keras"
    card = cards.read(old) | {"temperature": 1.5, "classes": ["Käse", *"bcdefghij"]}
    path.write_bytes(cards.added(old.read_bytes(), card))
    assert cards.read(path) == card
    assert "Käse" in parts(path)["card.json"].decode()
    before, after = parts(old), parts(path)
    assert list(before) == list(after), "one card, not two"
    assert before | {"card.json": None} == after | {"card.json": None}
    assert records.is_whole(path)
    again = cards.added(path.read_bytes(), cards.read(old))
    assert again == old.read_bytes(), "the same bytes each time"


@pytest.mark.parametrize("content", [b"", b"PK\3\4 not a zip", b"\0" * 100])
def test_what_is_no_archive_has_no_card(content, tmp_path):
    (tmp_path / "model.keras").write_bytes(content)
    assert cards.read(tmp_path / "model.keras") is None
    assert cards.read(tmp_path / "none.keras") is None
    assert cards.read(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"classes": "abc"},
        {"classes": []},
        {"classes": [1, 2]},
        {"input_shape": [32, 32]},
        {"input_shape": [0, 32, 3]},
        {"input_shape": None},
        {"temperature": 0},
        {"temperature": "1"},
        {"threshold": [1]},
        {"score": "mahalanobis"},
        {"sizes": None},
        {"accuracy": None},
        {"network": None},
        {"epochs": [1]},
    ],
)
def test_a_card_of_another_kind_is_refused(change, run, tmp_path):
    path = tmp_path / "model.keras"
    card = cards.of(run.record) | change
    path.write_bytes(cards.added((run.folder / "model.keras").read_bytes(), card))
    with pytest.raises(ValueError, match=r"Expected a card of format 1 .*model\.keras"):
        cards.read(path)


def test_a_card_that_is_no_json_is_refused(run, tmp_path):
    path = tmp_path / "model.keras"
    for content in ("", "[]", "1", "{", "[" * 100_000):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("card.json", content)
        with pytest.raises(ValueError, match="Expected a card"):
            cards.read(path)


def test_a_record_is_made_of_a_card_alone(run):
    record = cards.as_record(cards.of(run.record))
    assert records._fault(record) is None
    assert cards.of(record) | {"epochs": 0, "accuracy": 0} == cards.of(run.record) | {
        "epochs": 0,
        "accuracy": 0,
    }
    unfinished = {name: run.record[name] for name in run.record if name != "results"}
    assert records._fault(cards.as_record(cards.of(unfinished))) is None
