"""Residual networks, learnt by building them. Import this before TensorFlow.

>>> import resnet_lib as rl
>>> model = rl.resnet_v1((32, 32, 3), depth=20)
>>> print(rl.count_parameters(model))
274,442 parameters: 273,066 trainable, 1,376 not trainable

Keras, and TensorFlow behind it, are imported here, quietly (see `resnet_lib.runtime`). The rest of
the package is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import runtime
from .runtime import profile, set_profile

runtime.prepare()

if TYPE_CHECKING:
    from . import (
        augment,
        batches,
        blocks,
        budget,
        callbacks,
        cifar,
        datasets,
        execution,
        exercises,
        fast,
        fitting,
        imagenet,
        inspection,
        models,
        paper,
        plots,
        preparation,
        recipes,
        records,
        schedules,
        training,
        zoo,
    )
    from .cifar import plain_net, resnet_v1, resnet_v2
    from .imagenet import resnet18, resnet34, resnet50, resnet101, resnet152
    from .inspection import (
        activation_variances,
        count_multiply_adds,
        count_parameters,
        feature_maps,
        gradient_norms,
        receptive_field,
    )
    from .training import train
    from .zoo import load_trained

__all__ = [
    "activation_variances",
    "augment",
    "batches",
    "blocks",
    "budget",
    "callbacks",
    "cifar",
    "count_multiply_adds",
    "count_parameters",
    "datasets",
    "execution",
    "exercises",
    "fast",
    "feature_maps",
    "fitting",
    "gradient_norms",
    "imagenet",
    "inspection",
    "load_trained",
    "models",
    "paper",
    "plain_net",
    "plots",
    "preparation",
    "profile",
    "receptive_field",
    "recipes",
    "records",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_v1",
    "resnet_v2",
    "runtime",
    "schedules",
    "set_profile",
    "train",
    "training",
    "zoo",
]
_HOMES = {
    "plain_net": "cifar",
    "resnet_v1": "cifar",
    "resnet_v2": "cifar",
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), "imagenet"),
    "activation_variances": "inspection",
    "count_multiply_adds": "inspection",
    "count_parameters": "inspection",
    "feature_maps": "inspection",
    "gradient_norms": "inspection",
    "load_trained": "zoo",
    "receptive_field": "inspection",
    "train": "training",
}


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return import_module(f".{name}", __name__)


def __dir__():
    return sorted({*globals(), *__all__})
