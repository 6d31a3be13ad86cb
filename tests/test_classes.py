"""What classes weigh in the loss, on each way of running a step; what the commonest is worth."""

import copy
from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
from small import DATA, SHORT, net, train

from resnet_lib.datasets import Dataset, Split
from resnet_lib.recipes import EXAMPLE
from resnet_lib.training import Execution
from resnet_lib.training.classes import baselines, class_weights, nothing_learnt


def of_labels(train, other=(0, 1), names=("cat", "dog", "eel")):
    def part(labels):
        return Split(np.zeros((len(labels), 2, 2, 3), np.uint8), np.array(labels, np.int64))

    return Dataset(part(train), part(other), part(other), names, "zeros")


def test_balanced_weights_by_hand():
    data = of_labels([0] * 6 + [1] * 3 + [2])
    found = class_weights("balanced", data)
    assert found == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert sum(found[label] for label in data.train.labels) == pytest.approx(10)
    assert class_weights("balanced", of_labels([0, 0, 1, 0])) == pytest.approx([2 / 3, 2, 1])


def test_weights_by_name_or_number():
    data = of_labels([0, 1, 2])
    assert class_weights(None, data) is None
    assert class_weights({"dog": 3}, data) == [1, 3, 1]
    assert class_weights({0: 0.5, "eel": np.float32(2)}, data) == [0.5, 1, 2]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("even", r"'balanced', a dict .*Received: 'even'"),
        ([1, 2, 3], r"Received: \[1, 2, 3\]"),
        ({"cow": 1}, r"'cat', 'dog', 'eel'. Received: 'cow'"),
        ({3: 1}, r"from 0 to 2. Received: 3"),
        ({"cat": -1}, r"class_weight\['cat'\].*at least 0.*Received: -1"),
        ({"cat": float("nan")}, "Received: nan"),
        ({"cat": 1, 0: 2}, "once. Received: 'cat' and 0"),
        ({0: 0, 1: 0, 2: 0}, "above 0. Received: only 0"),
    ],
)
def test_weights_that_are_none_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        class_weights(wrong, of_labels([0, 1, 2]))


WAYS = {
    "plain": Execution(),
    "several steps a call": Execution(steps_per_execution=3),
    "on the device": Execution(data_on_device=True, steps_per_execution=3),
}
WEIGHTS = {0: 0, 1: 5, 2: 0.5}


@pytest.fixture(scope="module")
def unweighted():
    return train(epochs=1)


@pytest.fixture(scope="module")
def plain():
    """Return what plain steps with weights make of each smoothing."""

    @cache
    def run(smoothing):
        return weighted(smoothing, Execution())

    return run


def weighted(smoothing, way, weights=WEIGHTS):
    # Of one rate, for with several steps a call TensorFlow changes it from call to call only.
    recipe = replace(EXAMPLE, batch_size=32, normalize="channel", label_smoothing=smoothing)
    return train(recipe=recipe, epochs=1, execution=way, class_weight=weights)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("smoothing", [0, 0.2])
def test_each_way_of_running_a_step_has_the_weights(way, smoothing, plain):
    """The validation loss is what NumPy says, and the training loss that of the plain steps."""
    run = weighted(smoothing, way)
    found = run.model.predict(DATA.validation.images, verbose=0)
    whole = (1 - smoothing) * np.eye(10)[DATA.validation.labels] + smoothing / 10
    weights = np.array([0, 5, 0.5, *[1] * 7])[DATA.validation.labels]
    losses = -(whole * np.log(found)).sum(axis=1)
    assert run.history["val_loss"][0] == pytest.approx(np.mean(weights * losses), rel=1e-3)
    assert run.history["loss"][0] == pytest.approx(plain(smoothing).history["loss"][0], rel=1e-3)
    evenly = -(whole * np.log(found)).sum(axis=1).mean()
    assert run.history["val_loss"][0] != pytest.approx(evenly, rel=1e-2)


