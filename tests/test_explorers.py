"""What can be turned: figures of the values, numbers of live models, controls that follow."""

import ast
import importlib.util
import itertools
import random
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import resnet_lib as rl
from resnet_lib import explorers, plots, schedules

EXPLORERS = {
    name: getattr(explorers, name.upper())
    for name in ("networks", "blocks", "schedules", "signals")
}
each = pytest.mark.parametrize("name", EXPLORERS)


@pytest.fixture(autouse=True)
def without_environment(monkeypatch):
    monkeypatch.delenv("RESNET_LIB_WIDGETS", raising=False)


def shown(name, **first):
    pytest.importorskip("ipywidgets")
    return getattr(rl.explorers, name)(**first)


def png(figure):
    return figure._repr_mimebundle_()[0]["image/png"]


# Where there are no widgets


@each
def test_without_widgets_an_explorer_is_its_figure(name, monkeypatch):
    monkeypatch.setenv("RESNET_LIB_WIDGETS", "0")
    figure = getattr(rl.explorers, name)()
    assert isinstance(figure, plots.Figure)
    assert len(figure.alt) > 60
    assert png(figure) == png(EXPLORERS[name].draw())


def test_the_first_values_may_be_given(monkeypatch):
    monkeypatch.setenv("RESNET_LIB_WIDGETS", "0")
    count = rl.count_parameters(rl.resnet_v1((32, 32, 3), 8, form="paper")).trainable
    figure = rl.explorers.networks(depth=8, form="paper")
    assert figure.alt.startswith(f"ResNet8v1, form paper: {count:,} trainable parameters")


def test_without_ipywidgets_an_explorer_is_its_figure(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert isinstance(rl.explorers.blocks(), plots.Figure)


@pytest.mark.parametrize("value", ["", "1"])
def test_with_widgets_there_are_controls(monkeypatch, value):
    monkeypatch.setenv("RESNET_LIB_WIDGETS", value)
    assert shown("blocks").controls


@pytest.mark.parametrize("value", ["yes", "2", "off"])
def test_another_value_in_the_environment_is_refused(monkeypatch, value):
    monkeypatch.setenv("RESNET_LIB_WIDGETS", value)
    expected = f"Expected `RESNET_LIB_WIDGETS` to be one of '0', '1'. Received: '{value}'"
    with pytest.raises(ValueError, match=re.escape(expected)):
        rl.explorers.blocks()


def test_ipywidgets_is_imported_when_it_is_needed():
    for path in Path(rl.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [ast.unparse(node) for node in tree.body if "import" in ast.unparse(node)[:40]]
        assert not any("ipywidgets" in name.splitlines()[0] for name in names), path


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (dict(deph=20), "Expected `argument` to be one of 'kind', 'depth'"),
        (dict(depth=21), "Expected `depth` to be one of 8, 14, 20"),
        (dict(kind="v2 bottleneck", depth=14), "Expected `depth` to be one of 11, 20"),
        (dict(kind="v2 basic", form="standard"), "Expected `form` to be one of 'example', 'paper'"),
    ],
)
@pytest.mark.parametrize("widgets", ["0", "1"])
def test_a_wrong_first_value_is_refused(monkeypatch, widgets, first, expected):
    monkeypatch.setenv("RESNET_LIB_WIDGETS", widgets)
    with pytest.raises(ValueError, match=expected):
        rl.explorers.networks(**first)


# The figures and the numbers are those of live models.


@each
def test_a_figure_depends_on_its_values_alone(name, monkeypatch):
    monkeypatch.setenv("RESNET_LIB_WIDGETS", "0")
    first = png(EXPLORERS[name].draw())
    explorers._measured.cache_clear()
    explorers._network.cache_clear()
    explorers._block.cache_clear()
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("mixed_float16")
    state = random.getstate()
    try:
        assert png(EXPLORERS[name].draw()) == first
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert random.getstate() == state


def combinations(explorer, **some):
    """Yield all that can be chosen, of some controls only what is given."""
    found = [{}]
    for name, control in explorer.controls.items():
        found = [
            {**values, name: option}
            for values in found
            for option in control.options(values)
            if option in some.get(name, (option,))
        ]
    return found


def test_every_network_that_can_be_chosen_is_there():
    chosen = combinations(explorers.NETWORKS, depth=(8, 11))
    assert len(chosen) == 3 * 4 + 3 + 2 * 4 + 2 * 4
    names = {explorers.tell_networks(**values)["network"] for values in chosen}
    assert names == {
        "ResNet8v1: 6 x 1 + 2 = 8 layers with weights",
        "Plain8: 6 x 1 + 2 = 8 layers with weights",
        "ResNet8v2: 6 x 1 + 2 = 8 layers with weights",
        "ResNet11v2: 9 x 1 + 2 = 11 layers with weights",
    }


