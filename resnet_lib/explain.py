"""What a network looked at: maps over a picture, and what shows whether a map can be believed.

All of them explain one number, the logit of a class: what the softmax takes. The probability would
be the wrong number, for it is flat where a network is sure, and depends on all classes at once.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from . import checks
from .inspection import gradients
from .replay import Graph, graph_of, has_softmax, steps_named, without_softmax
from .training.copies import checked, copied, layers_of

GAP = 0.05  # How far the sum of integrated gradients may be from what it should be.


def gradcam(
    model: keras.Model,
    picture: np.ndarray,
    class_index: int | None = None,
    *,
    layer: str | None = None,
) -> np.ndarray:
    """Map where a network saw what speaks for a class: Grad-CAM.

    The last feature map is summed over its channels, each weighted by the mean gradient of the
    class's logit by it; negative sums become 0. The map is as coarse as that feature map (8x8
    pixels in a CIFAR network) and is enlarged to the picture without adding detail.

    Args:
        model: functional or sequential `keras.Model` that classifies pictures, others nested in it
            allowed: a network trained here, one of keras.applications, or one on top of another.
        picture: array of shape (height, width, channels), as the model takes pictures: 0-255 for
            a network with its preprocessing inside, else what its `preprocess_input` returns.
        class_index: number of the class; None: the one that the model takes it for.
        layer: name of the layer, or of the nested model, whose feature map is taken; None: the last
            one of more than one pixel.

    Returns:
        float32 array (height, width), at least 0. Only its proportions mean something.

    Raises:
        ValueError: if the model has no such feature map, the picture does not fit, or there is no
            such class.

    Source: Selvaraju et al. 2017 (arXiv 1610.02391), section 3.
    """
    graph, picture, class_index = _asked(model, picture, class_index)
    with without_softmax(graph) as logits:
        number, features = _feature_map(graph, logits, layer, picture)
        [slopes] = gradients(_score(graph, number, logits, class_index), [features])
    features = keras.ops.convert_to_numpy(keras.ops.cast(features, "float32"))
    coarse = np.maximum((features * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1), 0)
    fine = keras.ops.image.resize(
        coarse[..., None], picture.shape[:2], interpolation="bilinear", data_format="channels_last"
    )
    return keras.ops.convert_to_numpy(fine)[0, ..., 0].astype("float32")


def occlusion(
    model: keras.Model,
    picture: np.ndarray,
    class_index: int | None = None,
    *,
    size: int | None = None,
    stride: int | None = None,
    fill: float | Sequence[float] | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Map how much a class's logit falls where a square hides the picture.

    It needs no gradient: the network is asked again for each place of the square.

    Args:
        model: as for `gradcam`.
        picture: as for `gradcam`.
        class_index: as for `gradcam`.
        size: side of the square in pixels; None: a quarter of the shorter side.
        stride: how many pixels it moves at a time, at most `size`; None: half of its side.
        fill: what it shows, a number or one for each channel; None: the picture's mean colour.
        batch_size: pictures at a time.

    Returns:
        float32 array (height, width): the fall of the logit, mean over the squares that hid the
        pixel. Negative: hiding it speaks for the class.

    Raises:
        ValueError: as `gradcam`, and for a square that does not fit.

    Source: Zeiler and Fergus 2014 (arXiv 1311.2901), section 4.2.
    """
    graph, picture, class_index = _asked(model, picture, class_index)
    sides = picture.shape[:2]
    size = checks.count("size", max(1, min(sides) // 4) if size is None else size, most=min(sides))
    stride = checks.count("stride", max(1, size // 2) if stride is None else stride, most=size)
    fill = picture.mean(axis=(0, 1)) if fill is None else np.asarray(fill, "float32")
    corners = [
        (y, x) for y in _places(sides[0], size, stride) for x in _places(sides[1], size, stride)
    ]
    whole, *hidden = _scores(graph, _hidden(picture, corners, size, fill), class_index, batch_size)
    total, count = np.zeros(sides), np.zeros(sides)
    for (y, x), score in zip(corners, hidden, strict=True):
        total[y : y + size, x : x + size] += whole - score
        count[y : y + size, x : x + size] += 1
    return (total / count).astype("float32")


def _places(side, size, stride):
    """Where squares begin along a side, so that all pixels are hidden by one."""
    return sorted({*range(0, side - size, stride), side - size})


def _hidden(picture, corners, size, fill):
    """Yield the picture, then the picture behind each square."""
    yield picture
    for y, x in corners:
        behind = picture.copy()
        behind[y : y + size, x : x + size] = fill
        yield behind


def integrated_gradients(
    model: keras.Model,
    picture: np.ndarray,
    class_index: int | None = None,
    *,
    baseline: float | np.ndarray = 0.0,
    steps: int = 64,
    batch_size: int = 16,
) -> np.ndarray:
    """Map how much each pixel adds to a class's logit on the way from a baseline to the picture.

    Gradients by the picture are averaged along the straight line from the baseline and multiplied
    by the difference. They are complete: their sum is the logit of the picture less that of the
    baseline, up to the finite number of steps; a sum that is off by more than 5 % is warned of.

    Args:
        model: as for `gradcam`.
        picture: as for `gradcam`.
        class_index: as for `gradcam`.
        baseline: a number, or an array that broadcasts to the picture: what counts as nothing
            there. 0 is black for a network with its preprocessing inside; where a picture is
            preprocessed before, it is the colour that becomes 0. A baseline's own colour cannot be
            found to matter.
        steps: gradients on the way.
        batch_size: pictures at a time.

    Returns:
        float32 array (height, width), summed over the channels. Negative: speaks against the class.

    Raises:
        ValueError: as `gradcam`.

    Source: Sundararajan et al. 2017 (arXiv 1703.01365), sections 3 and 5.
    """
    graph, picture, class_index = _asked(model, picture, class_index)
    steps = checks.count("steps", steps)
    start = np.broadcast_to(np.asarray(baseline, "float32"), picture.shape)
    shares = (np.arange(steps) + 0.5) / steps
    total = np.zeros(picture.shape)
    with without_softmax(graph) as logits:
        score = _score(graph, 0, logits, class_index)
        for begin in range(0, steps, batch_size):
            some = shares[begin : begin + batch_size, None, None, None]
            [slopes] = gradients(score, [(start + some * (picture - start)).astype("float32")])
            total += slopes.sum(axis=0)
    added = (picture - start) * total / steps
    _check_complete(added, _scores(graph, [start, picture], class_index, batch_size), steps)
    return added.sum(axis=-1).astype("float32")


def _check_complete(added, scores, steps):
    found, wanted = added.sum(), scores[1] - scores[0]
    if abs(found - wanted) > GAP * max(abs(wanted), GAP * abs(added).sum()):
        checks.warn(
            f"the integrated gradients add up to {found:.4g}, and the logit changes by "
            f"{wanted:.4g}: take more than steps={steps}"
        )


# What shows whether a map can be believed


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """Return a copy of a network that has learnt nothing: its weights are shuffled.

    The numbers in each kernel, bias, scale and shift are put in a random order, frozen ones too:
    their mean and spread stay. Statistics (of batch normalisation, of preprocessing) stay as well.
    A map that is the same for this network shows the picture, not what was learnt. Its Grad-CAM is
    often 0 everywhere for a given class, which is another map, too.

    Args:
        model: functional or sequential `keras.Model`. It stays as it is.
        seed: of the order.

    Returns:
        `keras.Model` of the same layers.

    Source: Adebayo et al. 2018 (arXiv 1810.03292), section 3, the independent randomization.
    """
    random = np.random.default_rng(seed)
    copy = copied(checked(model))
    for layer in layers_of(copy):
        for part in layer._flatten_layers():
            for weight in part._trainable_variables:
                value = keras.ops.convert_to_numpy(weight)
                weight.assign(random.permutation(value.ravel()).reshape(value.shape))
    return copy


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return how alike two maps are: Spearman's correlation of the ranks of their pixels.

    Args:
        one: array.
        other: array of the same shape.

    Returns:
        float from -1 to 1: 1 where the pixels stand in the same order, about 0 for maps that have
        nothing to do with each other; nan where a map is the same everywhere.

    Raises:
        ValueError: if the shapes differ.

    Source: Adebayo et al. 2018 (arXiv 1810.03292), section 3.
    """
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        raise ValueError(f"Expected two maps of one shape. Received: {one.shape} and {other.shape}")
    ranks = [_ranks(one), _ranks(other)]
    if min(rank.std() for rank in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values):
    """Ranks, from 0; those that are equal share the mean of theirs."""
    _, place, count = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place.ravel()]


def planted(
    images: np.ndarray,
    labels: np.ndarray,
    class_index: int,
    *,
    colour: Sequence[int] = (255, 0, 255),
    size: int | None = None,
) -> np.ndarray:
    """Return pictures in which one class, and no other, has a coloured square in its corner.

    A network can then know the class without looking at what it shows: a shortcut, as a label in
    the corner or the snow behind the wolves is. A test part with the same square does not tell.

    Args:
        images: uint8 array of shape (n, height, width, channels). It stays as it is.
        labels: int array of shape (n,).
        class_index: the class that gets the square.
        colour: a number from 0 to 255 for each channel.
        size: its side in pixels; None: an eighth of the shorter side, at least 2.

    Returns:
        uint8 array of the same shape.
    """
    side = min(images.shape[1:3])
    size = checks.count("size", max(2, side // 8) if size is None else size, most=side)
    if len(colour) != images.shape[-1]:
        raise ValueError(
            f"Expected `colour` with a number for each of {images.shape[-1]} channels. "
            f"Received: {colour!r}"
        )
    images = images.copy()
    # Not images[labels == class_index][:, …], which would write into a copy.
    images[np.asarray(labels) == class_index, :size, :size] = colour
    return images


# A model, a picture, a class


def _asked(model, picture, class_index) -> tuple[Graph, np.ndarray, int]:
    """Return the model as a row of steps, the picture in float32, the class; or refuse them."""
    graph = graph_of(checked(model))
    picture = _fitting(model, picture)
    [found] = graph.compute({0: _batch([picture])}, [graph.output])
    found = keras.ops.convert_to_numpy(keras.ops.cast(found, "float32"))
    if found.ndim != 2:
        raise ValueError(
            "Expected a model that returns a number for each class. "
            f"Received: {model.name}, which returns {found.shape[1:]} for a picture"
        )
    _check_logits(graph, found[0])
    if class_index is None:
        return graph, picture, int(found[0].argmax())
    return graph, picture, checks.count("class_index", class_index, 0, found.shape[1] - 1)


def _fitting(model, picture):
    found = np.asarray(picture)
    wanted = tuple(getattr(model, "_functional", model).inputs[0].shape[1:])
    fits = len(wanted) == found.ndim == 3 and all(
        side in (None, given) for side, given in zip(wanted, found.shape, strict=True)
    )
    if not fits or not np.issubdtype(found.dtype, np.number):
        raise ValueError(
            f"Expected one picture of shape {wanted} (height, width, channels) as {model.name} "
            f"takes it. Received: {found.dtype} of shape {found.shape}"
        )
    return found.astype("float32")


def _check_logits(graph, outputs):
    """Refuse probabilities whose softmax is not found: their gradient would pass for another."""
    sure = len(outputs) > 1 and np.all(outputs >= 0) and abs(outputs.sum() - 1) < 1e-3
    if sure and not has_softmax(graph):
        raise ValueError(
            "Expected a model whose softmax is its last layer, the last one's activation or a "
            f"keras.ops.softmax, so that its logits are found. Received: {graph.model.name}, which "
            "returns probabilities and ends otherwise"
        )


def _batch(pictures):
    return keras.ops.convert_to_tensor(np.stack(pictures), "float32")


def _score(graph: Graph, number: int, logits: int, class_index: int) -> Callable:
    """Return the function of a value inside that sums a class's logit over the batch."""

    def score(value):
        [found] = graph.compute({number: value}, [logits])
        return keras.ops.sum(keras.ops.cast(found[:, class_index], "float32"))

    return score


def _scores(graph, pictures, class_index, batch_size):
    """Return a class's logit for each picture: float64 array."""
    pictures, found = list(pictures), []
    with without_softmax(graph) as logits:
        for start in range(0, len(pictures), batch_size):
            some = {0: _batch(pictures[start : start + batch_size])}
            [rows] = graph.compute(some, [logits])
            found.append(
                keras.ops.convert_to_numpy(keras.ops.cast(rows, "float32"))[:, class_index]
            )
    return np.concatenate(found).astype("float64")


def _feature_map(graph, logits, layer, picture):
    """Return the number and the value of the feature map that Grad-CAM weighs."""
    given = {0: _batch([picture])}
    for number in _maps(graph, logits) if layer is None else [_map_named(graph, logits, layer)]:
        [features] = graph.compute(given, [number])
        if layer is not None or tuple(features.shape[1:3]) != (1, 1):
            return number, features
    raise ValueError(
        "Expected a model with a feature map behind a convolution, of more than one pixel. "
        f"Received: {graph.model.name}, without one"
    )


def _maps(graph, logits):
    """Yield the numbers of the feature maps that lead to the logits, the last one first."""
    places = graph.between([0], [logits])
    convolved = [p for p in places if isinstance(graph.steps[p].operation, _CONVOLUTIONS)]
    for place in reversed(places):
        step = graph.steps[place]
        if len(step.shape) == 4 and convolved and place >= convolved[0]:
            yield step.made[0]


def _map_named(graph, logits, layer):
    """Return the number of a layer's feature map; of a nested model's, the last one."""
    steps = steps_named(graph, layer)
    for step in reversed(steps):
        if len(step.shape) == 4 and graph.depends(logits, step.made[0]):
            return step.made[0]
    raise ValueError(
        "Expected a layer whose feature map, of (height, width, channels), leads to the "
        f"classes. Received: {layer!r}, which outputs {steps[-1].shape[1:]}"
    )


_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
