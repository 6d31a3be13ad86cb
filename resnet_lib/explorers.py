"""Things to turn: controls with a picture that follows them, for a notebook.

>>> rl.explorers.networks(depth=56)

Each explorer has a function that draws the picture of some values, `draw_networks` and so on, and
one that says in words and numbers what the picture shows, `tell_networks`. Both read a live model
or schedule. Where there are no widgets, the picture of the first values stands alone: without
ipywidgets, which the extra `lab` brings, and where the environment has RESNET_LIB_WIDGETS=0.
"""

import contextlib
import functools
import importlib.util
import inspect
import io
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import keras
import matplotlib.image
import numpy as np
from keras import layers
from matplotlib.ticker import NullLocator

from . import blocks as parts
from . import checks, cifar, datasets, inspection, plots, recipes
from .schedules import ANNEALS

DOTS = 100  # An inch.
HEADING, LEAST_WIDTH = 30, 760  # In dots: a heading's height, a figure's width.


@dataclass(frozen=True)
class Control:
    """One thing to turn.

    Attributes:
        label: what stands beside it.
        options: function of the values of the controls before it -> what may be chosen.
        slider: whether it is a slider, its options numbers at equal distances; else it is a list,
            or a box to tick where it is True or False.
    """

    label: str
    options: Callable[[Mapping[str, Any]], Sequence]
    slider: bool = False