def test_the_depths_are_those_of_the_builders():
    depths = explorers.NETWORKS.controls["depth"].options
    assert list(depths({"kind": "plain"})) == list(range(8, 111, 6))
    assert list(depths({"kind": "v2 bottleneck"})) == list(range(11, 111, 9))


@pytest.mark.parametrize("depth", [20, 32, 56])
def test_the_papers_networks_have_the_papers_numbers(depth):
    told = explorers.tell_networks("v1", depth, "paper", explorers.FORM)
    total = int(told["parameters"].split(":")[0].replace(",", ""))
    trainable = int(re.search(r"([\d,]+) trainable", told["parameters"])[1].replace(",", ""))
    assert trainable / 1e6 == pytest.approx(rl.paper.TABLE_6.row(depth).parameters, abs=0.005)
    kinds = re.findall(r"([\d,]+)(?:;|$)", told["of these"])
    assert sum(int(kind.replace(",", "")) for kind in kinds) == total


def test_the_numbers_of_a_network_are_the_models():
    model = rl.resnet_v2((32, 32, 3), 11, form="paper", shortcut="C")
    told = explorers.tell_networks("v2 bottleneck", 11, "paper", "C")
    assert told["parameters"].startswith(f"{rl.count_parameters(model).total:,}: ")
    assert told["multiply-adds"].startswith(f"{rl.count_multiply_adds(model):,} ")
    assert told["feature maps"] == "; ".join(map(str, rl.feature_maps(model)))
    figure = explorers.draw_networks("v2 bottleneck", 11, "paper", "C")
    assert f"{rl.count_multiply_adds(model):,} multiply-adds" in figure.alt


def test_every_kind_of_block_that_can_be_chosen_can_be_built():
    chosen = combinations(explorers.BLOCKS, channels=(64,), filters=(16, 64))
    assert {values["kind"] for values in chosen} == set(explorers.BLOCK_KINDS)
    assert all(explorers._block(**v).output.shape for v in chosen if v["filters"] == 16)
    narrowing = [v for v in chosen if v["channels"] > v["filters"] and v["kind"] == "basic"]
    assert {values["shortcut"] for values in narrowing} == {"B", "C"}
    wide = [v for v in chosen if v["kind"] == "bottleneck"]
    assert all(any(v["shortcut"] == letter for v in wide) for letter in "ABC")


@pytest.mark.parametrize(
    ("values", "skip"),
    [
        (("basic", 16, 16, 1, "B"), "identity"),
        (("basic", 16, 32, 2, "A"), "identity, every second pixel, padded with zeros"),
        (("basic", 16, 16, 2, "A"), "identity, every second pixel"),
        (("basic", 16, 32, 1, "A"), "identity, padded with zeros"),
        (("basic", 16, 32, 2, "B"), "projection: a convolution of 1x1"),
        (("pre-activation", 16, 16, 1, "C"), "projection: a convolution of 1x1"),
        (("pre-activation bottleneck", 64, 16, 1, "B"), "identity"),
        (("plain", 16, 32, 2, "none"), "none"),
    ],
)
def test_what_the_skip_does_is_said(values, skip):
    assert explorers.tell_blocks(*values)["skip"] == skip


def test_the_numbers_of_a_block_by_hand():
    told = explorers.tell_blocks("basic", 16, 32, 2, "B")
    branch, skip = 16 * 32 * 9 + 32 * 32 * 9 + 2 * 2 * 32, 16 * 32 + 2 * 32
    assert told["shapes"] == "32x32x16 to 16x16x32"
    assert told["trainable parameters"] == f"{branch + skip:,}: branch {branch:,}, skip {skip}"
    branch, skip = 256 * (16 * 32 * 9 + 32 * 32 * 9), 256 * 16 * 32
    assert told["multiply-adds"] == f"{branch + skip:,}: branch {branch:,}, skip {skip:,}"
    assert explorers.tell_blocks("bottleneck", 64, 16, 1, "B")["shapes"] == "32x32x64 to 32x32x64"


def lines(figure):
    return {
        line.get_label().split(" (")[0]: line.get_xydata().T for line in figure.axes[0].get_lines()
    }


