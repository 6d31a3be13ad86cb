"""The networks as they were built in 0.1.0: names, order and shapes of weights, and answers.

`networks.json` beside this file was written before the builders were rewritten, by

    python tests/reference.py > tests/networks.json

Weights are drawn by numpy in the order of `model.weights`, so that the same network with its
weights in another order, or another network with the same weights, gives other answers.
"""

import hashlib
import json
import sys

import numpy as np

TOLD = ("filters", "kernel_size", "strides", "padding", "use_bias", "pool_size", "data_format")
TOLD += ("axis", "epsilon", "momentum", "units", "activation")


def networks():
    """Return {name: function without arguments that builds it}."""
    import resnet_lib as rl

    shape, built = (16, 16, 3), {}
    for form in ("example", "paper", "standard"):
        built[f"plain14 {form}"] = lambda form=form: rl.plain_net(shape, 14, form=form)
        for shortcut in (None, "A", "B", "C"):
            options = dict(form=form, shortcut=shortcut)
            built[f"resnet14v1 {form} {shortcut}"] = lambda options=options: rl.resnet_v1(
                shape, 14, **options
            )
    for form in ("example", "paper"):
        for block, depth in (("bottleneck", 20), ("basic", 14)):
            for shortcut in (None, "A", "B", "C"):
                options = dict(form=form, shortcut=shortcut, block=block)
                built[f"resnet{depth}v2 {form} {block} {shortcut}"] = (
                    lambda depth=depth, options=options: rl.resnet_v2(shape, depth, **options)
                )
    for depth in (18, 34, 50, 101, 152):
        builder = getattr(rl, f"resnet{depth}")
        for form in ("paper",) if depth < 50 else ("applications", "paper", "v1.5"):
            options = dict(form=form)
            built[f"resnet{depth} {form}"] = lambda builder=builder, options=options: builder(
                (32, 32, 3), 7, **options
            )
    built["resnet50 without top"] = lambda: rl.resnet50((32, 32, 3), include_top=False)
    built["resnet18 without top"] = lambda: rl.resnet18((32, 32, 3), include_top=False)
    return built


def described(model):
    """Return what is kept of a network: digests of its layers and weights, and its answers."""
    return {
        "name": model.name,
        "parameters": model.count_params(),
        "layers": digest([told(layer) for layer in model.layers]),
        "weights": digest([[w.path, list(w.shape), w.trainable] for w in model.weights]),
        "answers": answers(model),
    }


def told(layer):
    """Return what a layer is, as far as it decides the network."""
    config = layer.get_config()
    regularizer = config.get("kernel_regularizer")
    l2 = regularizer and round(float(regularizer["config"]["l2"]), 9)
    chosen = [[name, config[name]] for name in TOLD if name in config]
    return [type(layer).__name__, layer.name, chosen, l2, layer.compute_dtype]


def digest(told):
    """Return the first digits of a SHA-256 over what JSON makes of it."""
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def answers(model):
    """Return what a network with drawn weights says of two drawn pictures: mean over each row."""
    generator = np.random.default_rng(0)
    drawn = []
    for weight in model.weights:
        values = generator.normal(size=weight.shape)
        kernel = len(weight.shape) > 1
        fan_in = np.prod(weight.shape[:-1])
        drawn.append(values * np.sqrt(2 / fan_in) if kernel else 0.1 * np.abs(values) + 0.7)
    model.set_weights(drawn)
    pictures = generator.random((2, *model.input_shape[1:])).astype("float32")
    found = np.asarray(model(pictures), np.float64).reshape(2, -1)
    return [round(float(value), 7) for value in found[:, :7].ravel()]


if __name__ == "__main__":
    print(
        json.dumps(
            {name: described(build()) for name, build in networks().items()},
            indent=1,
            sort_keys=True,
        ),
        file=sys.stdout,
    )
