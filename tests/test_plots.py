"""Figures: returned once, with alt text, and showing what the live object is."""

import base64
import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from resnet_lib import cifar, inspection, plots, recipes, records, schedules

import keras  # isort: skip


def a_run(epochs=3):
    metrics = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "cpu_seconds")
    history = {name: [0.5 / (epoch + 1) for epoch in range(epochs)] for name in metrics}
    record = {"model": {"name": "ResNet8v1"}, "dataset": {"source": "ten shapes"}}
    return records.Run(record | {"history": history})


MODEL = cifar.resnet_v1((32, 32, 3), 8)
SMALLER = cifar.resnet_v1((8, 8, 3), 8)
IMAGES = np.random.default_rng(0).random((4, 32, 32, 3), "float32")


def gradients():
    return inspection.gradient_norms(MODEL, IMAGES, np.arange(4))


def test_over_time_adds_the_seconds_up():
    run = a_run()
    run.history["val_accuracy"][0] = None
    line = plots.over_time({"one": run}).axes[1].lines[0]
    seconds = 0.5 + 0.25 + 0.5 / 3
    assert line.get_xdata()[-1] == pytest.approx(seconds / 60)
    np.testing.assert_allclose(line.get_ydata(), [np.nan, 0.25, 0.5 / 3])


def test_over_time_takes_a_logarithmic_rate_where_rates_lie_far_apart():
    small, other = a_run(), a_run()
    small.history["learning_rate"] = [rate / 10 for rate in small.history["learning_rate"]]
    for runs, scale in (((small, small), "linear"), ((small, other), "log"), ((other,), "linear")):
        rates = plots.over_time(dict(enumerate(runs))).axes[2]
        assert rates.get_yscale() == scale


def test_over_time_shows_a_run_that_was_stopped_in_its_first_epoch():
    assert len(plots.over_time({"stopped": a_run(0), "whole": a_run()}).axes) == 3
    assert len(plots.over_time({"stopped": a_run(0)}).axes) == 3


def test_speed_up_has_axes_for_each_way_and_says_where_its_lines_are_highest():
    figure = plots.speed_up([1, 2, 4], {"a": {"x": [1, 2, 3]}, "b": {"x": [1, 1.5, 0.5]}})
    for axes, expected in zip(figure.axes, ([1, 2, 3], [1, 1.5, 0.5]), strict=True):
        perfect, line = axes.lines
        np.testing.assert_array_equal(perfect.get_ydata(), [1, 2, 4])
        np.testing.assert_array_equal(line.get_ydata(), expected)
    assert "a: at most x 3 times with 4. b: at most x 1.5 times with 2." in figure.alt


def test_a_confusion_matrix_needs_as_many_names():
    with pytest.raises(ValueError, match=r"3\. Received: counts of shape \(2, 2\)"):
        plots.confusion([[3, 0], [1, 0]], ["cat", "dog", "bird"])


FIGURES = {
    "loss": lambda: plots.loss(a_run()),
    "learning rate of a run": lambda: plots.learning_rate(a_run()),
    "learning rate of a recipe": lambda: plots.learning_rate(recipes.EXAMPLE),
    "learning rate of a schedule": lambda: plots.learning_rate(schedules.example),
    "feature maps": lambda: plots.feature_maps(MODEL),
    "feature maps of two": lambda: plots.feature_maps([MODEL, SMALLER]),
    "block": lambda: plots.block(MODEL, "stage2_block1"),
    "network": lambda: plots.block(MODEL),
    "blocks": lambda: plots.block([(MODEL, "stage1_block1"), (MODEL, "stage2_block1")]),
    "gradient norm": lambda: plots.gradient_norm(MODEL, IMAGES, np.arange(4)),
    "signals": lambda: plots.signals({"a": gradients(), "b": gradients()}, title="two"),
    "curves": lambda: plots.curves({"a": [1, 2], "b": [2, 1]}, ylabel="loss", log=True),
    "speed up": lambda: plots.speed_up([1, 2], {"a way": {"a": [1, 2], "b": [1, 1.5]}}),
    "over time": lambda: plots.over_time({"one": a_run(), "two": a_run(5)}, title="two"),
    "confusion": lambda: plots.confusion([[3, 0], [1, 0]], ["cat", "dog"], title="two"),
    "images": lambda: plots.images(IMAGES, list("abcd"), columns=3, alt="Four noise pictures."),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_figure_is_a_png_with_alt_text(draw):
    data, metadata = draw()._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert min(picture.size) > 100
    assert np.asarray(picture.convert("L")).std() > 3, "an empty picture"
    alt = metadata["image/png"]["alt"]
    assert alt.endswith(".")
    assert data["text/plain"] == f"Figure: {alt}"


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_figure_is_not_pyplots(draw):
    from matplotlib import pyplot

    draw()
    assert pyplot.get_fignums() == [], "pyplot would show the figure a second time"


def test_the_readers_style_stays_and_does_not_leak_in():
    import matplotlib

    with matplotlib.rc_context({"axes.spines.top": True, "font.size": 30}):
        fig = plots.loss(a_run())
        assert matplotlib.rcParams["font.size"] == 30
    assert not fig.axes[0].spines["top"].get_visible()


def test_the_picture_is_the_same_whatever_the_readers_style():
    import matplotlib

    def png():
        return plots.curves({8: [1, 2], 20: [2, 1]}, ylabel="y")._repr_mimebundle_()[0]

    plain = png()
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 200, "axes.facecolor": "black"}):
        assert png() == plain


