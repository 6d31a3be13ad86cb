"""Repeat the trainings of notebook 01 with other seeds, rates and optimizers.

Plain and residual networks of 8 and 38 layers on four of the drawn shapes, as in the notebook:
with its recipe, then the plain network of 38 layers with lower learning rates, then Adam, whose
steps do not depend on the size of a gradient. Writes the losses and accuracies that the notebook
shows; a run that is in the file already is not repeated.
"""

import argparse
import json
from pathlib import Path

import resnet_lib as rl

import keras
from keras import layers

SEEDS, EPOCHS, BATCH = (1, 2, 3), 7, 100
LOWER_RATES, ADAM_RATE = (0.005, 0.0005), 0.003
RUNS = [
    *(("SGD", 0.05, kind, depth) for depth in (8, 38) for kind in ("plain", "residual")),
    *(("SGD", rate, "plain", 38) for rate in LOWER_RATES),
    *(("Adam", ADAM_RATE, "plain", depth) for depth in (8, 38)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the JSON file with the results")
    options = parser.parse_args()
    found = json.loads(options.file.read_text()) if options.file.exists() else []
    data = rl.datasets.shapes(train=4000, validation=10, test=1000)
    parts = small(data.train), small(data.test)
    for seed in SEEDS:
        for run in RUNS:
            what = dict(zip(("optimizer", "rate", "kind", "depth"), run, strict=True), seed=seed)
            if not any(what.items() <= each.items() for each in found):
                found.append(what | trained(*run, seed, *parts))
                print(found[-1], flush=True)
                options.file.write_text(written(found))


def written(runs):
    """Return the runs as JSON, a line a run."""
    return "[\n" + ",\n".join(json.dumps(run) for run in runs) + "\n]\n"


def small(split):
    """Return the pictures of four shapes at 16x16 pixels, each colour centred, and their labels."""
    few = split.labels < 4
    pictures = split.images[few].astype("float32") / 255
    pictures = pictures.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    return pictures - pictures.mean(axis=(1, 2), keepdims=True), split.labels[few]


def conv_bn(x):
    options = dict(padding="same", use_bias=False, kernel_initializer="he_normal")
    x = layers.Conv2D(16, 3, **options)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def network(kind, depth):
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU()(conv_bn(inputs))
    for _ in range((depth - 2) // 2):
        y = conv_bn(layers.ReLU()(conv_bn(x)))
        x = layers.ReLU()(layers.Add()([y, x]) if kind == "residual" else y)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))


def trained(optimizer, rate, kind, depth, seed, train, test):
    """Train a network as the notebook does; return its losses by epoch and its test accuracy."""
    keras.utils.set_random_seed(seed)
    model = network(kind, depth)
    rates = keras.optimizers.schedules.CosineDecay(rate, EPOCHS * len(train[0]) // BATCH)
    chosen = {
        "SGD": keras.optimizers.SGD(rates, momentum=0.9),
        "Adam": keras.optimizers.Adam(rates),
    }[optimizer]
    model.compile(chosen, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(*train, batch_size=BATCH, epochs=EPOCHS, verbose=0).history
    _, accuracy = model.evaluate(*test, verbose=0)
    losses = [round(loss, 4) for loss in history["loss"]]
    return {"losses": losses, "test_accuracy": round(accuracy, 4)}


if __name__ == "__main__":
    main()
