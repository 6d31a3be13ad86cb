"""Networks by their ids, as the command line and the records name them."""

import re
from collections.abc import Callable

import keras
from keras import layers

from . import checks, cifar, imagenet

CIFAR = {
    ("resnet", "v1"): cifar.resnet_v1,
    ("resnet", "v2"): cifar.resnet_v2,
    ("plain", None): cifar.plain_net,
}
_ID = re.compile(r"(resnet|plain)(\d+)(v[12])?")


def parse_model_id(model_id: str) -> tuple[Callable[..., keras.Model], int]:
    """Read a model id: `resnet20v1`, `resnet29v2`, `plain20`, `resnet50`.

    Args:
        model_id: family, depth and, for the networks of `resnet_lib.cifar`, version.

    Returns:
        The builder, such as `cifar.resnet_v1` or `imagenet.resnet50`, and the depth.

    Raises:
        ValueError: if the id names no network.
    """
    match = _ID.fullmatch(str(model_id))
    if match is not None and match[0] in imagenet.BUILDERS:
        return imagenet.BUILDERS[match[0]], int(match[2])
    if match is None or (match[1], match[3]) not in CIFAR:
        raise ValueError(
            "Expected `model_id` to be such as 'resnet20v1', 'resnet29v2' or 'plain20', or one of "
            f"{', '.join(map(repr, imagenet.BUILDERS))}. Received: {model_id!r}"
        )
    block = "bottleneck" if match[3] == "v2" else "basic"
    depth = int(match[2])
    cifar.blocks_per_stage(depth, block)
    return CIFAR[match[1], match[3]], depth


def build(
    model_id: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int = 10,
    *,
    form: str | None = None,
    dropout: float = 0.0,
) -> keras.Model:
    """Build the network that a model id names.

    Args:
        model_id: see `parse_model_id`.
        input_shape: (height, width, channels).
        num_classes: classes of the softmax at the end.
        form: one of the builder's forms; None: its default.
        dropout: share of the pooled features that are set to zero in training, at least 0, below 1.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: if the id names no network, `dropout` is out of its range, or as the builder
            says.
    """
    builder, depth = parse_model_id(model_id)
    depths = (depth,) if builder in CIFAR.values() else ()
    forms = {} if form is None else {"form": form}
    return with_dropout(builder(input_shape, *depths, num_classes, **forms), dropout)


def with_dropout(model: keras.Model, rate: float) -> keras.Model:
    """Return `model` with Dropout in front of its last layer; `model` itself where `rate` is 0.

    Raises:
        ValueError: if `rate` is not at least 0 and below 1.
    """
    if not checks.number("dropout", rate, below=1):
        return model
    *_, pooled, dense = model.layers
    x = layers.Dropout(rate, name="head_dropout")(pooled.output)
    head = type(dense).from_config(dense.get_config())
    changed = keras.Model(model.input, head(x), name=model.name)
    head.set_weights(dense.get_weights())
    return changed