@dataclass(frozen=True)
class Explorer:
    """What can be turned, and what it shows.

    Attributes:
        draw: function of the values -> `plots.Figure`. Its defaults are the first values.
        tell: function of the same values -> dict, what -> number or words.
        controls: dict, name of a value -> Control, in their order.
    """

    draw: Callable[..., plots.Figure]
    tell: Callable[..., dict[str, str]]
    controls: dict[str, Control]

    def first(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the first values: those given, for the rest defaults that go with them.

        Raises:
            ValueError: for a value that there is not, or that cannot be chosen beside the others.
        """
        for name in given:
            checks.choice("argument", name, self.controls)
        defaults = inspect.signature(self.draw).parameters
        values = {name: given.get(name, defaults[name].default) for name in self.controls}
        found = self.settled(values)
        for name in given:
            checks.choice(name, given[name], self.controls[name].options(found))
        return found

    def settled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values, each that cannot be chosen beside the others replaced."""
        found = {}
        for name, control in self.controls.items():
            found[name] = nearest(values[name], control.options(found))
        return found

    def show(self, given: Mapping[str, Any]) -> "plots.Figure | Shown":
        """Return the explorer with its controls or, where there are no widgets, the figure."""
        values = self.first(given)
        return Shown(self, values) if has_widgets() else self.draw(**values)


def nearest(value: Any, options: Sequence) -> Any:
    """Return a value if it is one of the options, else the nearest number, or the first option."""
    if value in options:
        return value
    if isinstance(options[0], bool | str) or isinstance(value, str):
        return options[0]
    return min(options, key=lambda option: abs(option - value))


def has_widgets() -> bool:
    """Say whether explorers have controls: RESNET_LIB_WIDGETS is not 0 and there is ipywidgets.

    Raises:
        ValueError: if RESNET_LIB_WIDGETS is neither 0 nor 1. Empty, it counts as not set.
    """
    wanted = checks.choice(
        "RESNET_LIB_WIDGETS", os.environ.get("RESNET_LIB_WIDGETS") or "1", ("0", "1")
    )
    return wanted == "1" and importlib.util.find_spec("ipywidgets") is not None


class Shown:
    """An explorer in a notebook: controls, and below them the picture and its numbers.

    A saved notebook keeps the picture of the first values beside the controls, for where there are
    no widgets to show.

    Attributes:
        explorer: what is shown.
        values: dict, the values as they are turned.
        controls: dict, name -> widget.
        output: the widget with the picture.
    """

    def __init__(self, explorer: Explorer, values: dict[str, Any]):
        import ipywidgets

        self.explorer, self.values = explorer, values
        self.output = ipywidgets.HTML()
        self.controls = {
            name: _widget(ipywidgets, control, control.options(values), values[name])
            for name, control in explorer.controls.items()
        }
        self._settling = False
        for widget in self.controls.values():
            widget.observe(self._turned, "value")
        row = ipywidgets.HBox(
            list(self.controls.values()), layout=ipywidgets.Layout(flex_flow="row wrap")
        )
        self.box = ipywidgets.VBox([row, self.output])
        self.figure = self._redraw()

    def _turned(self, change):
        if not self._settling:
            turned = {name: widget.value for name, widget in self.controls.items()}
            self.values = self.explorer.settled(turned)
            self._settle()
            self._redraw()

    def _settle(self):
        """Let each control offer what can be chosen beside the other values."""
        self._settling = True
        try:
            for name, control in self.explorer.controls.items():
                _offer(self.controls[name], control.options(self.values), self.values[name])
        finally:
            self._settling = False

    def _redraw(self):
        figure = self.explorer.draw(**self.values)
        self.output.value = _page(figure, self.explorer.tell(**self.values))
        return figure

    def _repr_mimebundle_(self, include=None, exclude=None):
        data, metadata = self.figure._repr_mimebundle_()
        return {**self.box._repr_mimebundle_(), **data}, metadata


def _widget(ipywidgets, control, options, value):
    """Make a control's widget: a box to tick, a slider or a list."""
    place = dict(
        description=control.label,
        style={"description_width": "initial"},
        layout=ipywidgets.Layout(width="auto", margin="2px 1.5em 2px 0"),
    )
    if isinstance(value, bool):
        widget = ipywidgets.Checkbox(value, indent=False, **place)
    elif control.slider:
        place["layout"].width = "26em"
        slider = ipywidgets.IntSlider if isinstance(value, int) else ipywidgets.FloatSlider
        widget = slider(value=value, continuous_update=False, **place)
    else:
        widget = ipywidgets.Dropdown(options=options, value=value, **place)
    _offer(widget, options, value)
    return widget


def _offer(widget, options, value):
    """Give a widget other options and a value that is one of them; with one alone, it rests."""
    if hasattr(widget, "step"):
        with widget.hold_trait_notifications():
            widget.min, widget.max = options[0], options[-1]
            widget.step, widget.value = options[1] - options[0], value
        return
    if hasattr(widget, "options"):
        widget.options = tuple(options)
    widget.value = value
    widget.disabled = len(options) == 1


def _page(figure, told):
    """Return a figure and its numbers in HTML: the picture with its alt text, then a table."""
    data, _ = figure._repr_mimebundle_()
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(what)}</th>'
        f'<td style="text-align: left">{escape(said)}</td></tr>'
        for what, said in told.items()
    )
    picture = (
        f'<img src="data:image/png;base64,{data["image/png"]}" alt="{escape(figure.alt)}" '
        'style="max-width: 100%">'
    )
    return f"{picture}<table>{rows}</table>"


@contextlib.contextmanager
def _apart():
    """Build in float32, and leave the reader's random state, which Keras draws seeds from."""
    policy, state = keras.config.dtype_policy(), random.getstate()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        random.setstate(state)


@plots.styled
def _stacked(heading, *figures):
    """Put figures one below the other in one, under a heading."""
    pictures = [_pixels(each) for each in figures]
    width = max(LEAST_WIDTH, *(each.shape[1] for each in pictures))
    height = sum(each.shape[0] for each in pictures) + HEADING
    fig = plots.Figure(figsize=(width / DOTS, height / DOTS))
    fig.alt = " ".join([f"{heading}.", *(each.alt for each in figures)])
    fig.text(0.5, 1 - HEADING / 2 / height, heading, ha="center", va="center")
    top = height - HEADING
    for picture in pictures:
        rows, columns = picture.shape[:2]
        top -= rows
        place = ((width - columns) / 2 / width, top / height, columns / width, rows / height)
        ax = fig.add_axes(place)
        ax.imshow(picture, interpolation="none", aspect="auto")
        ax.axis("off")
    return fig


