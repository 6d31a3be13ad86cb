"""The copy of a network that is trained: with its preprocessing inside, as the recipe says."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ..datasets.base import Dataset
from .copies import checked, copied, is_graph, is_keras, layers_of
from .optimizers import FACTOR, Muon

if TYPE_CHECKING:
    from ..recipes import Recipe

# The names of what is put in front of a network.
LAYERS = ("pixels", "scale", "subtract_mean", "standardize")
KERNELS = {"kernel_regularizer", "depthwise_regularizer", "pointwise_regularizer"}
REGULARIZERS = KERNELS | {"bias_regularizer", "gamma_regularizer", "beta_regularizer"}

# How far from the pixels that are fed in what the first layers with weights see may be: by which
# factors in spread, and by how many spreads further from 0 in the mean. Chosen by trying scales and
# shifts with small networks: within these bounds they learn, at a lower rate if need be; with
# x / 255 or a mean of 100 taken off they stay near chance.
SPREAD = (1 / 4, 6)
SHIFT = 2.25
PICTURES = 4  # of the training images, and as many grey ones, to try a model with


def make_loss(recipe: "Recipe", weights: Sequence[float] | None = None) -> str | Callable:
    """Return the loss of a recipe, of labels that are whole numbers, as `compile` takes it.

    Args:
        recipe: `resnet_lib.recipes.Recipe`.
        weights: what the loss of a picture of each class counts; None: one. They are part of the
            loss, and not of the batches, so that each way of running a step has them.
    """
    share = recipe.label_smoothing
    if not share and weights is None:
        return "sparse_categorical_crossentropy"
    weights = None if weights is None else np.array(weights, "float32")

    def crossentropy(labels, probabilities):
        labels = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
        whole = keras.ops.one_hot(labels, probabilities.shape[-1])
        losses = keras.losses.categorical_crossentropy(whole, probabilities, label_smoothing=share)
        return losses if weights is None else losses * keras.ops.take(weights, labels)

    return crossentropy


@contextmanager
def float32() -> Iterator[None]:
    """Make float32 what Keras takes where nothing else is said; afterwards all is as it was."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def prepared(
    model: keras.Model,
    recipe: "Recipe",
    precision: str = "float32",
    images: np.ndarray | None = None,
    *,
    any_size: bool = False,
    synchronized: bool = False,
) -> keras.Model:
    """Return a copy of `model` with the recipe's batch normalisation and weight decay.

    What is frozen stays as it is: its batch normalisation has the epsilon that it was trained with,
    and its kernels do not decay.

    Args:
        model: functional or sequential `keras.Model` with one input and one output.
        recipe: `resnet_lib.recipes.Recipe`. With a decay of its own, the model's regularizers go.
        precision: "float32", or "mixed_bfloat16" or "mixed_float16" for Keras' own layers, but for
            those from the last one with weights on. Layers of one's own are in float32.
        images: uint8 array (n, height, width, channels), the training images: with them, the copy
            is that of `with_preprocessing`.
        any_size: whether the copy takes images of any height and width.
        synchronized: whether batch normalisation takes its statistics over all devices, where
            TensorFlow must be told; JAX does so anyway.

    Returns:
        `keras.Model` with the weights of `model`.

    Raises:
        ValueError: if the copy should take any size and `model` cannot.
    """
    exact = head_of(model)

    def changed(layer, config):
        config = _in_float32(layer, config)
        own = all(is_keras(type(part)) for part in layer._flatten_layers())
        if config.get("dtype") == "float32" and own and id(layer) not in exact:
            config["dtype"] = precision
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            wanted = {"momentum": recipe.bn_momentum, "epsilon": recipe.bn_epsilon}
            config |= {name: value for name, value in wanted.items() if value is not None}
            if synchronized and keras.backend.backend() == "tensorflow":
                config["synchronized"] = True
        if recipe.weight_decay is not None:
            stays = not layer.trainable or _is_factor(layer) or _keeps_length(layer, recipe)
            factor = None if stays else recipe.weight_decay.l2
            l2 = keras.regularizers.L2(factor) if factor else None
            config |= {name: l2 if name in KERNELS else None for name in REGULARIZERS & set(config)}
        return config

    if images is None:
        return copied(model, changed)
    return with_preprocessing(model, images, recipe.normalize, any_size=any_size, changed=changed)


