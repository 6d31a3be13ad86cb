"""Each builder in each form builds, weight for weight, what it built in 0.1.0."""

import json
from pathlib import Path

import keras
import pytest
from reference import described, networks

import resnet_lib as rl

BUILT = networks()
BEFORE = json.loads(Path(__file__).with_name("networks.json").read_text())


LARGE = {name for name in BUILT if name.startswith(("resnet50", "resnet101", "resnet152"))}
LARGE.remove("resnet50 applications")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in BUILT]
)
def test_names_weights_and_answers_are_those_of_before(name):
    found, before = described(BUILT[name]()), BEFORE[name]
    answers = found.pop("answers"), before["answers"]
    assert found == {key: before[key] for key in found}
    assert answers[0] == pytest.approx(answers[1], rel=1e-3, abs=1e-5)


def test_every_network_of_before_is_built():
    assert BUILT.keys() == BEFORE.keys()


def test_another_stride_and_another_skip_would_be_noticed(monkeypatch):
    name = "resnet14v1 example None"
    stack = rl.cifar.stack

    def strided(*args, **options):
        return stack(*args, **options | {"strides": 2})

    for room, changed in ((rl.cifar, ("stack", strided)), (rl.blocks.layers, ("Add", Maximum))):
        with monkeypatch.context() as patched:
            patched.setattr(room, *changed)
            found = described(BUILT[name]())
        assert found["layers"] != BEFORE[name]["layers"]
        assert found["answers"] != pytest.approx(BEFORE[name]["answers"], rel=1e-3, abs=1e-5)


class Maximum(keras.layers.Maximum):
    """In place of the sum."""


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


SOME = ("resnet14v1 paper None", "resnet20v2 example bottleneck A", "resnet18 paper")
SOME += ("resnet50 applications",)


@pytest.mark.parametrize("name", SOME)
def test_a_keras_json_with_channels_first_changes_nothing(name, channels_first):
    found, before = described(BUILT[name]()), BEFORE[name]
    assert (found["layers"], found["weights"]) == (before["layers"], before["weights"])
    assert found["answers"] == pytest.approx(before["answers"], rel=1e-3, abs=1e-5)
