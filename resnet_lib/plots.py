"""Figures, one function each. Each returns a `Figure` that carries its alt text.

The figures are not pyplot's: a notebook shows one where it stands as the last line of a cell, and
only there. `figure.savefig("name.png")` writes it to a file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from matplotlib.patches import Polygon

from . import diagrams, graphs
from .certainty import familiarity as familiarity
from .certainty import reliability as reliability
from .figures import (
    COLOURS,
    LINES,
    Figure,
    dot,
    figure,
    keep_in_sight,
    label_axes,
    listed,
    logarithmic,
    plain,
    styled,
)
from .figures import STYLE as STYLE
from .figures import progress as progress
from .inspection import Signal
from .inspection import feature_maps as stage_maps
from .verdicts import by_block as by_block
from .verdicts import confusion as confusion
from .verdicts import maps as maps
from .verdicts import mistakes as mistakes


@styled
def loss(run: Any) -> Figure:
    """Draw loss and accuracy by epoch, training and validation.

    Args:
        run: `resnet_lib.records.Run`.

    Returns:
        Figure with two axes. Its title names the images that the numbers are for. The axis of the
        loss ends at twice the largest training loss; validation losses beyond stand there in words.
    """
    epochs = np.arange(1, len(run.history["loss"]) + 1)
    name = run.record["model"]["name"]
    fig, axes = figure(
        f"Two line plots by epoch for {name}: on the left the loss, on the right the accuracy, "
        f"each for training and validation, over {len(epochs)} epochs.",
        columns=2,
        size=(8, 3.2),
    )
    for ax, key in zip(axes, ("loss", "accuracy"), strict=True):
        for metric, label, colour, line in (
            (key, "training", COLOURS[0], "-"),
            (f"val_{key}", "validation", COLOURS[1], "--"),
        ):
            ax.plot(epochs, run.history[metric], line, color=colour, marker=".", label=label)
        label_axes(ax, "epoch", key)
    keep_in_sight(axes[0], run.history["loss"], run.history["val_loss"])
    axes[1].set_ylim(0, 1)
    axes[0].legend()
    fig.suptitle(plain(f"{name}, {run.source}"), fontsize=10)
    return fig


@styled
def learning_rate(schedule: Any, epochs: int | None = None) -> Figure:
    """Draw a learning-rate schedule, or the rates that a run had.

    Args:
        schedule: `resnet_lib.records.Run`, a `Recipe`, or a function of the zero-based epoch.
        epochs: how many epochs to draw; without it, a recipe's own number, or 200. Of a run, all
            are drawn; of a recipe that changes the rate at each step, no more than it has.

    Returns:
        Figure. Its vertical axis is logarithmic, but for such a recipe.
    """
    if hasattr(schedule, "history"):
        rates = schedule.history["learning_rate"]
    elif getattr(schedule, "by_step", False):
        return _rate_by_step(schedule, min(epochs or schedule.epochs, schedule.epochs))
    else:
        function = getattr(schedule, "learning_rate", schedule)
        epochs = epochs or getattr(schedule, "epochs", 200)
        rates = [function(epoch) for epoch in range(epochs)]
    fig, ax = figure(
        f"A step plot of the learning rate over {len(rates)} epochs, on a logarithmic scale, "
        f"from {rates[0]:g} to {rates[-1]:g}.",
        size=(6, 2.6),
    )
    ax.step(np.arange(1, len(rates) + 1), rates, where="mid", marker=dot(rates))
    logarithmic(ax)
    label_axes(ax, "epoch", "learning rate")
    return fig


def _rate_by_step(recipe, epochs):
    """Draw the rate of a recipe that changes it from step to step."""
    places = np.linspace(0, epochs, 1000, endpoint=False)
    rates = [recipe.learning_rate(place) for place in places]
    fig, ax = figure(
        f"A line plot of the learning rate over {epochs} epochs, up to {max(rates):g}.",
        size=(6, 2.6),
    )
    ax.plot(places, rates)
    label_axes(ax, "epochs done", "learning rate")
    return fig


@styled
def curves(
    series: Mapping[Any, Sequence[float]],
    *,
    ylabel: str,
    xlabel: str = "epoch",
    log: bool = False,
    title: str = "",
    first: int = 1,
) -> Figure:
    """Draw several lines that share their axes, told apart by colour and by dash.

    Args:
        series: dict, label -> numbers, one a step.
        ylabel: what the numbers are.
        xlabel: what the steps are.
        log: whether the vertical axis is logarithmic.
        title: a line over the figure, such as the source of the images.
        first: number of the first step.

    Returns:
        Figure with one axis.
    """
    fig, ax = figure(f"A line plot of {ylabel} by {xlabel} for {listed(series)}.", size=(6.5, 3.2))
    for number, (label, values) in enumerate(series.items()):
        line = LINES[(number // len(COLOURS) + number % 2) % len(LINES)]
        steps = np.arange(len(values)) + first
        ax.plot(steps, values, line, marker=dot(values), label=plain(label))
    if log:
        logarithmic(ax)
    label_axes(ax, xlabel, ylabel)
    ax.legend()
    ax.set_title(plain(title), fontsize=10)
    return fig


@styled
def signals(measured: Mapping[Any, Signal], *, log: bool = True, title: str = "") -> Figure:
    """Draw what `gradient_norms` or `activation_variances` measured, by depth.

    Args:
        measured: dict, label -> `resnet_lib.inspection.Signal`; all of one kind.
        log: whether the vertical axis is logarithmic.
        title: a line over the figure.

    Returns:
        Figure with one axis. Horizontally, 0 is the first layer measured and 1 the last, so that
        networks of different depth can be compared.
    """
    labels = listed(measured)
    what = next(iter(measured.values())).what
    fig, ax = figure(
        f"A line plot of the {what} from the first layer to the last for {labels}.",
        size=(6.5, 3.2),
    )
    for number, (label, signal) in enumerate(measured.items()):
        depth, line = np.linspace(0, 1, len(signal)), LINES[number % 2]
        ax.plot(depth, signal.values, line, marker=dot(signal), label=plain(label))
    if log:
        logarithmic(ax)
    label_axes(ax, "depth, from the first layer (0) to the last (1)", what, whole=False)
    ax.legend()
    ax.set_title(plain(title), fontsize=10)
    return fig


def gradient_norm(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> Figure:
    """Draw the norm of the gradient at each layer of a model, by depth.

    Args:
        model: as in `resnet_lib.gradient_norms`.
        images: array of shape (batch, height, width, channels).
        labels: int array of shape (batch,).

    Returns:
        Figure with one logarithmic axis.
    """
    from .inspection import gradient_norms

    return signals({model.name: gradient_norms(model, images, labels)})


@styled
def feature_maps(
    model: keras.Model | Mapping[Any, keras.Model] | Sequence[keras.Model],
    input_shape: tuple[int, int, int] | None = None,
) -> Figure:
    """Draw the feature map that each stage outputs as a box, to scale.

    Height goes up and channels go to the right, to one scale; width goes back, foreshortened.

    Args:
        model: a Keras functional model; or several, one below the other and all to one scale: a
            list, or a dict, title -> model.
        input_shape: (height, width, channels) to take in place of the model's own; needed where
            that has None.

    Returns:
        Figure, with an axis for each model. One pixel of height is as long as one channel; where
        the channels would make the boxes unreadably long, the title says by how much they are
        shortened.

    Raises:
        ValueError: if a height or width is not known.
    """
    several = [(title, _known_maps(one, input_shape)) for title, one in _titled(model)]
    every = [stage.shape for _, maps in several for stage in maps]
    tallest = max(shape[0] for shape in every)
    shorten = max(1, round(max(shape[2] for shape in every) / (4 * tallest)))
    told = [f"{title} as boxes from left to right: {_stages(maps)}" for title, maps in several]
    scale = ", to one scale" if len(several) > 1 else ""
    fig, axes = figure(
        f"The stages of {'; of '.join(told)}{scale}.",
        rows=len(several),
        size=(8, 0.8 + 2 * len(several)),
        squeeze=False,
    )
    lefts = _lefts([maps for _, maps in several], tallest, shorten)
    note = "" if shorten == 1 else f", channels shortened {shorten} times"
    for ax, (title, stages) in zip(axes[:, 0], several, strict=True):
        _draw_boxes(ax, stages, lefts, tallest, shorten)
        told = f"{title}: feature maps (height x width x channels){note}"
        ax.set_title(plain(told), fontsize=10)
    return fig


def _lefts(several, tallest, shorten):
    """Where each box begins, for all models alike; and where the last ends."""
    lefts = [0.0]
    for number in range(max(map(len, several))):
        shapes = [maps[number].shape for maps in several if number < len(maps)]
        long = max(channels / shorten + width * SLANT for _, width, channels in shapes)
        lefts.append(lefts[-1] + max(long, 0.9 * tallest) + 0.35 * tallest)
    return lefts


def _titled(model):
    """Return [(title, model), …] of a model or several."""
    if isinstance(model, Mapping):
        several = list(model.items())
    else:
        several = [
            (one.name, one) for one in (model if isinstance(model, (list, tuple)) else [model])
        ]
    if not several:
        raise ValueError("Expected a model to draw. Received: nothing")
    return several


def _stages(maps):
    return "; ".join(str(stage) for stage in maps)


def _known_maps(model, input_shape):
    maps = stage_maps(model, input_shape)
    if not maps:
        raise ValueError(f"Expected a model with feature maps. Received: {model.name}, without any")
    unknown = [str(stage) for stage in maps if None in stage.shape]
    if unknown:
        raise ValueError(
            "Boxes need sizes. Expected input_shape=(height, width, channels) without None. "
            f"Received a model with {unknown[0]}"
        )
    return maps


def _draw_boxes(ax, maps, lefts, tallest, shorten):
    for number, (stage, left) in enumerate(zip(maps, lefts, strict=False)):
        height, width, channels = stage.shape
        _box(ax, left, height, width, channels / shorten, COLOURS[number % len(COLOURS)])
        long = channels / shorten + width * SLANT
        size = "x".join(str(side) for side in stage.shape)
        count = f"{stage.blocks} block{'s' * (stage.blocks != 1)}" if stage.blocks else " "
        told = plain(f"{stage.stage}\n{size}\n{count}")
        ax.text(left + long / 2, -0.72 * tallest, told, ha="center", va="top")
    ax.set_xlim(-0.3 * tallest, lefts[-1])
    ax.set_ylim(-1.3 * tallest, 0.9 * tallest)
    ax.set_aspect("equal")
    ax.axis("off")


SLANT = 0.35  # How far a pixel of width goes to the right and up.


def _box(ax, left, height, width, channels, colour):
    """A box with its corner at (left, -height / 2): channels to the right, width to the back."""
    base, shift = -height / 2, width * SLANT
    side = [(left, base), (left + channels, base)]
    side += [(left + channels, base + height), (left, base + height)]
    top = [side[3], side[2], _moved(side[2], shift), _moved(side[3], shift)]
    end = [side[1], _moved(side[1], shift), _moved(side[2], shift), side[2]]
    for corners, opacity in ((side, 0.75), (top, 0.35), (end, 0.55)):
        face = Polygon(corners, facecolor=colour, edgecolor="black", linewidth=0.8)
        face.set_alpha(opacity)
        ax.add_patch(face)


def _moved(point, shift):
    return point[0] + shift, point[1] + shift


@styled
def block(model: Any, name: str | None = None) -> Figure:
    """Draw a block as boxes and arrows, read from the live model; the skip is the bold arc.

    Shapes (height x width x channels) stand on the arrows where they change. A model whose layers'
    names tell two blocks or more is drawn block by block, a row for each stage: a box for each
    block with its convolutions, pooling and dense layers; batch normalisation and activations are
    left out.

    Args:
        model: a Keras functional model, or a built sequential one; or several, side by side: a
            list of models and of pairs (model, name), or a dict, title -> one of these.
        name: beginning of the names of the block's layers, such as "stage2_block1", or of a
            stage's; None for the whole model. For several, what a model alone stands for.

    Returns:
        Figure. Its alt text says what the block does, layer by layer.

    Raises:
        ValueError: what `resnet_lib.graphs.read` refuses, such as a name that no layer has.
    """
    panels, told = [], []
    several = list(_to_draw(model, name))
    for title, one, part in several:
        found = graphs.read(one, part)
        alone = title is None and part is not None and len(several) == 1
        title = _block_title(title, one, part)
        is_block = isinstance(found, graphs.Block)
        place = diagrams.place_block if is_block else diagrams.place_network
        panels.append(place(found, title or (found.kind if is_block else "network")))
        told.append(found.alt if alone else replace(found, name=title).alt)
    whole = diagrams.beside(panels)
    fig = Figure(figsize=(whole.width, whole.height))
    fig.alt = " ".join(told)
    diagrams.draw(fig.add_axes((0, 0, 1, 1)), whole)
    return fig


def _to_draw(model, name):
    """Yield (title or None, model, name) of each panel."""
    if isinstance(model, Mapping):
        each = list(model.items())
    elif isinstance(model, Sequence) and not isinstance(model, str):
        each = [(None, one) for one in model]
    else:
        each = [(None, model)]
    if not each:
        raise ValueError("Expected a model to draw. Received: nothing")
    for title, one in each:
        one, part = one if isinstance(one, tuple) else (one, name)
        yield title, one, part


def _block_title(title, model, name):
    """The reader's title, or the names; "" where Keras has named the model."""
    if title is not None:
        return str(title)
    if name is not None:
        return f"{model.name}, {name}"
    return "" if re.fullmatch(r"(functional|sequential)(_\d+)?", model.name) else model.name