def _is_factor(layer):
    """Say whether a layer multiplies by trained numbers and does nothing else."""
    return re.search(FACTOR, layer.name) is not None


def _keeps_length(layer, recipe):
    """Say whether the length of a layer's kernels is given by Muon, so that no decay shortens it.

    A penalty would outweigh the gradient of the loss in the direction of its step.
    """
    return recipe.optimizer == "muon" and any(map(Muon.trains, layer.weights))


def _in_float32(layer, config):
    """Set the precision of a layer, whatever the policy was when it was made, but not of counts."""
    if "dtype" in config and keras.backend.is_float_dtype(layer.compute_dtype):
        config["dtype"] = "float32"
    return config


def head_of(model: keras.Model) -> set[int]:
    """Return the ids of the last layer with weights, of what is in it, and of all layers after."""
    layers = list(layers_of(model))
    last = max((place for place, layer in enumerate(layers) if layer.weights), default=0)
    return {id(part) for layer in layers[last:] for part in layer._flatten_layers()}


def with_preprocessing(
    model: keras.Model,
    images: np.ndarray,
    normalize: str | None = "image",
    *,
    any_size: bool = False,
    changed: Callable[[keras.Layer, dict], dict] | None = None,
) -> keras.Model:
    """Return a copy of `model` that takes images of 0-255 and scales them itself.

    Args:
        model: a Keras model of float images.
        images: uint8 array (n, height, width, channels), the training images.
        normalize: "image": the mean training image is subtracted; "channel": the mean of each
            channel is, and the rest divided by the channel's standard deviation; None: neither.
            "inside": nothing is done, for `model` takes 0-255 itself.
        any_size: whether the copy takes images of any height and width.
        changed: what else is other in the copy; see `copied`.

    Returns:
        `keras.Model`, (batch, height, width, channels) in 0-255 -> what `model` outputs.

    Raises:
        ValueError: if the copy should take any size and `model` cannot.
    """
    shape = (None, None, images.shape[3]) if any_size else images.shape[1:]
    inputs = keras.Input(shape, name="pixels", dtype="float32")
    try:
        return copied(model, changed, inputs, preprocessing(images, normalize))
    except (ValueError, TypeError) as error:
        if not any_size:
            raise
        raise ValueError(
            f"Expected a model that takes images of any size, for the recipe changes theirs. "
            f"Received: {model.name}, which does not: try replace(recipe, sizes=((1, 1),))."
        ) from error


def preprocessing(images: np.ndarray, normalize: str | None) -> Callable:
    """Return the function that scales and normalizes 0-255 images: see `with_preprocessing`."""
    if normalize == "inside":
        return lambda pixels: pixels
    scale = keras.layers.Rescaling(1 / 255, name="scale", dtype="float32")
    if normalize is None:
        return scale
    normalization = _normalization(images, normalize)
    return lambda pixels: normalization(scale(pixels))


def _normalization(images, normalize):
    """Return the layer that takes the training images' mean off images of 0-1."""
    if normalize == "image":
        mean = _mean_image(images)
        return keras.layers.Normalization(
            axis=(1, 2, 3),
            mean=mean,
            variance=np.ones_like(mean),
            name="subtract_mean",
            dtype="float32",
        )
    squares = sum(np.square(part, dtype=np.int32).sum((0, 1, 2)) for part in _parts(images))
    size = images[..., 0].size
    mean = sum(part.sum((0, 1, 2), dtype=np.int64) for part in _parts(images)) / (255 * size)
    variance = squares / (255**2 * size) - mean**2
    variance = np.maximum(variance, 1 / 255**2)  # A channel that never changes stays near 0.
    return keras.layers.Normalization(
        axis=-1,
        mean=mean.astype("float32"),
        variance=variance.astype("float32"),
        name="standardize",
        dtype="float32",
    )


def _mean_image(images):
    """Mean over the images, in 0-1, summed in whole numbers: no second copy as floats."""
    return (images.sum(axis=0, dtype=np.int64) / (255 * len(images))).astype("float32")


def _parts(images, size=1000):
    return (images[start : start + size] for start in range(0, len(images), size))


# Whitening


WHITENED = 5000  # images whose patches are looked at
FLOOR = 5e-4  # added to the variances, so that what hardly varies is not blown up


