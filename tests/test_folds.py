"""k-fold validation: each picture is tested once, by a network that has not seen it."""

from dataclasses import replace

import numpy as np
import pytest
from small import DATA, SHORT, net

from resnet_lib import finetuning, records, training
from resnet_lib.datasets import Dataset, Split
from resnet_lib.recipes import FINE_TUNE
from resnet_lib.training import folds, k_fold


def numbered(counts, names=("a", "b", "c")):
    """Return a data set in which each picture has a number of its own."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (len(labels), 2, 2, 1)).copy()
    rows = np.random.default_rng(0).permutation(len(labels))
    some, few = rows[3:], rows[:3]
    other = Split(np.full((1, 2, 2, 1), 255, np.uint8), np.zeros(1, np.int64))
    parts = Split(images[some], labels[some]), Split(images[few], labels[few])
    return Dataset(*parts, other, names, "numbers")


def run_of(data, accuracy=0.5):
    record = {
        "dataset": {"sizes": [len(data.train), len(data.validation), len(data.test)]},
        "results": {
            "test_accuracy_best": accuracy,
            "test_confusion": [[1, 2], [3, 4]],
            "baselines": {"test": {"class": "a", "accuracy": 0.25}},
        },
    }
    return records.Run(record)


def test_each_picture_is_tested_once_and_trained_on_in_the_other_folds():
    data, seen = numbered((20, 11, 6)), []

    def train(fold, out):
        assert out is None
        seen.append(fold)
        return run_of(fold)

    k_fold(data, train, k=4)
    tested = [set(fold.test.images[:, 0, 0, 0].tolist()) for fold in seen]
    assert sorted(number for its in tested for number in its) == list(range(37))
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    for fold, its in zip(seen, tested, strict=True):
        parts = [set(p.images[:, 0, 0, 0].tolist()) for p in (fold.train, fold.validation)]
        assert parts[0] | parts[1] == set(range(37)) - its
        assert not parts[0] & parts[1]
        of_each = np.bincount(fold.test.labels, minlength=3)
        assert (np.abs(of_each - np.array([5, 11 / 4, 6 / 4])) < 1).all(), "stratified"
        assert (np.bincount(fold.validation.labels, minlength=3) >= 1).all()
        for part in (fold.train, fold.validation, fold.test):
            of_numbers = np.repeat([0, 1, 2], (20, 11, 6))[part.images[:, 0, 0, 0]]
            np.testing.assert_array_equal(part.labels, of_numbers)
    assert [fold.source for fold in seen] == [f"numbers, fold {n} of 4" for n in (1, 2, 3, 4)]


def test_the_folds_depend_on_the_seed():
    def tested(seed):
        found = []

        def train(fold, out):
            found.append(fold.test.images.tobytes())
            return run_of(fold)

        k_fold(numbered((20, 11, 6)), train, seed=seed)
        return found

    assert tested(1) == tested(1) != tested(2)


def test_mean_and_standard_error_by_hand():
    accuracies = [0.6, 0.7, 0.8, 0.9]
    runs = [run_of(numbered((6, 5, 4)), accuracy) for accuracy in accuracies]
    found = folds.Folds(tuple(runs))
    assert found.mean == pytest.approx(0.75)
    assert found.standard_error == pytest.approx(np.std(accuracies, ddof=1) / 2)
    assert found.confusion == [[4, 8], [12, 16]]
    assert found.baseline == 0.25
    table = str(found).splitlines()
    assert table[0].split() == ["fold", "trained", "on", "tested", "on", "accuracy"]
    assert table[1].split() == ["1", "12", "1", "60.0%"]
    assert table[-1].startswith("mean 75.0%, standard error 6.5%; the most frequent class: 25.0%")


def test_what_is_refused(tmp_path):
    data = numbered((20, 11, 4))
    with pytest.raises(
        ValueError, match=r"at least 5 pictures of each class.*Received: fewer of c"
    ):
        k_fold(data, lambda fold, out: run_of(fold))
    with pytest.raises(ValueError, match=r"at least 3 .*Received: fewer of b"):
        k_fold(numbered((9, 2, 9)), lambda fold, out: run_of(fold), k=2)
    with pytest.raises(ValueError, match="`k`"):
        k_fold(data, lambda fold, out: run_of(fold), k=1)
    with pytest.raises(FileExistsError, match="Nothing is overwritten"):
        k_fold(data, lambda fold, out: run_of(fold), k=3, out=tmp_path)
    with pytest.raises(ValueError, match=r"finished run of the data set.*Received: NoneType"):
        k_fold(data, lambda fold, out: None, k=3)
    with pytest.raises(ValueError, match="one of 1 test pictures, where the fold has 12"):
        k_fold(data, lambda fold, out: run_of(data), k=3)
    with pytest.raises(ValueError, match="Received: 'pictures'"):
        k_fold("pictures", lambda fold, out: None)


def test_many_pictures_need_no_folds():
    labels = np.arange(1200) % 2
    part = Split(np.zeros((1200, 1, 1, 1), np.uint8), labels)
    data = Dataset(part, part.limit(2), part.limit(2), ("a", "b"), "zeros")
    with pytest.warns(UserWarning, match="1,202 pictures are enough for one test part"):
        k_fold(data, lambda fold, out: run_of(fold), k=2)


@pytest.mark.slow
def test_runs_of_train_and_of_finetune_are_kept(tmp_path):
    recipe = replace(SHORT, epochs=1)
    options = dict(progress=False, seed=1)

    def train(fold, out):
        return training.train(net(), fold, recipe, out=out, **options)

    found = k_fold(DATA, train, k=2, out=tmp_path / "all")
    kept = [records.load(tmp_path / "all" / f"fold{n}") for n in (1, 2)]
    assert [run.record["results"]["test_accuracy_best"] for run in kept] == [*found.accuracies]
    assert sum(run.record["dataset"]["sizes"][2] for run in kept) == 192

    def tune(fold, out):
        few = replace(FINE_TUNE, epochs=1)
        return finetuning.finetune(fold, net(), few, out=out, preprocessing="0-1", **options)

    assert len(k_fold(DATA, tune, k=2).runs) == 2