def _pixels(figure):
    """Return a figure as it is drawn, an array of shape (height, width, 4)."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DOTS)
    png.seek(0)
    return matplotlib.image.imread(png)


# Networks

FORM = "the form's"
NETWORK_KINDS = {
    "v1": "basic",
    "plain": "basic",
    "v2 bottleneck": "bottleneck",
    "v2 basic": "basic",
}


def _depths(values):
    """The depths to the paper's 110 that blocks of a kind make up."""
    depths = cifar.valid_depths(NETWORK_KINDS[values["kind"]])
    return depths[: depths.index(110) + 1]


def _forms(values):
    return tuple(cifar.FORMS_V2 if values["kind"].startswith("v2") else cifar.FORMS_V1)


def _shortcuts(values):
    return ("none",) if values["kind"] == "plain" else (FORM, "A", "B", "C")


@functools.lru_cache(maxsize=8)
def _network(kind, depth, form, shortcut):
    block = checks.choice("kind", kind, NETWORK_KINDS)
    option = {} if kind == "plain" else dict(shortcut=None if shortcut == FORM else shortcut)
    if kind.startswith("v2"):
        option["block"] = block
    build = {"v1": cifar.resnet_v1, "plain": cifar.plain_net}.get(kind, cifar.resnet_v2)
    with _apart():
        return build((32, 32, 3), depth, form=form, **option)


@plots.styled
def draw_networks(
    kind: str = "v1", depth: int = 20, form: str = "example", shortcut: str = FORM
) -> plots.Figure:
    """Draw the feature maps of a CIFAR network and the block in which its second stage begins.

    Args:
        kind: "v1", "plain", "v2 bottleneck" or "v2 basic".
        depth: layers with weights, as in the builders of `resnet_lib.cifar`.
        form: as in the builders.
        shortcut: "A", "B" or "C" in place of the form's; of a plain network, "none".

    Returns:
        Figure, with trainable parameters and multiply-adds for one picture of 32x32x3 in its
            heading.
    """
    model = _network(kind, depth, form, shortcut)
    maps, block = plots.feature_maps(model), plots.block(model, "stage2_block1")
    counted = f"{inspection.count_parameters(model).trainable:,} trainable parameters, "
    counted += f"{inspection.count_multiply_adds(model):,} multiply-adds"
    return _stacked(f"{model.name}, form {form}: {counted}", maps, block)


def tell_networks(kind: str, depth: int, form: str, shortcut: str) -> dict[str, str]:
    """Return the numbers of a CIFAR network in words; the values are those of `draw_networks`."""
    model = _network(kind, depth, form, shortcut)
    count = inspection.count_parameters(model)
    kinds = {what: n for what, n in inspection.count_by_kind(model).items() if n}
    per_stage = cifar.blocks_per_stage(depth, NETWORK_KINDS[kind])
    step = cifar.valid_depths(NETWORK_KINDS[kind]).step
    return {
        "network": f"{model.name}: {step} x {per_stage} + 2 = {depth} layers with weights",
        "parameters": str(count).replace(" parameters", ""),
        "of these": "; ".join(f"{what} {n:,}" for what, n in kinds.items()),
        "multiply-adds": f"{inspection.count_multiply_adds(model):,} for a picture of 32x32x3",
        "feature maps": "; ".join(map(str, inspection.feature_maps(model))),
    }


NETWORKS = Explorer(
    draw_networks,
    tell_networks,
    {
        "kind": Control("network", lambda values: tuple(NETWORK_KINDS)),
        "depth": Control("depth", _depths, slider=True),
        "form": Control("form", _forms),
        "shortcut": Control("shortcut", _shortcuts),
    },
)


def networks(**first: Any) -> "plots.Figure | Shown":
    """Show the CIFAR networks: their depth and form against shapes, parameters, multiply-adds.

    Args:
        **first: the values to begin with, as `draw_networks` takes them.

    Returns:
        What a notebook shows where it is the last line of a cell: controls with a picture and its
        numbers; where there are no widgets, the Figure.

    Raises:
        ValueError: for a value that there is not, or that cannot be chosen beside the others; if
            RESNET_LIB_WIDGETS is neither 0 nor 1.
    """
    return NETWORKS.show(first)