def whitened(model: keras.Model, images: np.ndarray, normalize: str | None) -> keras.Model:
    """Return a copy of a model whose first layer whitens the patches of the training images.

    The kernels of that layer become the eigenvectors of the covariance of the patches, as the
    recipe normalizes them, each over the root of its eigenvalue, and their negatives: what it
    returns for such patches is uncorrelated, with mean squares of 1, or less where the patches
    hardly vary. It is frozen.

    Args:
        model: a model that begins with a convolution of 2 * (numbers in a patch) filters.
        images: uint8 array (n, height, width, channels), the training images.
        normalize: as in `with_preprocessing`.

    Raises:
        ValueError: if the model does not begin so.

    Source: arXiv 2404.00498, section 3.2.
    """
    copy = copied(model)
    layer = whitenable(copy)
    kernels = whitening(preprocessing(images, normalize), images, layer.kernel_size)
    layer.kernel.assign(np.concatenate([kernels, -kernels], axis=-1))
    if layer.use_bias:
        layer.bias.assign(np.zeros(layer.bias.shape))
    layer.trainable = False
    return copy


def whitening(prepare: Callable, images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return kernels that whiten patches: float32 array (*size, channels, numbers in a patch).

    Args:
        prepare: function that scales and normalizes 0-255 images.
        images: uint8 array (n, height, width, channels).
        size: height and width of a patch, in pixels.
    """
    some = images[np.linspace(0, len(images) - 1, min(len(images), WHITENED)).astype(int)]
    some = keras.ops.convert_to_numpy(prepare(some.astype("float32")))
    patches = np.lib.stride_tricks.sliding_window_view(some, size, axis=(1, 2))
    patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, math.prod(size) * images.shape[-1])
    values, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    return (vectors / np.sqrt(values + FLOOR)).reshape(*size, images.shape[-1], -1)


def whitenable(model: keras.Model) -> keras.layers.Conv2D:
    """Return the first layer of a model, which is to whiten patches.

    Args:
        model: `keras.Model`.

    Raises:
        ValueError: if it cannot.
    """
    first = next((each for each in _operations(model) if _has_weights(each)), None)
    if first is not None and not first.trainable:
        received = f"{first.name}, which is frozen, at its beginning"
    elif isinstance(first, keras.layers.Conv2D) and first is next(iter(_operations(model))):
        wanted = 2 * math.prod(first.kernel.shape[:3])
        if first.filters == wanted and first.groups == 1:
            return first
        received = f"{first.name} with {first.filters} filters, where {wanted} do"
    else:
        received = "another layer at its beginning"
    raise ValueError(
        "Expected a model that begins with a convolution of two filters for each number of a "
        "patch, such as resnet_fast, for the recipe's whiten=True: try replace(recipe, "
        f"whiten=False). Received: {model.name}, which has {received}"
    )


# What can be refused, before anything is done.


def check_model(model: Any, data: Dataset, recipe: "Recipe") -> None:
    """Refuse a model that cannot be trained, or not well, on `data` as `recipe` says.

    What it computes is looked at for a few pictures, in a copy: whether it returns probabilities,
    and whether its first layers with weights see the pixels about as `train` feeds them.

    Raises:
        ValueError: what was expected and what was received, and how to mend it.
    """
    _check_ends(checked(model))
    _check_shapes(model, data)
    if recipe.whiten:
        whitenable(model)
    if recipe.head:
        _check_head(model)
    images = data.train.images
    shown = _shown(images)
    fed = preprocessing(images[:: math.ceil(len(images) / 1000)], recipe.normalize)(shown)
    first, results = _first_seen(model, fed)
    _check_probabilities(model, results)
    if recipe.normalize == "inside":
        _check_inside(model, first, _mean_and_spread(fed))
        return
    _check_pixels(model, first, _mean_and_spread(fed), recipe)
    if taken := set(LAYERS[1:]) & {layer.name for layer in model.layers}:
        raise ValueError(
            "Expected a model without layers of the names that `train` gives to those that it "
            f"adds. Received: {model.name} with {', '.join(sorted(taken))}: call them otherwise"
        )


def _check_head(model):
    head = head_of(model)
    last = [layer for layer in model._flatten_layers() if id(layer) in head]
    if not any(layer.trainable_weights for layer in last):
        raise ValueError(
            "Expected a last layer that can be trained, for the recipe trains it alone "
            f"at first. Received: {model.name}, in which it is frozen"
        )


def _first_seen(model, fed):
    """Return what the first layers with weights see, a list of (name, what), and two outputs."""
    probe = copied(model, _in_float32, keras.Input(fed.shape[1:], dtype="float32"))
    noted = _noting(probe)
    results = [keras.ops.convert_to_numpy(probe(fed, training=False))]
    before = list(noted)
    noted.clear()
    _disturb(probe)
    results.append(keras.ops.convert_to_numpy(probe(fed, training=False)))
    # What other weights leave as it was comes before all weights.
    pairs = zip(noted, before, strict=True)
    first = [
        (name, seen)
        for (name, seen), (_, then) in pairs
        if np.array_equal(seen, then, equal_nan=True)
    ]
    return first, results


def sees_pixels(model: keras.Model, images: np.ndarray) -> str | None:
    """Return the name of a layer with weights that sees pixels of 0-255 as they are; None: none.

    A model without such a layer has preprocessing of its own. So has a trained one that begins with
    a layer normalisation, or with a batch normalisation whose statistics are those of pixels.

    Args:
        model: functional or sequential `keras.Model` with one input and one output.
        images: uint8 array (n, height, width, channels).
    """
    shown = _shown(images)
    first, _ = _first_seen(checked(model), shown)
    return _raw(model, first, _mean_and_spread(shown), trained=True)


def _raw(model, first, fed, *, trained=False):
    """Return the name of a layer that sees pixels as they are; None: none.

    A batch normalisation makes up for them where it learns, unless the model is `trained` already.
    """
    layers = {layer.name: layer for layer in model._flatten_layers()}
    for name, (_, greys) in first:
        # Zeros around pictures take something off both; what takes the mean off leaves less of it.
        raw = all(0.4 * then < now < 1.5 * then for now, then in zip(greys, fed[1], strict=True))
        if raw and not _normalizes(layers.get(name), fed, trained):
            return name
    return None


def _normalizes(layer, fed, trained):
    """Say whether a layer brings pixels to a mean of 0 and a spread of 1, or learns to."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        return isinstance(layer, keras.layers.LayerNormalization)
    if layer.trainable and not trained:
        return True
    spread = float(keras.ops.mean(keras.ops.sqrt(layer.moving_variance)))
    return spread > _OF_PIXELS * fed[0][1]


_OF_PIXELS = 0.1  # Of the spread of pixels, below which a frozen BN's is that of others.


def _check_ends(model):
    expected = "Expected a model with one input and one output. Received: "
    if len(model.inputs) != 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise ValueError(
            f"{expected}{model.name} with {len(model.inputs)} inputs, {names}: `train` feeds "
            "pictures alone, so make the others constants, or layers on the pictures"
        )
    if len(model.outputs) != 1:
        raise ValueError(
            f"{expected}{model.name} with {len(model.outputs)} outputs: take the one to train, "
            "as keras.Model(model.inputs, model.outputs[0])"
        )
    if not model.trainable_weights:
        raise ValueError(
            f"Expected a model with weights to train. Received: {model.name}, in which none can be "
            "trained: where they are frozen, set model.trainable = True, then freeze single layers"
        )


def _check_shapes(model, data):
    images, classes = data.image_shape, data.num_classes
    (_, *wanted), (_, *given) = model.inputs[0].shape, model.outputs[0].shape
    fits = len(wanted) == len(images) and all(
        side in (None, found) for side, found in zip(wanted, images, strict=True)
    )
    if not fits or given != [classes]:
        returned = f"{given[0]} classes" if len(given) == 1 else f"outputs of {tuple(given)}"
        raise ValueError(
            f"Expected a model for images of {images} and {classes} classes. "
            f"Received: {model.name} for images of {tuple(wanted)} and {returned}"
        )


def _shown(images):
    """Return some training images, and as many of one grey each, from black to white.

    The grey ones are the same after pooling, blurring, cropping or resizing.
    """
    some = images[np.linspace(0, len(images) - 1, PICTURES).astype(int)]
    greys = np.linspace(0, 255, PICTURES).reshape(-1, 1, 1, 1)
    return np.concatenate([some, np.broadcast_to(greys, some.shape)]).astype("float32")


def _noting(model):
    """Make layers with weights note what they take; return the list of (name, what) that grows."""
    noted = []

    def noting(name, call):
        def noted_call(*args, **kwargs):
            for each in keras.tree.flatten((args, kwargs)):
                if keras.ops.is_tensor(each) and keras.backend.is_float_dtype(each.dtype):
                    noted.append((name, _mean_and_spread(each)))
            return call(*args, **kwargs)

        return noted_call

    for layer in model._flatten_layers():
        if layer._trainable_variables:
            layer.call = noting(layer.name, layer.call)
    return noted


def _mean_and_spread(tensor):
    """Return mean and standard deviation for the training images and for the grey ones."""
    array = keras.ops.convert_to_numpy(tensor).astype("float32")
    halves = np.array_split(array, 2) if array.ndim and len(array) > 1 else [array, array]
    return [(float(half.mean()), float(half.std())) for half in halves]


def _disturb(model):
    """Give a model somewhat different weights; also those that were all the same."""
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        for weight in layer._trainable_variables:
            value = keras.ops.convert_to_numpy(weight)
            weight.assign(value + 0.1 * (value.std() or 0.5) * random.normal(size=value.shape))


def _check_probabilities(model, results):
    rows = np.concatenate(results)
    rows = rows[np.isfinite(rows).all(axis=1)]  # Training says what it finds of others.
    sums = rows.sum(axis=1)
    wrong = np.flatnonzero((np.abs(sums - 1) > 0.02) | (rows < -0.01).any(axis=1))
    if len(wrong):
        row = rows[wrong[0]]
        raise ValueError(
            "Expected a model that returns probabilities, numbers from 0 to 1 that add up to 1 for "
            f"each picture, as after a softmax. Received: {model.name}, whose last layer, "
            f"{model.layers[-1].name}, returns {row.min():.2g} to {row.max():.2g}, which add up "
            f"to {row.sum():.2g}"
        )


def _check_pixels(model, first, fed, recipe):
    for name, seen in first:
        # What is the same for both kinds of images does not come from them.
        if seen[0] != seen[1] and all(map(_far, seen, fed)):
            in_front = _in_front(model) or [name]
            ours = set(LAYERS) & set(in_front)
            hint = " (`train` has added them: hand it the model without them)" if ours else ""
            raise ValueError(
                "Expected a model without preprocessing of its own: it takes pictures scaled to "
                f"0-1, and `train` adds the rest, recipe.normalize={recipe.normalize!r}. "
                f"Received: {model.name}, in which {', '.join(in_front)}{hint} make "
                f"{_told(seen[0])} of pixels with {_told(fed[0])}. If it takes pixels of 0-255 and "
                'has all it needs inside, replace(recipe, normalize="inside") leaves them to it; '
                "rl.finetune does so with a trained network"
            )


def _check_inside(model, first, fed):
    if raw := _raw(model, first, fed):
        raise ValueError(
            'Expected a model with its preprocessing inside, for normalize="inside" leaves pixels '
            f"of 0-255 to it. Received: {model.name}, in which {raw} sees them as they are; with "
            "rl.finetune, preprocessing= says what the base was trained with"
        )


def _far(seen, fed):
    """Say whether a (mean, spread) is far from the one that was fed in."""
    (mean, spread), (fed_mean, fed_spread) = seen, fed
    if not SPREAD[0] * fed_spread <= spread <= SPREAD[1] * fed_spread or not spread:
        return True
    return abs(mean) / spread > abs(fed_mean) / fed_spread + SHIFT


def _told(mean_and_spread):
    return "mean {:.2g} and spread {:.2g}".format(*mean_and_spread)


def _in_front(model):
    """Return the names of the layers and operations before the first one with weights."""
    before = takewhile(lambda each: not _has_weights(each), _operations(model))
    return [operation.name for operation in before]


def _operations(model):
    """Yield the operations of a model and of the models inside it, in order, but for its inputs."""
    for operation in getattr(model, "operations", model.layers):
        if is_graph(operation):
            yield from _operations(operation)
        elif not isinstance(operation, keras.layers.InputLayer):
            yield operation


def _has_weights(operation):
    parts = operation._flatten_layers() if isinstance(operation, keras.Layer) else []
    return any(part._trainable_variables for part in parts)
