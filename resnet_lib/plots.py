"""Figures, one function each. Each returns a `Figure` that carries its alt text.

The figures are not pyplot's: a notebook shows one where it stands as the last line of a cell, and
only there. `figure.savefig("name.png")` writes it to a file.
"""

import base64
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.patches import Polygon
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from .inspection import Signal
from .inspection import feature_maps as stage_maps

# Okabe and Ito's palette: told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
# On top of matplotlib's own defaults, so that nothing of a reader's style comes in.
STYLE = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"} | {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that notebooks show as a PNG with alt text.

    Attributes:
        alt: what the figure shows, in a sentence or two.
    """

    alt = ""

    def _repr_mimebundle_(self, include=None, exclude=None):
        png = io.BytesIO()
        with matplotlib.rc_context(STYLE):  # Ticks are made when the figure is drawn.
            self.savefig(png, format="png", metadata={"Software": None})
        data = {
            "image/png": base64.b64encode(png.getvalue()).decode("ascii"),
            "text/plain": f"Figure: {self.alt}",
        }
        return data, {"image/png": {"alt": self.alt}}


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Make a drawing function use the collection's style, whatever the reader has set."""

    @functools.wraps(draw)
    def in_style(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


@styled
def figure(
    alt: str, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7, 3), **options: Any
) -> tuple[Figure, Any]:
    """Start a figure in the collection's style, to draw on.

    Args:
        alt: what the figure shows, in a sentence or two, for readers who cannot see it.
        rows: rows of axes.
        columns: columns of axes.
        size: width and height in inches; 100 pixels an inch.
        **options: go to `matplotlib.figure.Figure.subplots`.

    Returns:
        The Figure and its axes, as `subplots` returns them.

    Raises:
        ValueError: if the alt text is empty.
    """
    if not alt or not alt.strip():
        raise ValueError("Expected an alt text that says what the figure shows. Received: none")
    fig = Figure(figsize=size, layout="constrained")
    fig.alt = alt
    return fig, fig.subplots(rows, columns, **options)


