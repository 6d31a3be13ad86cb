"""Records of runs."""

import io
import json
import os
import shutil
import zipfile

import keras
import numpy as np
import pytest

from resnet_lib import cards, records
from resnet_lib.training.fit import PROGRESS


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


@pytest.fixture
def unfinished(run, tmp_path):
    """A run's folder as it is while the run goes on."""
    folder = shutil.copytree(run.folder, tmp_path / "runs" / "unfinished")
    for name in ("record.json", "model.keras"):
        (folder / name).unlink()
    return folder


def test_a_run_that_did_not_finish_is_shown(unfinished):
    for path in (unfinished / "checkpoints", unfinished / PROGRESS):
        [shown] = records.runs_in(path).values()
        assert "results" not in shown.record
        assert shown.summary.endswith("; not finished")
        assert f"epoch 2: loss {shown.history['loss'][-1]:.3f}" in shown.summary
        line = records.table({"mine": shown}).splitlines()[-1].split()
        assert (line[:2], line[4:]) == (["mine", "2/200"], ["–"] * 4)
    before_the_first = records.Run(shown.record | {"history": {n: [] for n in shown.history}})
    assert before_the_first.summary.endswith("; not finished")
    assert "not finished" in str(before_the_first)
    assert records.table({"mine": before_the_first}).split()[-5:] == ["–"] * 5
    with pytest.raises(FileNotFoundError, match="finished run"):
        records.load(unfinished)


def test_all_runs_below_a_folder(run, unfinished, tmp_path):
    top = tmp_path / "runs"
    for name in ("b", "deep/down/a", "named.json"):
        shutil.copytree(run.folder, top / name)
    assert list(records.runs_in(top)) == [
        str(top / name) for name in ("b", "deep/down/a", "named.json", "unfinished")
    ]
    one = records.runs_in(top / "b")
    assert list(one) == [str(top / "b")] == list(records.runs_in(f"{top}/b/"))
    assert list(records.runs_in(top / "b" / "record.json")) == [str(top / "b" / "record.json")]
    assert records.load(top / "named.json").load_model().count_params()
    if keras.backend.backend() == "tensorflow":  # By itself Keras would take XLA on a GPU.
        assert records.load(top / "named.json").load_model().jit_compile is False
    (top / "b" / "record.json").write_text("{")
    with pytest.warns(UserWarning, match=r"b/record\.json, which is none"):
        assert str(top / "b") not in records.runs_in(top)
    with pytest.raises(ValueError, match="is none"):
        records.runs_in(top / "b")


def test_a_run_is_shown_as_a_card_of_about_ten_lines(run):
    shown = records.load(run.folder)
    lines = str(shown).splitlines()
    assert 8 <= len(lines) <= 12
    assert max(map(len, lines)) < 130
    assert repr(shown) == str(shown), "as a notebook's last line, or in a list"
    told = {line.split("  ")[0].split(" ")[0]: line for line in lines[1:]}
    assert "run.load_model()" in told["network"]
    assert "run.model" in str(run), "the trained one is at hand"
    for part in shown.summary.split("; ")[1:]:
        assert part in told["result"] + told[""]
    assert f"test accuracy {run.record['results']['test_accuracy_best']:.1%}" in told[""]
    assert "circle, ring" in told["classes"]
    assert "run.calibrate" in told["certainty"]
    assert str(run.folder.parent) not in str(shown), "a path would differ in each notebook"
    assert str(records.Run(run.record)).count("memory alone") == 1


def test_a_notebook_shows_the_card_as_a_table(run):
    dataset = run.record["dataset"] | {"source": "<b>&", "classes": ["<i>cat", "dog"]}
    html = records.Run(run.record | {"dataset": dataset})._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "&lt;i&gt;cat, dog" in html
    assert "<b>" not in html
    assert html.count("<tr>") == len(str(run).splitlines()) - 1


def test_a_network_that_lies_alone_knows_its_classes(run, tmp_path):
    shutil.copy(run.folder / "model.keras", tmp_path / "sent.keras")
    alone = records.load(tmp_path / "sent.keras")
    assert alone.class_names == run.class_names == tuple(run.record["dataset"]["classes"])
    assert alone.card == run.card
    assert alone.source == run.source
    assert alone.best_accuracy == run.best_accuracy > 0
    assert "loss" not in alone.summary
    assert f"test accuracy {run.record['results']['test_accuracy_best']:.1%}" in str(alone)
    assert records.table({"alone": alone})
    assert records.runs_in(tmp_path / "sent.keras").keys() == {str(tmp_path / "sent.keras")}
    picture = np.full((1, 32, 32, 3), 100, "uint8")
    np.testing.assert_array_equal(
        alone.predict(picture).probabilities, run.predict(picture).probabilities
    )
    assert alone.model is not None, "it is loaded once"