# Blocks

BLOCK_KINDS = {
    "basic": parts.basic_block,
    "bottleneck": parts.bottleneck_block,
    "pre-activation": parts.preactivation_basic_block,
    "pre-activation bottleneck": parts.preactivation_bottleneck_block,
    "plain": parts.basic_block,
}
WIDTHS = range(16, 257, 16)
EXPANSION = 4


def _block_shortcuts(values):
    if values["kind"] == "plain":
        return ("none",)
    widens = EXPANSION if "bottleneck" in values["kind"] else 1
    enough = values["filters"] * widens >= values["channels"]
    return ("A", "B", "C") if enough else ("B", "C")


@functools.lru_cache(maxsize=64)
def _block(kind, channels, filters, strides, shortcut):
    """Build a model of one block, whose shortcut is "none" in a plain one."""
    block = checks.choice("kind", kind, BLOCK_KINDS)
    widths = (filters, EXPANSION * filters) if kind == "pre-activation bottleneck" else (filters,)
    option = None if shortcut == "none" else shortcut
    with _apart():
        inputs = keras.Input((32, 32, channels), name="images")
        name = re.sub(r"\W", "_", kind)
        outputs = block(inputs, *widths, strides=strides, shortcut=option, name=name)
        return keras.Model(inputs, outputs, name=name)


@plots.styled
def draw_blocks(
    kind: str = "basic",
    channels: int = 16,
    filters: int = 16,
    strides: int = 1,
    shortcut: str = "B",
) -> plots.Figure:
    """Draw one residual block.

    Args:
        kind: "basic", "bottleneck", "pre-activation", "pre-activation bottleneck" or "plain".
        channels: channels of the feature map of 32x32 pixels that comes in.
        filters: channels of the block's convolutions; the last of a bottleneck has four times as
            many.
        strides: step of the block, in pixels.
        shortcut: "A", "B" or "C"; of a plain block, "none".

    Returns:
        Figure, with the block's output shape, trainable parameters and multiply-adds in its
            heading.
    """
    model = _block(kind, channels, filters, strides, shortcut)
    size = "x".join(str(side) for side in model.output.shape[1:])
    counted = f"{inspection.count_parameters(model).trainable:,} trainable parameters, "
    counted += f"{inspection.count_multiply_adds(model):,} multiply-adds"
    return _stacked(f"{kind} block: {size}, {counted}", plots.block({"": (model, model.name)}))


def tell_blocks(
    kind: str, channels: int, filters: int, strides: int, shortcut: str
) -> dict[str, str]:
    """Return the numbers of a block in words; the values are those of `draw_blocks`."""
    model = _block(kind, channels, filters, strides, shortcut)
    branch = _block(kind, channels, filters, strides, "none")
    told = {
        "shapes": " to ".join(
            "x".join(str(side) for side in tensor.shape[1:])
            for tensor in (model.input, model.output)
        ),
        "skip": _skip(model),
    }
    for what, of in {
        "trainable parameters": lambda model: inspection.count_parameters(model).trainable,
        "multiply-adds": inspection.count_multiply_adds,
    }.items():
        told[what] = f"{of(model):,}: branch {of(branch):,}, skip {of(model) - of(branch):,}"
    return told


def _skip(model):
    """Say what a block's skip does."""
    names = [layer.name.removeprefix(f"{model.name}_") for layer in model.layers]
    if "add" not in names:
        return "none"
    if "shortcut_conv" in names:
        return "projection: a convolution of 1x1"
    does = {"shortcut_subsample": "every second pixel", "shortcut_pad": "padded with zeros"}
    return ", ".join(["identity", *(what for name, what in does.items() if name in names)])