@styled
def over_time(runs: Mapping[Any, Any], *, title: str = "") -> Figure:
    """Draw runs over the processor's time: training loss, validation accuracy, learning rate.

    Args:
        runs: dict, label -> `resnet_lib.records.Run`.
        title: a line over the figure, such as the source of the images.

    Returns:
        Figure with three axes. Minutes are those of all cores together, one point an epoch. The
        learning rate's axis is logarithmic if the runs' largest rates differ tenfold or more.
    """
    fig, axes = figure(
        f"Three line plots over CPU minutes for {listed(runs)}: training loss, validation "
        "accuracy, learning rate.",
        columns=3,
        size=(10, 3),
    )
    names = {"loss": "training loss", "val_accuracy": "validation accuracy"}
    names |= {"learning_rate": "learning rate"}
    for ax, (key, what) in zip(axes, names.items(), strict=True):
        for number, (label, run) in enumerate(runs.items()):
            minutes = np.cumsum(run.history["cpu_seconds"]) / 60
            values = np.array(run.history[key], float)  # None, in a record, becomes nan.
            ax.plot(minutes, values, LINES[number % len(LINES)], label=plain(label))
        label_axes(ax, "CPU minutes", what, whole=False)
    rates = [run.history["learning_rate"] for run in runs.values()]
    peaks = [max(each) for each in rates if each]
    if peaks and max(peaks) >= 10 * min(peaks):
        logarithmic(axes[2])
    axes[0].legend()
    fig.suptitle(plain(title or " "), fontsize=10)
    return fig


