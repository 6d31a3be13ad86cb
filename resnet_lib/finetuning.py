"""Fine-tune: from a network that is trained already to one for pictures of one's own.

    data = rl.datasets.image_folder("pictures")
    run = rl.finetune(data, out="runs/mine")

It is `resnet_lib.train` with a network that begins with another's layers, and a recipe that trains
the new head first.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import bases, checks, recipes, records, runtime
from .datasets.base import Dataset, Split
from .training import hosts
from .training.copies import checked, copied, is_graph
from .training.network import float32, head_of, sees_pixels
from .training.run import train

# The steps that a set of few pictures gets, and the epochs that a large one gets at least.
STEPS, FEWEST, MOST = 300, 10, 60


@float32()
def finetune(
    data: Dataset,
    base: str | Path | keras.Model | bases.Base = bases.DEFAULT,
    recipe: recipes.Recipe | None = None,
    *,
    stages: int | str = 2,
    preprocessing: str | Callable | None = None,
    size: int | None = None,
    dropout: float = 0.0,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> records.Run:
    """Train a network for `data` that begins with what another has learnt.

    The head of `base` is replaced by one for the classes of `data`. In the first epochs the head
    alone is trained: it begins with random weights, and what it would hand down would spoil the
    rest. Then the upper stages are trained with it, at a small rate.

    Batch normalisation is frozen in both phases: its scale and shift stay, and it runs in inference
    mode, with the mean and variance that it has from many pictures. In training mode it would take
    those of a batch of few pictures, which are noise, and overwrite its own by them. In Keras,
    `trainable = False` of such a layer means both; `training=False` where it is called does not
    hold in `fit`.

    >>> run = rl.finetune(rl.datasets.image_folder("pictures"), out="runs/mine")
    >>> print(run)
    >>> run.model.predict(pictures)  # 0-255 in, probabilities out

    Args:
        data: `resnet_lib.datasets.Dataset`. Pictures of another size than `base` was trained on are
            resized, those that are not as wide in proportion lose both ends of the longer side;
            grey ones get three channels. What was done is said, and stands in the record.
        base: "resnet20v1-cifar10", another of `resnet_lib.bases.names()`, such as
            "resnet50-imagenet", which Keras downloads; the path of a .keras file or of a run's
            folder; or a `keras.Model`, with a head or without, which stays as it is.
        recipe: `resnet_lib.recipes.Recipe`; None: `recipes.FINE_TUNE`, in more epochs where there
            are few pictures and fewer where there are many: see `suited`. Its `normalize` is
            "inside" in any case.
        stages: how many of the upper stages are trained after the head; a stage is what has feature
            maps of one height and width. "all", or 0 for the head alone.
        preprocessing: what pixels of 0-255 go through before `base` takes them, where it has
            nothing for that inside: "caffe" (keras.applications' ResNet50 and VGG16), "tf" (its
            ResNet50V2 and MobileNet), "torch" (its DenseNet121), "0-1", or a function of a Keras
            tensor. It becomes a part of the trained network. None: it is inside of `base` already.
        size: height and width of the pictures in place of those that `base` was trained on.
        dropout: share of the features that are set to zero in training, before the head.
        batch_size: images in a batch in place of the recipe's.
        seed: as for `train`; the head's first weights depend on it too.
        progress: as for `train`.
        **options: of `train`, as there: out, resume, epochs, deterministic, execution, devices,
            tensorboard, callbacks, class_weight, notes. Each of the two phases is a `fit` of its
            own.

    Returns:
        `resnet_lib.records.Run`, as from `train`. Its model takes pictures of 0-255 of the size
        that it was trained at. The record says under "base" what it began with.

    Raises:
        TypeError: for an option that `train` does not have.
        ValueError: as `train`; and if `base` is none, has no features to build on, takes no such
            pictures, or is prepared twice or not at all.
        ConnectionError: if `base` must be downloaded and cannot be, with those that need not.
        Exception: what else `train` raises.

    Source: after Howard and Ruder 2018 (arXiv 1801.06146), section 3.3, for networks of pictures.
    """
    if not isinstance(data, Dataset):
        raise ValueError(
            f"Expected `data` to be a resnet_lib.datasets.Dataset. Received: {data!r:.80}"
        )
    if recipe is not None and not isinstance(recipe, recipes.Recipe):
        raise ValueError(
            f"Expected `recipe` to be a Recipe, such as recipes.FINE_TUNE. Received: {recipe!r}"
        )
    signature(train).bind_partial(**options)  # Refused here, before anything is downloaded.
    seed = checks.count("seed", seed, least=0)
    recipe = replace(recipe or suited(data, batch_size), normalize="inside")
    began = bases.find(base)
    resized = fitted(data, shape_for(began, data, size))
    chosen = dict(stages=stages, preprocessing=preprocessing, dropout=dropout)
    model = tunable(began, resized, **chosen, seed=seed)
    if resized is not data and progress and hosts.is_first():
        runtime.say(f"{began.name} takes other pictures: {resized.source}")
    described = {
        "name": began.name,
        "sha256": _digest(model),
        "pictures": list(data.image_shape),  # As they were before they were resized.
        **chosen,
        "preprocessing": _told(began.preprocessing or preprocessing),
    }
    options |= dict(batch_size=batch_size, seed=seed, progress=progress, base=described)
    return train(model, resized, recipe, **options)


def suited(data: Dataset, batch_size: int | None = None) -> recipes.Recipe:
    """Return `recipes.FINE_TUNE` in as many epochs as suit a set: 300 steps, in 10 to 60 epochs.

    A set of few pictures has few steps in an epoch.
    """
    steps = -(-len(data.train) // (batch_size or recipes.FINE_TUNE.batch_size))
    return replace(recipes.FINE_TUNE, epochs=min(max(-(-STEPS // steps), FEWEST), MOST))


def shape_for(base: bases.Base, data: Dataset, size: int | None = None) -> tuple[int, int, int]:
    """Return (height, width, channels) of the pictures that a base is given.

    Args:
        base: `bases.Base`.
        data: whose own size is taken where the base has none.
        size: height and width in place of the base's.
    """
    sides = [side or own for side, own in zip(base.size, data.image_shape[:2], strict=True)]
    if size is not None:
        sides = [checks.count("size", size)] * 2
    channels = checked(base.model).inputs[0].shape[-1]
    return (*sides, channels)


def fitted(data: Dataset, shape: tuple[int, int, int]) -> Dataset:
    """Return a data set with pictures of a shape; `data` if it has them.

    Made smaller, each pixel is the mean of what it covers; enlarged, it is interpolated. What is
    too wide or too high in proportion loses both ends. `source` says so.

    Raises:
        ValueError: if pictures of so many channels cannot be had from those of `data`.
    """
    channels = shape[-1]
    if data.image_shape == shape:
        return data
    if data.image_shape[-1] not in (1, channels) or channels not in (1, 3):
        raise ValueError(
            f"Expected pictures of {channels} channels, as the base takes. "
            f"Received: {data.image_shape[-1]} channels"
        )
    parts = [_fitted(part, shape) for part in (data.train, data.validation, data.test)]
    said = "x".join(map(str, data.image_shape)) + " as " + "x".join(map(str, shape))
    return Dataset(*parts, data.class_names, f"{data.source}, {said}")


def _fitted(split, shape):
    from PIL import Image, ImageOps

    height, width, _ = shape
    smaller = height <= split.images.shape[1] and width <= split.images.shape[2]
    method = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
    images = np.empty((len(split), *shape), np.uint8)
    for row, image in enumerate(split.images):
        picture = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
        found = np.asarray(ImageOps.fit(picture, (width, height), method))
        images[row] = found.reshape(height, width, -1)
    return Split(images, split.labels)


def tunable(
    base: bases.Base,
    data: Dataset,
    *,
    stages: int | str = 2,
    preprocessing: str | Callable | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Return the network that is trained: a copy of the base's layers, with a new head.

    Args:
        base: `bases.Base`.
        data: with pictures as the base takes them.
        stages: see `finetune`; the layers below, and batch normalisation, are frozen.
        preprocessing: see `finetune`.
        dropout: see `finetune`.
        seed: of the head's first weights.

    Returns:
        `keras.Model`, pictures of 0-255 -> probabilities of the classes of `data`.

    Raises:
        ValueError: see `finetune`.
    """
    stages = _checked_stages(stages)
    prepare = _preparation(base, preprocessing, data)
    inputs = keras.Input(data.image_shape, name="pixels", dtype="float32")
    below = features_of(base.model)
    try:
        whole = copied(below, inputs=inputs, front=prepare)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Expected a base that takes pictures of {data.image_shape}. Received: {base.name}, "
            f"which does not ({error}): leave `size` out, and it has the size it was trained on"
        ) from error
    features = _pooled(whole.outputs[0], base.name)
    if checks.number("dropout", dropout, below=1):
        features = keras.layers.Dropout(dropout, seed=seed, name="tuned_dropout")(features)
    start = keras.initializers.GlorotUniform(seed)
    head = keras.layers.Dense(
        data.num_classes, "softmax", kernel_initializer=start, name="tuned_head"
    )
    model = keras.Model(inputs, head(features), name=f"{base.model.name}-tuned")
    freeze_below(model, stages)
    return model