def test_schedules_as_published_are_cut_where_the_run_ends():
    drawn = lines(explorers.draw_schedules(epochs=100, scale=explorers.SCALES[1]))
    places, rates = drawn["example"]
    assert places.max() < 100
    assert rates == pytest.approx([schedules.example(int(place)) for place in places])
    places, rates = drawn["paper"]
    steps = [schedules.paper(place * 64_000 / 182) for place in places]
    assert np.mean(np.isclose(rates, steps)) > 0.99
    places, rates = drawn["one-cycle"]
    assert rates.max() == pytest.approx(0.3, rel=0.01)
    assert places[rates.argmax()] == pytest.approx(25, abs=0.2)
    assert rates[-1] < 0.001


def test_schedules_fitted_to_the_run_end_with_it():
    for epochs in (60, 200):
        drawn = lines(explorers.draw_schedules(epochs, fitted=True))
        assert [rates.max() for _, rates in drawn.values()] == pytest.approx([1, 1, 1])
        assert drawn["example"][1][-1] == pytest.approx(5e-4)
        assert drawn["paper"][1][-1] == pytest.approx(0.01)
        assert drawn["one-cycle"][1][-1] < 0.01


def test_shares_are_of_the_published_rates():
    for name, largest in explorers.LARGEST.items():
        rates = map(rl.recipes.named(name).learning_rate, range(15))
        assert max(rates) == pytest.approx(largest, rel=0.03)
    ax = explorers.draw_schedules(peak=0.6).axes[0]
    assert lines(ax.figure)["one-cycle"][1].max() == pytest.approx(2)
    assert ax.get_ylim()[1] > 2


def test_an_example_stopped_early_never_falls():
    rest = dict(fitted=False, peak=0.3, warmup=0.25, anneal="linear", scale="")
    assert explorers.tell_schedules(60, **rest)["example"].endswith("; never falls")
    assert explorers.tell_schedules(100, **rest)["example"].endswith("; falls from epoch 81 on")
    with pytest.raises(ValueError, match="Expected `scale` to be one of"):
        explorers.draw_schedules(scale="log")


def test_every_schedule_that_can_be_chosen_can_be_drawn():
    ends = dict(epochs=(5, 200), peak=(0.05, 1.0), warmup=(0.05, 1.0))
    for values in combinations(explorers.SCHEDULES, **ends):
        told = explorers.tell_schedules(**values)
        assert set(told) == {"example", "paper", "one-cycle"}
        assert f"at most {values['peak']:.2g}," in told["one-cycle"]


# Signals before training, measured live: what notebook 1 measures in deeper networks.


def measured(depth=20, batch_norm=True, skip=True, zero_gamma=False):
    return explorers._measured(depth, batch_norm, skip, zero_gamma)


def test_every_signal_that_can_be_chosen_can_be_measured():
    chosen = combinations(explorers.SIGNALS, depth=(4,))
    assert len(chosen) == 5
    for values in chosen:
        variances, gradients = measured(**values)
        assert (len(variances), len(gradients)) == (2, 4)
        assert np.isfinite(variances).all() and np.isfinite(gradients).all()


def test_without_normalisation_the_signal_fades_or_grows():
    plain, residual = (measured(batch_norm=False, skip=skip)[0] for skip in (False, True))
    assert plain[-1] < plain[0] / 10
    assert residual[-1] > residual[0] * 100


def test_with_normalisation_a_skip_adds_and_no_skip_keeps():
    plain, residual = (measured(skip=skip)[0] for skip in (False, True))
    assert plain.max() < 1.5 * plain.min()
    assert residual[-1] > 5 * residual[0]
    assert np.diff(residual).max() < 1


def test_with_a_zero_gamma_each_block_is_the_identity():
    variances, gradients = measured(zero_gamma=True)
    assert variances == pytest.approx(variances[0])
    assert not gradients[1:-1].any() and gradients[0] > 0 and gradients[-1] > 0


def test_all_signals_lie_within_the_fixed_scale():
    low, high = explorers.LIMITS
    for values in combinations(explorers.SIGNALS, depth=(4, 20)):
        for numbers in measured(**values):
            assert ((numbers == 0) | (numbers > low) & (numbers < high)).all(), values


def test_the_chosen_network_is_drawn_beside_one_to_compare_with():
    assert len(explorers.draw_signals().axes[0].get_lines()) == 1
    left, right = explorers.draw_signals(depth=10, zero_gamma=True).axes
    assert [len(line.get_xdata()) for line in left.get_lines()] == [10, 5]
    assert [len(line.get_xdata()) for line in right.get_lines()] == [20, 10]
    assert (left.get_title(), right.get_title()) == ("", "on the lower edge: exactly 0")
    told = explorers.tell_signals(10, True, True, True)
    assert told["norm of the gradient"].endswith(", 0 at the last convolution")


