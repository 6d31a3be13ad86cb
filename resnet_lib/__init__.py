"""Residual networks, learnt by building them. Import this before TensorFlow.

>>> import resnet_lib as rl
>>> model = rl.resnet_v1((32, 32, 3), depth=20)
>>> print(rl.count_parameters(model))
274,442 parameters: 273,066 trainable, 1,376 not trainable

Keras, and TensorFlow behind it, are imported here, quietly (see `resnet_lib.runtime`); on the
command line, when a command needs them. The rest of the package is imported when it is first used.
"""

import os
from importlib import import_module
from typing import Any

from . import runtime

if not runtime.is_command_line():
    runtime.prepare()

# Where each public name is at home; a module is its own.
_HOMES = {
    **dict.fromkeys(("plain_net", "resnet_v1", "resnet_v2"), "cifar"),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), "imagenet"),
    **dict.fromkeys(("count_multiply_adds", "count_parameters", "feature_maps"), "inspection"),
    **dict.fromkeys(("activation_variances", "gradient_norms", "receptive_field"), "inspection"),
    **dict.fromkeys(("profile", "set_profile"), "runtime"),
    "export": "exports",
    "finetune": "finetuning",
    **dict.fromkeys(("load", "load_trained"), "zoo"),
    "resnet_fast": "fast",
    "train": "training",
}
_MODULES = ("augment", "bases", "blocks", "cifar", "datasets", "exercises", "explain", "explorers")
_MODULES += ("exports", "finetuning", "imagenet", "inside", "inspection", "models", "paper")
_MODULES += ("plots", "recipes", "records", "runtime", "schedules", "training", "zoo")
# What had another name in 0.1.0.
_RENAMED = {
    "arguments": "rl.checks",
    "batches": "rl.training.batches",
    "budget": "rl.training.budget, its function rl.training.for_budget",
    "callbacks": "rl.training.callbacks",
    "execution": "rl.training.Execution and rl.training.best_execution",
    "fitting": "rl.training.fit",
    "preparation": "rl.training.network",
}

__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name == "__version__":
        return runtime.version()
    now = f"; it is now {_RENAMED[name]}" if name in _RENAMED else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{now}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


# Processes that train together are joined before anything is computed; a command does so itself.
if not runtime.is_command_line() and any(
    name.startswith("KERAS_DISTRIBUTION_") for name in os.environ
):
    import_module(".training.hosts", __name__).join_hosts()