BLOCKS = Explorer(
    draw_blocks,
    tell_blocks,
    {
        "kind": Control("block", lambda values: tuple(BLOCK_KINDS)),
        "channels": Control("channels that come in", lambda values: WIDTHS, slider=True),
        "filters": Control("filters", lambda values: WIDTHS[:8], slider=True),
        "strides": Control("strides", lambda values: (1, 2)),
        "shortcut": Control("shortcut", _block_shortcuts),
    },
)


def blocks(**first: Any) -> "plots.Figure | Shown":
    """Show the residual blocks: kind, widths, strides and shortcut against shape and cost.

    Args:
        **first: the values to begin with, as `draw_blocks` takes them.

    Returns and errors are those of `networks`.
    """
    return BLOCKS.show(first)


# Schedules

RUNS = range(5, 201, 5)
PEAKS = WARMUPS = tuple(number / 20 for number in range(1, 21))
# The heights of two optimizers cannot be compared, their shapes can.
SHARE = "share of the published largest rate"
SCALES = (SHARE, "learning rate, logarithmic")
LARGEST = {"example": 1e-3, "paper": 0.1, "one-cycle": recipes.ONE_CYCLE.peak}


def _recipes(epochs, fitted, peak, warmup, anneal):
    """Return {name: recipe}; one-cycle is always as long as the run."""
    cycle = replace(recipes.ONE_CYCLE, epochs=epochs, peak=peak, warmup=warmup, anneal=anneal)
    published = (recipes.EXAMPLE, recipes.PAPER)
    fixed = [replace(each, epochs=epochs) if fitted else each for each in published]
    return {recipe.name: recipe for recipe in (*fixed, cycle)}


def _rates(recipe, epochs):
    """Return the places, in epochs, and the rate at each; by epoch where the recipe goes by it."""
    places = np.linspace(0, min(epochs, recipe.epochs), 1000, endpoint=False)
    rates = [recipe.learning_rate(p if recipe.by_step else int(p)) for p in places.tolist()]
    return places, np.array(rates)


@plots.styled
def draw_schedules(
    epochs: int = 100,
    fitted: bool = False,
    peak: float = 0.3,
    warmup: float = 0.25,
    anneal: str = "linear",
    scale: str = SCALES[0],
) -> plots.Figure:
    """Draw the learning-rate schedules of the three recipes over one run.

    Args:
        epochs: how long the run is.
        fitted: whether the example's and the paper's schedule are made as long as the run; else
            they are as published, and the run may end before they do. One-cycle always fits.
        peak: one-cycle's largest rate.
        warmup: share of the run, from 0 to 1, before one-cycle's peak.
        anneal: how one-cycle falls, "linear" or "cosine".
        scale: what the vertical axis has, one of `SCALES`.

    Returns:
        Figure with one axis.
    """
    checks.choice("scale", scale, SCALES)
    how = "made as long as the run" if fitted else "as published"
    fig, ax = plots.figure(
        f"A line plot of the learning rate over {epochs} epochs. Example and paper, {how}; "
        f"one-cycle rises to {peak:g} over {warmup:.0%} of the run and falls, {anneal}.",
        size=(8, 3.4),
    )
    chosen = _recipes(epochs, fitted, peak, warmup, anneal)
    for line, (name, recipe) in zip(plots.LINES, chosen.items(), strict=False):
        places, rates = _rates(recipe, epochs)
        heights = rates / LARGEST[name] if scale == SHARE else rates
        ax.plot(places, heights, line, label=f"{name} ({recipe.optimizer})")
    ax.set(xlim=(0, epochs), xlabel="epochs done", ylabel=scale)
    if scale == SHARE:
        ax.set_ylim(0, 1.05 * max(1, peak / LARGEST["one-cycle"]))
    else:
        ax.set(yscale="log", ylim=(1e-7, 2))
    fig.legend(loc="outside right upper")
    return fig


def tell_schedules(
    epochs: int, fitted: bool, peak: float, warmup: float, anneal: str, scale: str
) -> dict[str, str]:
    """Return the schedules' rates in words; the values are those of `draw_schedules`."""
    chosen = _recipes(epochs, fitted, peak, warmup, anneal)
    return {name: _told(*_rates(recipe, epochs)) for name, recipe in chosen.items()}


