"""Networks that the project has trained: they come with the library, each beside its record."""

from typing import Any

from . import checks, records

SUFFIX = ".keras"


def names() -> tuple[str, ...]:
    """Return the names of the trained networks, such as "resnet20v1-cifar10": tuple of str."""
    return tuple(sorted(path.stem for path in records.RECORDED.glob(f"*{SUFFIX}")))


def load_trained(name: str) -> Any:
    """Load a trained network.

    Args:
        name: one of `names()`.

    Returns:
        `keras.Model`, (batch, height, width, 3) in 0-255 -> probabilities (batch, classes). The
        preprocessing is inside. Height, width and class names: see `card`.

    Raises:
        ValueError: if there is none of that name.
    """
    return _run(name).load_model()


def card(name: str) -> str:
    """Return what there is to know of a trained network, as text of a few lines.

    It is made from the network's record, `records.recorded()[name]`.

    Raises:
        ValueError: if there is none of that name.
    """
    run = _run(name)
    record, test = run.record, run.record["results"]["test_accuracy_best"]
    recipe, dataset = record["recipe"], record["dataset"]
    sizes = "{:,} training, {:,} validation and {:,} test images".format(*dataset["sizes"])
    shape = "x".join(map(str, dataset["image_shape"]))
    return "\n".join(
        [
            f"{name}: {record['model']['name']}, "
            f"{record['model']['trainable_parameters']:,} trainable parameters",
            f"images:   {shape}, values 0-255; the preprocessing is inside",
            f"classes:  {', '.join(dataset['classes'])}",
            f"trained:  on {run.source}; {sizes}",
            f"recipe:   {recipe['name']}, {recipe['epochs']} epochs, seed {record['seed']}",
            f"accuracy: validation {run.best_accuracy:.1%}, which the epoch was chosen on; "
            f"test {test:.1%}",
            "limits:   knows these classes and no others, and names one of them for any image;"
            " not tried on images from elsewhere",
        ]
    )


def _run(name):
    known = {each: records.RECORDED / f"{each}.json" for each in names()}
    return records.load(checks.choice("name", name, known))