def _checked_stages(stages):
    return stages if stages == "all" else checks.count("stages", stages, least=0)


def _preparation(base, preprocessing, data):
    """Return the function that prepares pixels for a base; None where that is inside of it."""
    if preprocessing is None:
        return _function(base.preprocessing)
    prepare = _function(preprocessing)
    if base.preprocessing is not None or sees_pixels(base.model, data.train.images) is None:
        raise ValueError(
            "Expected `preprocessing` to be None for a base that prepares pixels itself: else they "
            f"are prepared twice. Received: {_told(preprocessing)!r} for {base.name}"
        )
    return prepare


def _function(preprocessing):
    if preprocessing is None or callable(preprocessing):
        return preprocessing
    if checks.choice("preprocessing", preprocessing, bases.PREPARATIONS) == bases.SCALED:
        return keras.layers.Rescaling(1 / 255, name="scale")
    prepare = keras.applications.imagenet_utils.preprocess_input
    return lambda pixels: prepare(pixels, "channels_last", preprocessing)


def _told(preprocessing):
    """Return how a record calls a preparation."""
    return (
        getattr(preprocessing, "__name__", "a function")
        if callable(preprocessing)
        else preprocessing
    )


def features_of(model: keras.Model) -> keras.Model:
    """Return the part of a network below its head: of the same layers, nothing is copied.

    The head is a last Dense layer, or 1x1 convolution to the classes, with what is behind it.
    Without one, it is the network itself.

    Raises:
        ValueError: if it is no functional or sequential model with one input and one output.
    """
    model = checked(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "Expected a base with one input and one output. Received: "
            f"{model.name} with {len(model.inputs)} and {len(model.outputs)}"
        )
    tensor = _below_head(model.outputs[0])
    return model if tensor is None else _part(model, tensor)