# The controls


def rows(explorer):
    """Return the table below an explorer's picture."""
    cells = re.findall(r"<th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", explorer.output.value)
    return dict(cells)


TURNS = {
    "networks": ("depth", 26, "parameters", "372,330"),
    "blocks": ("filters", 32, "trainable parameters", "14,528"),
    "schedules": ("epochs", 60, "example", "never falls"),
    "signals": ("depth", 4, "network", "4 layers"),
}


@each
def test_a_turn_changes_picture_and_numbers(name):
    explorer = shown(name)
    control, value, row, expected = TURNS[name]
    before, picture = rows(explorer), explorer.output.value
    assert expected not in before[row]
    explorer.controls[control].value = value
    assert expected in rows(explorer)[row]
    assert explorer.output.value.count("<img") == 1
    assert re.search(r'base64,(\S+)"', explorer.output.value)[1] not in picture
    assert explorer.values[control] == value


@each
def test_controls_are_labelled_and_turn_when_they_are_let_go(name):
    explorer = shown(name)
    labels = [widget.description for widget in explorer.controls.values()]
    assert all(labels) and len(set(labels)) == len(labels)
    sliders = [w for w in explorer.controls.values() if hasattr(w, "continuous_update")]
    assert sliders and not any(slider.continuous_update for slider in sliders)


@each
def test_the_picture_has_its_alt_text_and_each_number_its_name(name):
    explorer = shown(name)
    alt = re.search(r'<img [^>]* alt="([^"]+)"', explorer.output.value)[1]
    assert alt == explorer.figure.alt.replace("'", "&#x27;")
    assert rows(explorer) == EXPLORERS[name].tell(**explorer.values)


@each
def test_a_saved_notebook_keeps_the_first_picture(name):
    explorer = shown(name)
    data, metadata = explorer._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert data["image/png"] == png(EXPLORERS[name].draw())
    assert metadata["image/png"]["alt"] == data["text/plain"].removeprefix("Figure: ")


@each
def test_every_slider_has_equal_steps(name):
    explorer = EXPLORERS[name]
    for values in (explorer.first({}), *itertools.islice(combinations_of_first(explorer), 8)):
        for control in explorer.controls.values():
            if control.slider:
                steps = np.diff(control.options(values))
                assert steps == pytest.approx(steps[0])


def combinations_of_first(explorer):
    """Yield the first values with each option of the first control."""
    name, control = next(iter(explorer.controls.items()))
    for option in control.options({}):
        yield explorer.first({name: option})


def test_a_depth_that_is_none_cannot_be_chosen():
    explorer = shown("networks")
    depth = explorer.controls["depth"]
    depth.value = 28  # Typed beside the slider.
    assert depth.value == 26
    assert rows(explorer)["network"].startswith("ResNet26v1")
    explorer.controls["kind"].value = "v2 bottleneck"
    assert (depth.min, depth.step, depth.value) == (11, 9, 29)
    assert rows(explorer)["network"].startswith("ResNet29v2")


def test_controls_offer_what_goes_with_the_others():
    explorer = shown("networks", form="standard")
    form, shortcut = explorer.controls["form"], explorer.controls["shortcut"]
    explorer.controls["kind"].value = "plain"
    assert (form.value, shortcut.value, shortcut.disabled) == ("standard", "none", True)
    explorer.controls["kind"].value = "v2 basic"
    assert (form.options, form.value) == (("example", "paper"), "example")
    assert (shortcut.value, shortcut.disabled) == (explorers.FORM, False)


def test_a_zero_gamma_needs_normalisation_and_a_skip():
    explorer = shown("signals", depth=4, zero_gamma=True)
    zero_gamma = explorer.controls["zero_gamma"]
    assert zero_gamma.value and not zero_gamma.disabled
    explorer.controls["skip"].value = False
    assert not zero_gamma.value and zero_gamma.disabled
    explorer.controls["skip"].value = True
    assert not zero_gamma.disabled


def test_a_block_cannot_lose_channels_by_shortcut_a():
    explorer = shown("blocks", filters=32, shortcut="A")
    explorer.controls["channels"].value = 64
    assert explorer.controls["shortcut"].options == ("B", "C")
    assert explorer.values["shortcut"] == "B"
    explorer.controls["kind"].value = "bottleneck"
    assert explorer.controls["shortcut"].options == ("A", "B", "C")
