"""The collection's style, figures with alt text, and the one that training draws as it goes.

The figures are not pyplot's: a notebook shows one where it stands as the last line of a cell, and
only there. `figure.savefig("name.png")` writes it to a file.
"""

import base64
import functools
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

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
        label_axes(ax, "epochs done", what)
    left.set_ylim(bottom=0)
    steps = [loss for _, loss in losses]
    keep_in_sight(left, [*history["loss"], *steps], history["val_loss"])
    left.legend()
    fig.suptitle(plain(title or " "), fontsize=10)
    return fig


def keep_in_sight(ax: Axes, training: Sequence[float], validation: Sequence[float]) -> None:
    """End the vertical axis at twice the largest training loss, if validation loss goes beyond it.

    While the rate is high, an epoch's validation loss can be many times the others, which would
    then lie flat at the bottom. What is beyond the end stands there as a number, at its epoch.
    """
    training, validation = (np.array(values, float) for values in (training, validation))
    end = 2 * np.max(training, initial=0, where=np.isfinite(training))
    beyond = np.flatnonzero(np.isfinite(validation) & (validation > end))
    if not end or not beyond.size:
        return
    ax.set_ylim(min(0, ax.dataLim.y0), end)
    for place in beyond:
        text, at = f"↑ {validation[place]:.3g}", (place + 1, end)
        where = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        ax.annotate(text, at, **where, fontsize=8, color=COLOURS[1])


def plain(text: Any) -> str:
    """Return a reader's text as matplotlib draws it letter by letter: it takes $…$ for a formula.

    A name that begins with an underscore would be left out of a legend, so a space goes before it.
    """
    plain = str(text).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def dot(values: Sequence) -> str | None:
    """A marker for a single value, which a line would not show."""
    return "." if len(values) == 1 else None


def logarithmic(ax: Axes) -> None:
    """Make the vertical axis logarithmic, with readable ticks."""
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    if high / low < 100:  # Few powers of ten in sight: name steps between them.
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if low >= 1e-4 and high < 1e5:
        ax.yaxis.set_major_formatter("{x:g}")


def label_axes(ax: Axes, xlabel: str, ylabel: str, *, whole: bool = True) -> None:
    """Name both axes; `whole`: the horizontal one has ticks at whole numbers only."""
    ax.set_xlabel(plain(xlabel))
    ax.set_ylabel(plain(ylabel))
    if whole:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def listed(names: Iterable) -> str:
    """Return names as "a, b and c"; ValueError if there are none."""
    names = [str(name) for name in names]
    if not names:
        raise ValueError("Expected something to draw. Received: nothing")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