def _below_head(tensor):
    """Walk down from what a network outputs to what its head takes; None if it has no head."""
    classes = tensor.shape[-1] if len(tensor.shape) == 2 else None
    while True:
        layer, place, _ = tensor._keras_history
        inputs = layer._inbound_nodes[place].input_tensors
        if _is_head(layer, classes):
            return _below_dropout(inputs[0])
        if is_graph(layer):
            inner = _below_head(layer.outputs[0])
            return None if inner is None else _part(layer, inner)(inputs[0])
        if len(inputs) != 1 or getattr(layer, "weights", []):
            return None
        tensor = inputs[0]


def _part(model, output):
    return keras.Model(model.inputs[0], output, name=model.name)


def _is_head(layer, classes):
    if classes is None:
        return False
    pointwise = isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1)
    return isinstance(layer, keras.layers.Dense) or (pointwise and layer.filters == classes)


def _below_dropout(tensor):
    layer, place, _ = tensor._keras_history
    if isinstance(layer, keras.layers.Dropout):
        return _below_dropout(layer._inbound_nodes[place].input_tensors[0])
    return tensor


def _pooled(features, name):
    kinds = {
        4: keras.layers.GlobalAveragePooling2D,
        3: keras.layers.GlobalAveragePooling1D,
    }
    rank = len(features.shape)
    if rank == 2:
        return features
    if rank not in kinds:
        raise ValueError(
            "Expected a base that outputs a feature map, or features, of each picture. "
            f"Received: {name}, which outputs {tuple(features.shape)}"
        )
    return kinds[rank](name="tuned_pool")(features)


def freeze_below(model: keras.Model, stages: int | str) -> None:
    """Freeze a network but for its head and some stages below it; batch normalisation everywhere.

    Args:
        model: a network with a new head. It is changed.
        stages: how many, counted from the head; a stage is what has feature maps of one height and
            width. "all": each.
    """
    head, free = head_of(model), _upper(model, stages)
    for layer in model._flatten_layers():
        if not isinstance(layer, keras.Model) and id(layer) not in head:
            normalizes = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = id(layer) in free and not normalizes


def _upper(model, stages):
    """Return the ids of the layers in the upper stages, and of those inside of them.

    A stage begins, from above, where a layer with weights has larger maps than all before. Smaller
    ones, such as the single pixel of a squeeze, go with what stands below them, and so does what
    has no weights, such as the padding in front of a stride.
    """
    stage, largest, free, waiting = 0, 1, set(), []
    for layer in reversed(_in_order(model)):
        shape = layer.output.shape[1:3] if len(layer.output.shape) == 4 else (1, 1)
        waiting.append(layer)
        if not layer.weights or shape == (1, 1):
            continue
        if stages not in (0, "all") and None in shape:
            raise ValueError(
                "Expected `stages` to be 0 or 'all' for a base inside of which pictures may have "
                "any size, so that its stages cannot be told; or a base made with input_shape=, "
                f"such as (224, 224, 3). Received: stages={stages!r} for {model.name}"
            )
        size = 1 if None in shape else math.prod(shape)
        if size > largest:
            stage, largest = stage + 1, size
        if size == largest:
            free |= _parts(waiting) if stages == "all" or 0 < stage <= stages else set()
            waiting = []
    return free | (_parts(waiting) if stages == "all" or max(stage, 1) <= stages else set())


def _parts(found):
    return {id(part) for layer in found for part in layer._flatten_layers()}


def _in_order(model):
    """Return the layers of a network and of the networks inside it, as they are computed."""
    found = []
    for operation in model.operations:
        if is_graph(operation):
            found += _in_order(operation)
        elif isinstance(operation, keras.Layer):
            found.append(operation)
    return found


def _digest(model):
    """Return the SHA-256 of the weights that a network begins with, but for its head."""
    digest = hashlib.sha256()
    for layer in model.layers[:-1]:
        for weight in layer.get_weights():
            digest.update(np.ascontiguousarray(weight))
    return digest.hexdigest()