def test_a_single_epoch_is_a_dot_over_a_whole_number():
    fig = plots.loss(a_run(epochs=1))
    assert all(tick == round(tick) for tick in fig.axes[0].get_xticks())
    [line] = plots.learning_rate(a_run(epochs=1)).axes[0].get_lines()
    assert line.get_marker() == "."


ODD = ["$5 or $6", r"\\$x$", r"$\frac$", "$", "_hidden"]


def odd_run(name):
    run = a_run()
    run.record["model"] = {"name": name}
    run.record["dataset"] = {"source": name}
    return run


WITH_TEXTS = {
    "loss": lambda text: plots.loss(odd_run(text)),
    "progress": lambda text: plots.progress(
        a_run().history, recipes.ONE_CYCLE, 3, name=text, title=text
    ),
    "curves": lambda text: plots.curves({text: [1, 2]}, ylabel=text, xlabel=text, title=text),
    "signals": lambda text: plots.signals({text: gradients()}, title=text),
    "feature maps": lambda text: plots.feature_maps(odd_model(text)),
    "block": lambda text: plots.block({text: (MODEL, "stage1_block1"), "b": odd_model(text)}),
    "network": lambda text: plots.block({text: MODEL}),
    "speed up": lambda text: plots.speed_up([1, 2], {text: {text: [1, 2]}}),
    "over time": lambda text: plots.over_time({text: a_run()}, title=text),
    "confusion": lambda text: plots.confusion([[3, 0], [1, 0]], [text, "dog"], title=text),
    "images": lambda text: plots.images(IMAGES, [text] * 4, alt="Noise."),
}


def odd_model(name):
    """A model of an odd name; Keras takes any but for a slash."""
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs), name=name)


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("draw", WITH_TEXTS.values(), ids=WITH_TEXTS)
def test_a_readers_text_is_drawn_letter_by_letter(draw, text):
    """matplotlib takes $…$ for a formula, and leaves names with an underscore out of legends."""
    fig = draw(text)
    fig._repr_mimebundle_()
    drawn = [each.get_text() for each in fig.findobj(matplotlib.text.Text)]
    found = [each for each in drawn if text in each.replace(r"\$", "$")]
    assert found
    assert not any(matplotlib.cbook.is_math_text(each) for each in found)
    for ax in fig.axes:
        labels = [line.get_label() for line in ax.get_lines()]
        if ax.get_legend():
            assert [each.get_text() for each in ax.get_legend().get_texts()] == labels


def test_nothing_to_draw_is_an_error():
    for draw in (lambda: plots.curves({}, ylabel="y"), lambda: plots.signals({})):
        with pytest.raises(ValueError, match="something to draw"):
            draw()
    with pytest.raises(ValueError, match="1 titles, 4 pictures"):
        plots.images(IMAGES, ["a"], alt="Noise.")


def test_the_loss_figure_names_its_images_and_draws_the_run():
    fig = plots.loss(a_run())
    assert "ten shapes" in fig.get_suptitle()
    lines = [line.get_ydata() for ax in fig.axes for line in ax.get_lines()]
    run = a_run().history
    metrics = ("loss", "val_loss", "accuracy", "val_accuracy")
    for line, metric in zip(lines, metrics, strict=True):
        np.testing.assert_allclose(line, run[metric])


def test_a_spike_of_the_validation_loss_hides_nothing():
    run = a_run()
    run.history["loss"], run.history["val_loss"] = [2.0, 1.0, 0.5], [38.2, 1.2, None]
    axis, _ = plots.loss(run).axes
    assert axis.get_ylim() == (0, 4)
    assert [(text.get_text(), text.xy) for text in axis.texts] == [("↑ 38.2", (1, 4))]


@pytest.mark.parametrize(
    ("training", "validation"),
    [([2.0, 1.0], [3.0, 1.0]), ([40.0, 1.0], [38.0, 1.0]), ([], []), ([None], [9.0])],
)
def test_where_there_is_no_spike_the_axis_stays(training, validation):
    _, axis = plots.figure("an axis")
    axis.set_ylim(0, 50)
    plots.keep_in_sight(axis, training, validation)
    assert (axis.get_ylim(), len(axis.texts)) == ((0, 50), 0)