def _told(places, rates):
    falls = np.flatnonzero(np.diff(rates) < 0)
    fall = f"falls from epoch {places[falls[0] + 1]:.3g} on" if len(falls) else "never falls"
    return (
        f"{rates[0]:.2g} at the start, at most {rates.max():.2g}, {rates[-1]:.2g} at the end; "
        + fall
    )


SCHEDULES = Explorer(
    draw_schedules,
    tell_schedules,
    {
        "epochs": Control("epochs of the run", lambda values: RUNS, slider=True),
        "fitted": Control("published schedules fitted to the run", lambda values: (False, True)),
        "peak": Control("one-cycle: peak", lambda values: PEAKS, slider=True),
        "warmup": Control("one-cycle: warm-up share", lambda values: WARMUPS, slider=True),
        "anneal": Control("one-cycle: fall", lambda values: ANNEALS),
        "scale": Control("axis", lambda values: SCALES),
    },
)


def schedules(**first: Any) -> "plots.Figure | Shown":
    """Show the learning-rate schedules against each other, over a run of any length.

    Args:
        **first: the values to begin with, as `draw_schedules` takes them.

    Returns and errors are those of `networks`.
    """
    return SCHEDULES.show(first)


# Signals

DEPTHS = range(4, 21, 2)
PICTURES = 16
REFERENCE = dict(depth=DEPTHS[-1], batch_norm=True, skip=True, zero_gamma=False)
# One scale for all that can be chosen, so that curves can be compared from turn to turn.
LIMITS = (1e-4, 1e2)


def _zero_gammas(values):
    """Without a skip a zero gamma would end the signal; without normalisation there is no gamma."""
    return (False, True) if values["batch_norm"] and values["skip"] else (False,)


@functools.cache
def _pictures():
    """Sixteen shapes of 16x16 pixels, the mean of each colour subtracted, and their classes."""
    few = datasets.shapes(train=PICTURES, validation=1, test=1).train
    pictures = few.images.astype("float32") / 255
    pictures = pictures.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    return pictures - pictures.mean(axis=(1, 2), keepdims=True), few.labels


def _layer(x, number, batch_norm, gamma="ones"):
    """A convolution to 16 channels, with seed and name by its number, and its normalisation."""
    kernels = keras.initializers.HeNormal(seed=number)
    options = dict(padding="same", use_bias=False, data_format="channels_last")
    x = layers.Conv2D(16, 3, kernel_initializer=kernels, name=f"conv{number}", **options)(x)
    if not batch_norm:
        return x
    return layers.BatchNormalization(gamma_initializer=gamma, name=f"bn{number}")(x)


def _stream(depth, batch_norm, skip, zero_gamma):
    """Build a network of one width, the ends of whose blocks are named end0, end1, …"""
    inputs = keras.Input((16, 16, 3), name="images")
    x = layers.ReLU(name="end0")(_layer(inputs, 1, batch_norm))
    for block in range(1, (depth - 2) // 2 + 1):
        y = layers.ReLU(name=f"relu{block}")(_layer(x, 2 * block, batch_norm))
        y = _layer(y, 2 * block + 1, batch_norm, "zeros" if zero_gamma else "ones")
        y = layers.Add(name=f"add{block}")([x, y]) if skip else y
        x = layers.ReLU(name=f"end{block}")(y)
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="mean")(x)
    kernel = keras.initializers.HeNormal(seed=depth)
    softmax = layers.Dense(10, "softmax", kernel_initializer=kernel, name="dense")
    return keras.Model(inputs, softmax(x), name=f"stream{depth}")


@functools.lru_cache(maxsize=128)
def _measured(depth, batch_norm, skip, zero_gamma):
    """Return variances at the blocks' ends and gradient norms at the layers, before training."""
    with _apart():
        model = _stream(depth, batch_norm, skip, zero_gamma)
        pictures, classes = _pictures()
        variances = inspection.activation_variances(model, pictures, layers_named=r"^end\d+$")
        gradients = inspection.gradient_norms(model, pictures, classes)
    return variances.values, gradients.values


