"""Networks by their ids, as the command line and the records name them."""

import re

from . import cifar, imagenet

CIFAR = {
    ("resnet", "v1"): cifar.resnet_v1,
    ("resnet", "v2"): cifar.resnet_v2,
    ("plain", None): cifar.plain_net,
}
_ID = re.compile(r"(resnet|plain)(\d+)(v[12])?")


def parse_model_id(model_id):
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
            "Expected a model id such as 'resnet20v1', 'resnet29v2' or 'plain20', or one of "
            f"{', '.join(map(repr, imagenet.BUILDERS))}. Received: {model_id!r}"
        )
    block = "bottleneck" if match[3] == "v2" else "basic"
    depth, _ = cifar.blocks_per_stage(int(match[2]), block)
    return CIFAR[match[1], match[3]], depth


def build(model_id, input_shape, num_classes=10, *, form=None):
    """Build the network that a model id names.

    Args:
        model_id: see `parse_model_id`.
        input_shape: (height, width, channels).
        num_classes: classes of the softmax at the end.
        form: one of the builder's forms; None: its default.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: if the id names no network, or as the builder says.
    """
    builder, depth = parse_model_id(model_id)
    depths = (depth,) if builder in CIFAR.values() else ()
    forms = {} if form is None else {"form": form}
    return builder(input_shape, *depths, num_classes, **forms)