def test_boxes_are_to_scale_and_from_the_live_model():
    fig = plots.feature_maps(MODEL)
    fronts = [patch.get_xy() for patch in fig.axes[0].patches[::3]]
    sides = [np.ptp(front, axis=0) for front in fronts]
    np.testing.assert_allclose(sides, [(16, 32), (16, 32), (32, 16), (64, 8)])
    assert "8x8x64" in fig.alt


def test_boxes_that_would_be_too_long_are_shortened_and_say_so():
    fig = plots.feature_maps(cifar.resnet_v2((32, 32, 3), 11))
    assert "channels shortened 2 times" in fig.axes[0].get_title()


def test_boxes_of_several_models_are_to_one_scale():
    fig = plots.feature_maps({"large": MODEL, "small": SMALLER})
    large, small = fig.axes
    fig.draw_without_rendering()
    assert large.get_xlim() == small.get_xlim() and large.get_ylim() == small.get_ylim()
    assert large.get_window_extent().width == pytest.approx(small.get_window_extent().width)
    sides = [np.ptp(ax.patches[-3].get_xy(), axis=0) for ax in fig.axes]
    np.testing.assert_allclose(sides, [(64, 8), (64, 2)])
    assert "small as boxes" in fig.alt and "2x2x64" in fig.alt and "one scale" in fig.alt


def test_boxes_of_several_models_are_shortened_alike():
    fig = plots.feature_maps([cifar.resnet_v2((32, 32, 3), 11), SMALLER])
    assert all("shortened 2 times" in ax.get_title() for ax in fig.axes)
    assert np.ptp(fig.axes[1].patches[-3].get_xy(), axis=0)[0] == 32


def written_in(fig):
    return [text.get_text() for text in fig.findobj(matplotlib.text.Text) if text.get_text()]


def test_a_block_is_drawn_from_the_live_model():
    fig = plots.block(MODEL, "stage2_block1")
    found = written_in(fig)
    for label in ("conv 3x3, 32, /2", "conv 3x3, 32", "conv 1x1, 32, /2", "BN", "ReLU", "+"):
        assert label in found
    assert "ResNet8v1, stage2_block1" in found
    assert fig.alt.startswith("Block stage2_block1, 32x32x16 to 16x16x32: 3x3 convolution")
    assert fig.get_size_inches()[0] < 4


def by_hand(name=None):
    inputs = keras.Input((8, 8, 4))
    return keras.Model(
        inputs, keras.layers.Conv2D(4, 3, padding="same")(inputs) + inputs, name=name
    )


def test_titles_are_the_readers_the_models_or_the_kind():
    fig = plots.block({"mine": by_hand(), 2: (MODEL, "stage1_block1")})
    assert {"mine", "2"} <= set(written_in(fig))
    assert "Block mine, 8x8x4" in fig.alt and "Block 2, 32x32x16" in fig.alt
    assert "mine" in written_in(plots.block(by_hand("mine")))
    fig = plots.block(by_hand())  # Keras counts the models it has named: no number in the text.
    assert "identity block" in written_in(fig)
    assert fig.alt.startswith("Identity block, 8x8x4")


def test_a_list_is_side_by_side_and_may_share_a_name():
    one, other = MODEL, cifar.plain_net((32, 32, 3), 8)
    fig = plots.block([one, other], "stage1_block1")
    assert "Block ResNet8v1, stage1_block1," in fig.alt and "no skip" in fig.alt
    width = plots.block(one, "stage1_block1").get_size_inches()[0]
    assert fig.get_size_inches()[0] > width
    with pytest.raises(ValueError, match="a model to draw"):
        plots.block([])
    with pytest.raises(ValueError, match="a model to draw"):
        plots.feature_maps([])


def test_texts_of_a_block_are_drawn_at_their_size():
    """The figure's unit is an inch, so that points are points and boxes fit their texts."""
    fig = plots.block(MODEL, "stage2_block1")
    [ax] = fig.axes
    fig.draw_without_rendering()
    width, height = fig.get_size_inches()
    assert ax.get_window_extent().width == pytest.approx(width * fig.dpi)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, width), (height, 0))
    assert min(text.get_fontsize() for text in ax.texts) >= 8


def test_sizes_are_needed_for_boxes():
    model = cifar.resnet_v1((None, None, 3), 8)
    with pytest.raises(ValueError, match="input_shape"):
        plots.feature_maps(model)
    assert "6x6x64" in plots.feature_maps(model, (24, 24, 3)).alt


def test_an_alt_text_is_demanded():
    with pytest.raises(ValueError, match="alt text"):
        plots.figure(" ")


def test_neighbouring_colours_differ_in_lightness_or_line():
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in plots.COLOURS])
    assert len(np.unique(rgb, axis=0)) == len(plots.COLOURS)
    fig = plots.curves({"a": [1], "b": [2]}, ylabel="y")
    a, b = fig.axes[0].get_lines()
    assert a.get_linestyle() != b.get_linestyle()