@plots.styled
def draw_signals(
    depth: int = 20, batch_norm: bool = True, skip: bool = True, zero_gamma: bool = False
) -> plots.Figure:
    """Measure and draw how signal and gradient travel through a network before training.

    The network is a first convolution, blocks of two, all of 16 channels, and a dense layer. It
    gets 16 pictures of 16x16 pixels.

    Args:
        depth: layers with weights: 4, 6, … 20.
        batch_norm: whether batch normalisation follows each convolution.
        skip: whether the blocks have skips.
        zero_gamma: whether the last normalisation of each block begins with a gamma of zero.

    Returns:
        Figure with two logarithmic axes, whose scale is the same for all values.

    Raises:
        NotImplementedError: where Keras runs on another backend than TensorFlow.
    """
    chosen = dict(depth=depth, batch_norm=batch_norm, skip=skip, zero_gamma=zero_gamma)
    name = _name(**chosen)
    fig, axes = plots.figure(
        f"Two line plots for the network with {name}, before training: on the left the variance "
        "of the activations at the end of each block, on the right the norm of the gradient at "
        "each layer, both on a logarithmic scale.",
        columns=2,
        size=(9, 3.4),
    )
    if chosen != REFERENCE:
        grey = dict(color="#888888", linestyle=":", label=f"to compare: {_name(**REFERENCE)}")
        _lines(axes, _measured(**REFERENCE), **grey)
    _lines(axes, _measured(**chosen), marker=".", label=name)
    _axes_of_signals(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=2)
    return fig


def _name(depth, batch_norm, skip, zero_gamma):
    zero = ", zero gamma" if zero_gamma else ""
    return f"{depth} layers, BN {_yes(batch_norm)}, skip {_yes(skip)}{zero}"


def _yes(flag):
    return "on" if flag else "off"


def _lines(axes, measured, **options):
    """Draw variances and gradients; what is zero lies on the lower edge."""
    for ax, values, start in zip(axes, measured, (0, 1), strict=True):
        ax.plot(np.arange(len(values)) + start, np.maximum(values, LIMITS[0]), **options)
        if not values.all():
            ax.set_title("on the lower edge: exactly 0", fontsize=10)


def _axes_of_signals(axes):
    left, right = axes
    left.set(xlabel="block (0: the first layer)", ylabel="variance of the activations")
    left.set_xticks(range((DEPTHS[-1] - 2) // 2 + 1))
    right.set(xlabel="layer", ylabel="norm of the gradient", xticks=range(2, DEPTHS[-1] + 1, 2))
    for ax in axes:
        ax.set(yscale="log", ylim=LIMITS)
        ax.yaxis.set_minor_locator(NullLocator())  # They took half of the time to draw.


def tell_signals(depth: int, batch_norm: bool, skip: bool, zero_gamma: bool) -> dict[str, str]:
    """Return what was measured in words; the values are those of `draw_signals`."""
    variances, gradients = _measured(depth, batch_norm, skip, zero_gamma)
    return {
        "network": _name(depth, batch_norm, skip, zero_gamma),
        "variance of the activations": (
            f"{variances[0]:.2g} after the first layer, {variances[-1]:.2g} after the last block"
        ),
        "norm of the gradient": (
            f"{gradients[0]:.2g} at the first layer, {gradients[-2]:.2g} at the last convolution"
        ),
    }


SIGNALS = Explorer(
    draw_signals,
    tell_signals,
    {
        "depth": Control("depth", lambda values: DEPTHS, slider=True),
        "batch_norm": Control("batch normalisation", lambda values: (True, False)),
        "skip": Control("skip", lambda values: (True, False)),
        "zero_gamma": Control("zero gamma at the end of each block", _zero_gammas),
    },
)


def signals(**first: Any) -> "plots.Figure | Shown":
    """Show what depth, normalisation, skip and a zero gamma do to signal and gradient.

    Args:
        **first: the values to begin with, as `draw_signals` takes them.

    Returns and errors are those of `networks`.
    """
    return SIGNALS.show(first)
