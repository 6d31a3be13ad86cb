"""The copy of a network that is trained: with its preprocessing inside, as the recipe says."""

import keras
import numpy as np

from ..runtime import allow_depth
from .fused_bn import finalize

# The names of what `with_preprocessing` puts in front of a network.
LAYERS = ("pixels", "scale", "subtract_mean", "standardize")
KERNELS = {"kernel_regularizer", "depthwise_regularizer", "pointwise_regularizer"}
REGULARIZERS = KERNELS | {"bias_regularizer", "gamma_regularizer", "beta_regularizer"}


def make_optimizer(recipe, precision="float32"):
    """Return the Keras optimizer of a recipe.

    Decay that is not in the update is part of the model: see `prepared`.
    """
    decay, options = recipe.weight_decay, {}
    if decay is not None and decay.meaning == "update":
        options["weight_decay"] = decay.value
    if recipe.ema is not None:
        options |= {"use_ema": True, "ema_momentum": recipe.ema}
    if recipe.optimizer == "sgd":
        options |= {"momentum": float(recipe.momentum), "nesterov": recipe.nesterov}
    optimizer = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[recipe.optimizer]
    optimizer = optimizer(recipe.rate(0, 1), **options)
    if options.get("weight_decay"):
        optimizer.exclude_from_weight_decay(var_names=[r"(^|/)(bias|gamma|beta)(:\d+)?$"])
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def prepared(model, recipe, precision="float32"):
    """Return a copy of `model` with the recipe's batch normalisation and weight decay.

    Args:
        model: functional `keras.Model`.
        recipe: `resnet_lib.recipes.Recipe`. With a decay of its own, the model's regularizers go.
        precision: "float32", or "mixed_bfloat16" or "mixed_float16" for all but the last layer.

    Returns:
        `keras.Model` with the weights of `model`.
    """

    last = _last_layer(model)

    def changed(layer):
        config = layer.get_config()
        if "dtype" in config:  # Whatever the policy was when the model was made.
            config["dtype"] = "float32" if layer is last else precision
        if isinstance(layer, keras.layers.BatchNormalization):
            wanted = {"momentum": recipe.bn_momentum, "epsilon": recipe.bn_epsilon}
            config |= {name: value for name, value in wanted.items() if value is not None}
        if recipe.weight_decay is not None:
            factor = recipe.weight_decay.l2
            l2 = keras.regularizers.L2(factor) if factor else None
            config |= {name: l2 if name in KERNELS else None for name in REGULARIZERS & set(config)}
        return type(layer).from_config(config)

    allow_depth(len(model.layers) // 4)
    copy = keras.models.clone_model(model, clone_function=changed, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def with_preprocessing(model, images, normalize="image", *, any_size=False):
    """Return a copy of `model` that takes images of 0-255 and scales them itself.

    Args:
        model: a Keras model of float images.
        images: uint8 array (n, height, width, channels), the training images.
        normalize: "image": the mean training image is subtracted; "channel": the mean of each
            channel is, and the rest divided by the channel's standard deviation; None: neither.
        any_size: whether the copy takes images of any height and width.

    Returns:
        `keras.Model`, (batch, height, width, channels) in 0-255 -> what `model` puts out.

    Raises:
        ValueError: if the copy should take any size and `model` cannot.
    """
    allow_depth(len(model.layers) // 4)
    shape = (None, None, images.shape[3]) if any_size else images.shape[1:]
    inputs = keras.Input(shape, name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="scale", dtype="float32")(inputs)
    if normalize is not None:
        x = _normalization(images, normalize)(x)
    # `call` runs the layers one by one, so that the result is flat; a model called as a layer would
    # be nested. It leaves traces in the layers, hence a clone before it and another after it.
    try:
        outputs = keras.models.clone_model(model).call(x)
        flat = keras.models.clone_model(keras.Model(inputs, outputs, name=model.name))
    except (ValueError, TypeError) as error:
        if not any_size:
            raise
        raise ValueError(
            f"Expected a model that takes images of any size, for the recipe changes theirs. "
            f"Received {model.name}, which does not: try replace(recipe, sizes=((1, 1),))."
        ) from error
    flat.set_weights(model.get_weights())
    for layer in flat.layers:
        finalize(layer)
    return flat


def _last_layer(model):
    """Return the last layer, that of the model inside where the last one is a model."""
    last = model.layers[-1]
    return _last_layer(last) if isinstance(last, keras.Model) else last


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