@styled
def speed_up(devices: Sequence[int], ways: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw how many times as fast as one device several devices are.

    Args:
        devices: how many there are, from few to many.
        ways: dict, title -> dict, label -> numbers, one for each of `devices`. Each title has axes
            of its own, beside each other.

    Returns:
        Figure, its axes logarithmic. A dotted line is n times as fast with n devices.
    """
    labels = list(dict.fromkeys(label for series in ways.values() for label in series))
    fig, axes = figure(
        f"Line plots of the speed-up by the number of devices, {devices[0]} to {devices[-1]}, for "
        f"{listed(labels)}, beside a dotted line where n devices are n times as fast as one. "
        + " ".join(_ends_told(title, series, devices) for title, series in ways.items()),
        columns=len(ways),
        size=(4.5 * len(ways), 3.2),
        sharey=True,
        squeeze=False,
    )
    for ax, (title, series) in zip(axes[0], ways.items(), strict=True):
        ax.plot(devices, devices, ":", color=COLOURS[6], label="n times as fast")
        for number, (label, values) in enumerate(series.items()):
            line, colour = LINES[number % 3], COLOURS[number % len(COLOURS)]
            ax.plot(devices, values, line, color=colour, marker=".", label=plain(label))
        ax.set(title=plain(title), xscale="log")
        ax.set_xticks(devices[::3], [f"{count:,}" for count in devices[::3]])
        ax.set_xticks([], minor=True)
        logarithmic(ax)
        label_axes(ax, "devices", "times as fast as one" if ax is axes[0][0] else "", whole=False)
    axes[0][0].legend()
    return fig


def _ends_told(title, series, devices):
    """Return where the lines of `speed_up` are highest, in words."""
    tops = {label: int(np.argmax(values)) for label, values in series.items()}
    told = [f"{label} {series[label][i]:.3g} times with {devices[i]}" for label, i in tops.items()]
    return f"{title}: at most {listed(told)}."


@styled
def images(
    pictures: np.ndarray, titles: Sequence[str] | None = None, *, columns: int = 10, alt: str
) -> Figure:
    """Draw pictures in a grid.

    Args:
        pictures: array of shape (n, height, width, 3), uint8 or float in 0-1.
        titles: n strings, or None.
        columns: pictures in a row.
        alt: what the pictures show.

    Returns:
        Figure with ceil(n / columns) rows.
    """
    rows = -(-len(pictures) // columns)
    size = (0.85 * columns, rows * (1.05 if titles is not None else 0.85))
    fig, axes = figure(alt, rows, columns, size, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(
            f"Expected a title for each picture. Received: {len(titles)} titles, "
            f"{len(pictures)} pictures"
        )
    for number, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        ax.imshow(picture, interpolation="nearest")
        if titles is not None:
            ax.set_title(plain(titles[number]), fontsize=8)
    return fig
