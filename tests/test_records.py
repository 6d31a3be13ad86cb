"""Records of runs."""

import os

import pytest

from resnet_lib import records


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