@styled
def loss(run: Any) -> Figure:
    """Draw loss and accuracy by epoch, training and validation.

    Args:
        run: `resnet_lib.records.Run`.

    Returns:
        Figure with two axes. Its title names the images that the numbers are for.
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
        _label(ax, "epoch", key)
    axes[1].set_ylim(0, 1)
    axes[0].legend()
    fig.suptitle(_plain(f"{name}, {run.source}"), fontsize=10)
    return fig


@styled
def progress(
    history: Mapping[str, Sequence[float]],
    recipe: Any,
    epochs: int,
    *,
    name: str,
    title: str = "",
    losses: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Draw a run while it goes on, or as a whole: the loss, and the learning rate.

    Args:
        history: lists of one number an epoch, "loss" and "val_loss" among them.
        recipe: `resnet_lib.recipes.Recipe`.
        epochs: how many there will be.
        name: the network's.
        title: a line over the figure.
        losses: pairs (epochs done, as a decimal number; loss), of the steps so far.

    Returns:
        Figure with two axes. On the right, the rate that is still to come is dotted.
    """
    fig, (left, right) = figure(
        f"Two plots over {epochs} epochs for {name}: on the left the loss, training and "
        "validation, on the right the learning rate.",
        columns=2,
        size=(8, 2.8),
    )
    done = len(history["loss"])
    if losses:
        left.plot(*zip(*losses, strict=True), color=COLOURS[5], linewidth=1, label="epoch so far")
    for metric, label, colour, line in (
        ("loss", "training", COLOURS[0], "-"),
        ("val_loss", "validation", COLOURS[1], "--"),
    ):
        left.plot(
            np.arange(1, done + 1), history[metric], line, color=colour, marker=".", label=label
        )
    places = np.linspace(0, epochs, 400, endpoint=False)
    rates = np.array(
        [recipe.learning_rate(place if recipe.by_step else int(place)) for place in places]
    )
    so_far = max(done, losses[-1][0] if losses else 0)
    right.plot(places, rates, ":", color=COLOURS[6], linewidth=1)
    right.plot(places[places <= so_far], rates[places <= so_far], color=COLOURS[2])
    for ax, what in ((left, "loss"), (right, "learning rate")):
        ax.set_xlim(0, epochs)
        _label(ax, "epochs done", what)
    left.legend()
    fig.suptitle(_plain(title or " "), fontsize=10)
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
    ax.step(np.arange(1, len(rates) + 1), rates, where="mid", marker=_dot(rates))
    _logarithmic(ax)
    _label(ax, "epoch", "learning rate")
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
    _label(ax, "epochs done", "learning rate")
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
    fig, ax = figure(f"A line plot of {ylabel} by {xlabel} for {_listed(series)}.", size=(6.5, 3.2))
    for number, (label, values) in enumerate(series.items()):
        line = LINES[(number // len(COLOURS) + number % 2) % len(LINES)]
        steps = np.arange(len(values)) + first
        ax.plot(steps, values, line, marker=_dot(values), label=_plain(label))
    if log:
        _logarithmic(ax)
    _label(ax, xlabel, ylabel)
    ax.legend()
    ax.set_title(_plain(title), fontsize=10)
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
    labels = _listed(measured)
    what = next(iter(measured.values())).what
    fig, ax = figure(
        f"A line plot of the {what} from the first layer to the last for {labels}.",
        size=(6.5, 3.2),
    )
    for number, (label, signal) in enumerate(measured.items()):
        depth, line = np.linspace(0, 1, len(signal)), LINES[number % 2]
        ax.plot(depth, signal.values, line, marker=_dot(signal), label=_plain(label))
    if log:
        _logarithmic(ax)
    _label(ax, "depth, from the first layer (0) to the last (1)", what, whole=False)
    ax.legend()
    ax.set_title(_plain(title), fontsize=10)
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
def feature_maps(model: keras.Model, input_shape: tuple[int, int, int] | None = None) -> Figure:
    """Draw the feature map that each stage outputs as a box, to scale.

    Height goes up and channels go to the right, to one scale; width goes back, foreshortened.

    Args:
        model: a Keras functional model.
        input_shape: (height, width, channels) to take in place of the model's own; needed where
            that has None.

    Returns:
        Figure. One pixel of height is as long as one channel; where the channels would make the
        boxes unreadably long, the title says by how much they are shortened.

    Raises:
        ValueError: if a height or width is not known.
    """
    maps = stage_maps(model, input_shape)
    if not maps:
        raise ValueError(f"Expected a model with feature maps. Received: {model.name}, without any")
    unknown = [str(stage) for stage in maps if None in stage.shape]
    if unknown:
        raise ValueError(
            "Boxes need sizes. Expected input_shape=(height, width, channels) without None. "
            f"Received a model with {unknown[0]}"
        )
    tallest = max(stage.shape[0] for stage in maps)
    shorten = max(1, round(max(stage.shape[2] for stage in maps) / (4 * tallest)))
    fig, ax = figure(
        f"The stages of {model.name} as boxes from left to right: "
        f"{'; '.join(str(stage) for stage in maps)}.",
        size=(8, 2.8),
    )
    _draw_boxes(ax, maps, tallest, shorten)
    note = "" if shorten == 1 else f", channels shortened {shorten} times"
    title = f"{model.name}: feature maps (height x width x channels){note}"
    ax.set_title(_plain(title), fontsize=10)
    return fig


def _draw_boxes(ax, maps, tallest, shorten):
    left = 0.0
    for number, stage in enumerate(maps):
        height, width, channels = stage.shape
        _box(ax, left, height, width, channels / shorten, COLOURS[number % len(COLOURS)])
        long = channels / shorten + width * SLANT
        size = "x".join(str(side) for side in stage.shape)
        count = f"{stage.blocks} block{'s' * (stage.blocks != 1)}" if stage.blocks else " "
        middle = left + long / 2
        told = _plain(f"{stage.stage}\n{size}\n{count}")
        ax.text(middle, -0.72 * tallest, told, ha="center", va="top")
        left += max(long, 0.9 * tallest) + 0.35 * tallest
    ax.set_xlim(-0.3 * tallest, left)
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
        f"Three line plots over CPU minutes for {_listed(runs)}: training loss, validation "
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
            ax.plot(minutes, values, LINES[number % len(LINES)], label=_plain(label))
        _label(ax, "CPU minutes", what, whole=False)
    rates = [run.history["learning_rate"] for run in runs.values()]
    peaks = [max(each) for each in rates if each]
    if peaks and max(peaks) >= 10 * min(peaks):
        _logarithmic(axes[2])
    axes[0].legend()
    fig.suptitle(_plain(title or " "), fontsize=10)
    return fig


@styled
def confusion(counts: ArrayLike, class_names: Sequence[str], *, title: str = "") -> Figure:
    """Draw which class was taken for which.

    Args:
        counts: square array of counts: a row for each true class, a column for each answer, such
            as `run.record["results"]["test_confusion"]`.
        class_names: a name for each.
        title: a line over the figure.

    Returns:
        Figure. A square is the darker, the larger its share of its row is.

    Raises:
        ValueError: if there are not as many names as rows and columns.
    """
    counts = np.asarray(counts)
    number = len(counts)
    if counts.shape != (number, number) or len(class_names) != number:
        raise ValueError(
            f"Expected as many rows and columns as class names, {len(class_names)}. "
            f"Received: counts of shape {counts.shape}"
        )
    right = int(np.trace(counts))
    fig, ax = figure(
        f"A confusion matrix of {number} classes: {right} of {counts.sum()} pictures are on the "
        "diagonal, where true class and answer agree.",
        size=(1.6 + 0.45 * number, 1 + 0.4 * number),
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        where = dict(ha="center", va="center", fontsize=8)
        ax.text(column, row, counts[row, column], color=colour, **where)
    slant = dict(rotation=45, ha="right", rotation_mode="anchor") if number > 6 else {}
    names = [_plain(name) for name in class_names]
    ax.set_xticks(range(number), names, **slant)
    ax.set_yticks(range(number), names)
    ax.grid(False)
    ax.set_xlabel("answer")
    ax.set_ylabel("true class")
    ax.set_title(_plain(title), fontsize=10)
    return fig


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
            ax.set_title(_plain(titles[number]), fontsize=8)
    return fig


def _plain(text):
    """Return a reader's text as matplotlib draws it letter by letter: it takes $…$ for a formula.

    A name that begins with an underscore would be left out of a legend, so a space goes before it.
    """
    plain = str(text).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def _dot(values):
    """A marker for a single value, which a line would not show."""
    return "." if len(values) == 1 else None


def _logarithmic(ax):
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    if high / low < 100:  # Few powers of ten in sight: name steps between them.
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if low >= 1e-4 and high < 1e5:
        ax.yaxis.set_major_formatter("{x:g}")


def _label(ax, xlabel, ylabel, *, whole=True):
    ax.set_xlabel(_plain(xlabel))
    ax.set_ylabel(_plain(ylabel))
    if whole:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _listed(names):
    names = [str(name) for name in names]
    if not names:
        raise ValueError("Expected something to draw. Received: nothing")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