def without_card(path):
    """Write a .keras file as an older version did."""
    content = cards.added(path.read_bytes(), {})
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        for part in old.infolist():
            if part.filename != cards.MEMBER:
                new.writestr(part, old.read(part))


def test_a_network_without_a_card_is_known_by_the_record_beside_it(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "old")
    without_card(folder / "model.keras")
    for path in (folder, folder / "record.json", folder / "model.keras"):
        old = records.load(path)
        assert old.card == run.card
        assert old.history == run.history
        assert old.predict(np.full((32, 32, 3), 9, "uint8")).class_names == run.class_names
    shutil.copy(folder / "model.keras", tmp_path / "one.keras")
    with pytest.raises(
        ValueError, match=r"one\.json beside it\. Received: .*one\.keras, with neither"
    ):
        records.load(tmp_path / "one.keras")
    (tmp_path / "one.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"one\.keras, which is damaged"):
        records.load(tmp_path / "one.keras")
    with pytest.raises(FileNotFoundError):
        records.load(tmp_path / "none.keras")


def test_a_network_beside_another_runs_record_goes_by_its_card(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "mixed")
    dataset = run.record["dataset"] | {"classes": [f"other {n}" for n in range(10)]}
    records.save(run.record | {"dataset": dataset}, folder)
    found = records.load(folder / "model.keras")
    assert found.class_names == run.class_names
    assert found.history["loss"] == []
    assert records.load(folder).class_names == run.class_names, "it is what the network was taught"


def test_a_run_without_class_names_says_so(run):
    dataset = {n: v for n, v in run.record["dataset"].items() if n != "classes"}
    bare = records.Run(run.record | {"dataset": dataset}, model=run.model)
    assert "not in the record" in str(bare)
    for ask in (lambda: bare.class_names, lambda: bare.predict(np.zeros((32, 32, 3), "uint8"))):
        with pytest.raises(ValueError, match="names its classes"):
            ask()


def test_where_no_run_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder of runs"):
        records.runs_in(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"record\.json"):
        records.runs_in(tmp_path / "none")
    for nobody in ("~nobody-of-this-name/run", None, "a\0b"):
        with pytest.raises(ValueError, match=r"Expected `path` to be a path.*Received: "):
            records.runs_in(nobody)
        with pytest.raises(ValueError, match=r"Expected `folder` to be a path.*Received: "):
            records.load(nobody)


def everywhere(value):
    """Yield each dict in a dict, and each of its keys."""
    for name in list(value):
        yield value, name
        if isinstance(value[name], dict):
            yield from everywhere(value[name])


def test_a_record_with_fields_missing_or_of_another_type_is_refused_or_shown(run, tmp_path):
    text, refused = (run.folder / "record.json").read_text(), 0
    wrong = [None, 1, "text", [], {}, [None], ["text"], {"a": 1}, True]
    record = json.loads(text)
    record.pop("sha256")  # As if someone had written it by hand.
    for place, name in everywhere(record):
        kept = place.pop(name)
        for value in [KeyError, *wrong]:
            place.pop(name, None)
            if value is not KeyError:
                place[name] = value
            (tmp_path / "record.json").write_text(json.dumps(record))
            try:
                shown = records.load(tmp_path)
            except ValueError as error:
                assert "Expected" in str(error)
                refused += 1
                continue
            assert str(shown)
            assert shown._repr_html_()
            assert records.table({"it": shown})
        place[name] = kept
    assert refused > 100


def test_a_record_that_is_not_as_it_was_written_is_refused(tmp_path, run):
    text = (run.folder / "record.json").read_text()
    assert "sha256" not in run.record
    assert "sha256" not in records.load(run.folder).record
    shown = f"{run.history['loss'][0]}"
    (tmp_path / "record.json").write_text(text.replace(shown, "1.5"))
    with pytest.raises(ValueError, match="not as it was written"):
        records.load(tmp_path)
    (tmp_path / "record.json").write_text(json.dumps(json.loads(text)))  # In one line.
    assert records.load(tmp_path).record == records.load(run.folder).record


def test_a_record_holds_what_json_makes_of_it(tmp_path):
    record = {"pair": (1, 2), "number": np.float64(0.1), 3: "key"}
    records.save(record, tmp_path)
    with pytest.raises(ValueError, match="has no `model"):
        records.load(tmp_path)


def test_what_benchmarks_repeated_by_seed_is_whole():
    runs = records.by_seed("degradation")
    kinds = [{key: run[key] for key in ("optimizer", "rate", "kind", "depth")} for run in runs]
    assert {run["seed"] for run in runs} == {1, 2, 3}
    assert all(kinds.count(kind) == 3 for kind in kinds)
    assert all(run["losses"] and 0 < run["test_accuracy"] < 1 for run in runs)
