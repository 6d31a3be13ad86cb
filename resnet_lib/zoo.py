"""Networks that the project has trained: they come with the library, each beside its record."""

from pathlib import Path
from typing import Any

from . import checks, records


def names() -> tuple[str, ...]:
    """Return the names of the trained networks, such as "resnet20v1-cifar10": tuple of str."""
    return records.trained()


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

    Raises:
        ValueError: if there is none of that name.
    """
    return f"{name}: {_run(name)}"


def load(path: Path | str) -> records.Run:
    """Load a run, or a trained network on its own, to ask it about pictures.

    >>> rl.load("runs/first").predict("cat.jpg")
    >>> rl.load("model.keras").class_names

    Args:
        path: a run's folder, the JSON file with its record, a .keras file that `train` has saved,
            wherever it is now, or one of `names()`, if there is nothing of that name here.

    Returns:
        `resnet_lib.records.Run`, its model not loaded before it is needed. Of a .keras file alone,
        its record is what the card in the file tells: no history, and nothing of the machine.

    Raises:
        FileNotFoundError: if there is none of these.
        ValueError: if the record or the card is damaged, or a .keras file has neither.
    """
    found = checks.path("path", path)
    if found.exists() or found.suffix:
        return records.load(found)
    if str(path) in names():
        return _run(str(path))
    raise FileNotFoundError(
        "Expected a run's folder, a .keras file, or a network that comes with the library: "
        f"{', '.join(names())}. Received: {path}, which is none"
    )


def _run(name):
    known = {each: records.RECORDED / f"{each}.json" for each in names()}
    return records.load(checks.choice("name", name, known))