def test_a_class_of_weight_0_teaches_nothing():
    """Whatever its pictures show, the bias of the last layer of other classes moves the same."""
    inputs = keras.Input((16, 16, 3))
    plain = keras.Model(
        inputs, keras.layers.Dense(10, "softmax")(keras.layers.GlobalAveragePooling2D()(inputs))
    )
    spoiled = DATA.train.images.copy()
    spoiled[DATA.train.labels == 3] = 255 - spoiled[DATA.train.labels == 3]
    recipe = replace(SHORT, normalize=None, weight_decay=None, epochs=1)
    found = {}
    for weights in (None, {3: 0}):
        for images in (DATA.train.images, spoiled):
            data = replace_train(images)
            options = dict(progress=False, class_weight=weights)
            from resnet_lib import training

            run = training.train(plain, data, recipe, **options)
            found.setdefault(str(weights), []).append(run.model.get_weights())
    assert not all(map(np.allclose, *found["None"]))
    assert all(map(np.allclose, *found["{3: 0}"]))


def replace_train(images):
    parts = Split(images, DATA.train.labels), DATA.validation, DATA.test
    return Dataset(*parts, DATA.class_names, DATA.source)


def test_weights_are_in_the_record_and_held_to_when_a_run_goes_on(tmp_path, unweighted):
    assert unweighted.record["class_weight"] is None
    run = train(tmp_path / "run", epochs=1, class_weight={"ring": 2})
    names = dict.fromkeys(DATA.class_names, 1.0)
    assert run.record["class_weight"] == names | {"ring": 2.0}
    with pytest.raises(ValueError, match=r"class_weight: then .*, now None"):
        train(tmp_path / "run", resume=True)
    assert train(tmp_path / "run", resume=True, epochs=2, class_weight={1: 2}).folder


# What the most frequent class is worth.


def test_the_most_frequent_class_of_each_part():
    found = baselines(of_labels([0, 1, 2], other=[2, 2, 2, 1, 0]))
    assert found["validation"] == found["test"] == {"class": "eel", "accuracy": 0.6}


RECORD = {
    "results": {
        "baselines": {"test": {"class": "cat", "accuracy": 0.5}},
        "test_accuracy_best": 0.59,
    },
    "dataset": {"sizes": [300, 100, 100]},
    "history": {"accuracy": [0.4, 0.55]},
}


def told(tuned=False, **changes):
    record = copy.deepcopy(RECORD)
    record["results"]["test_accuracy_best"] = changes.get("test", 0.59)
    record["history"]["accuracy"][-1] = changes.get("trained", 0.55)
    record["dataset"]["sizes"] = changes.get("sizes", [300, 100, 100])
    record["results"]["baselines"]["test"]["accuracy"] = changes.get("share", 0.5)
    return nothing_learnt(record, tuned=tuned)


def test_two_standard_errors_above_the_most_frequent_class_is_something():
    """Of 100 pictures, of which half are of one class, the standard error is 5 points."""
    assert told(test=0.61) is None
    assert "59.0% of 100 test pictures" in told(test=0.59)
    assert "50.0% would be if each were taken for cat" in told(test=0.59)
    assert told(test=0.59, sizes=[300, 100, 1000]) is None
    assert told(test=1, share=1) is None, "one class alone, in a test of one picture"


def test_the_advice_is_what_comes_next():
    assert "rl.finetune(data)" in told()
    assert "a lower rate" in told(tuned=True)
    assert "a lower rate" in told(sizes=[50_000, 100, 100])
    assert "by heart" in told(trained=0.99)
    assert "rl.finetune(data)" in told(trained=0.99)
    assert "head=1" in told(tuned=True, trained=0.99)


def test_a_whole_run_that_has_learnt_nothing_says_so(unweighted, recwarn):
    data = replace_train(
        np.random.default_rng(0).integers(0, 256, DATA.train.images.shape, np.uint8)
    )
    from resnet_lib import training

    recipe = replace(SHORT, epochs=1)
    with pytest.warns(UserWarning, match="Nothing was learnt") as found:
        run = training.train(net(), data, recipe)
    assert [each.filename for each in found if "learnt" in str(each.message)] == [__file__]
    results = run.record["results"]["baselines"]["test"]
    counts = np.bincount(DATA.test.labels)
    assert results == {
        "class": DATA.class_names[counts.argmax()],
        "accuracy": counts.max() / len(DATA.test),
    }
    recwarn.clear()
    training.train(net(), data, SHORT, epochs=1)
    training.train(net(), data, recipe, progress=False)
    found = [each for each in recwarn if "learnt" in str(each.message)]
    assert not found, "one is not over, the other is to say nothing"
