"""What there is to know of a trained network, as JSON inside its .keras file.

A .keras file is a zip archive, in which Keras leaves alone what is not its own. `train` adds
`card.json`, so that a `model.keras` that has been sent to somebody still knows its classes. To read
it, neither this package nor Keras is needed:

    import json, zipfile
    card = json.loads(zipfile.ZipFile("model.keras").read("card.json"))
    card["classes"], card["input_shape"], card["pixels"]

A model that is saved anew, by its own `save`, has none. Fields of a card; what is not known is
null:

    classes                the classes' names, in the order of the network's outputs
    input_shape            [height, width, channels]
    read_at                the same in which the training pictures were read, where they were then
                           resized to input_shape, as for fine-tuning; null: they were not
    pixels                 what the network takes, and what is inside of it
    outputs                what it returns
    network, parameters    its name, and how many numbers were trained
    source, sizes, sha256  the images: where they are from, how many in each part, their fingerprint
    recipe, epochs, seed   how it was trained; epochs: of how many
    kept                   the epoch whose weights these are; null: the last
    accuracy               "validation", which the epoch was chosen on, and "test"; from 0 to 1
    keras                  the version that has saved it
    temperature            what the logits are to be divided by for honest probabilities
    threshold, score       below which a picture is none of the classes, and of which score:
                           "energy" (the logarithm of the sum of the exponentials of the logits) or
                           "probability" (the largest)
    calibrated             on how many pictures of what these two were found, and more
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

MEMBER = "card.json"
FORMAT = 1
PIXELS = "numbers from 0 to 255, channels last; the preprocessing is inside"
OUTPUTS = "probabilities, one for each class"
SCORES = {"energy": "minus the energy", "probability": "the largest probability"}
# What `Run.calibrate` finds.
FOUND = ("temperature", "threshold", "score", "calibrated")


def of(record: dict) -> dict[str, Any]:
    """Return the card of a run, from its record: a dict that JSON can hold; see the module."""
    history = _field(record, "history.val_accuracy", list) or []
    numbers = [each for each in history if isinstance(each, int | float)]
    accuracy = {"validation": max(numbers, default=None)}
    accuracy["test"] = _field(record, "results.test_accuracy_best", int | float)
    return {
        "format": FORMAT,
        "classes": _texts(_field(record, "dataset.classes", list)),
        "input_shape": _field(record, "dataset.image_shape", list),
        "read_at": _field(record, "base.pictures", list),
        "pixels": PIXELS,
        "outputs": OUTPUTS,
        "network": _field(record, "model.name", str),
        "parameters": _field(record, "model.trainable_parameters", int),
        "source": _field(record, "dataset.source", str),
        "sizes": _field(record, "dataset.sizes", list),
        "sha256": _field(record, "dataset.sha256", str),
        "recipe": _field(record, "recipe.name", str),
        "epochs": [len(history), _field(record, "recipe.epochs", int)],
        "seed": _field(record, "seed", int),
        "kept": _field(record, "results.best_epoch", int),
        "accuracy": accuracy,
        "keras": _field(record, "environment.keras", str),
        **dict.fromkeys(FOUND),
    }


def as_record(card: dict) -> dict[str, Any]:
    """Return as much of a run's record as its card tells: all but the history and the machine."""
    name, (_, epochs), accuracy = card["network"], card["epochs"], card["accuracy"]
    history = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    results = {
        "test_accuracy_best": accuracy["test"],
        "val_accuracy_best": accuracy["validation"],
        "best_epoch": card["kept"],
    }
    return {
        "model": {"id": name.lower(), "name": name, "trainable_parameters": card["parameters"]},
        "recipe": {"name": card["recipe"], "epochs": epochs},
        "dataset": {
            "source": card["source"],
            "sha256": card["sha256"],
            "sizes": card["sizes"],
            "image_shape": card["input_shape"],
            "classes": card["classes"],
        },
        "base": card["read_at"] and {"pictures": card["read_at"]},
        "seed": card["seed"],
        "environment": {"keras": card["keras"]},
        "history": {key: [] for key in (*history, "seconds", "cpu_seconds")},
    } | ({} if accuracy["test"] is None else {"results": results})


def _field(record, place, kind):
    """Return a record's field of a type, or None; what others have written may be anything."""
    value = record
    for name in place.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _texts(values):
    is_list = isinstance(values, list) and bool(values)
    return values if is_list and all(isinstance(each, str) for each in values) else None


def read(path: Path) -> dict[str, Any] | None:
    """Return the card in a .keras file; None if the file has none, or is damaged or not there.

    Raises:
        ValueError: if it is no card that this version can use.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if MEMBER not in archive.namelist():
                return None
            content = archive.read(MEMBER)
    except Exception:  # Damage shows in many ways; loading the network says so.
        return None
    try:
        card = of({}) | json.loads(content)  # An older version knew fewer fields.
        whole = card["format"] == FORMAT and _is_sound(card)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(
            f"Expected a card of format {FORMAT} as {MEMBER} in {path}. Received: another; a newer "
            "resnet_lib may know it."
        )
    return card


def _is_sound(card):
    shape, classes = card["input_shape"], card["classes"]
    before = card["read_at"] or shape
    numbers = [card["temperature"], card["threshold"]]
    return (
        [type(side) for side in (*shape, *before)] == [int] * 6
        and min(*shape, *before) > 0
        and bool(_texts(classes))
        and all(isinstance(card[name], str) for name in ("network", "source"))
        and [type(size) for size in card["sizes"]] == [int] * 3
        and len(card["epochs"]) == 2
        and card["accuracy"].keys() >= {"validation", "test"}
        and all(each is None or type(each) in (int, float) for each in numbers)
        and (card["temperature"] is None or card["temperature"] > 0)
        and card["score"] in (None, *SCORES)
    )


def added(content: bytes, card: dict) -> bytes:
    """Return the content of a .keras file with a card in it, in place of one that is there.

    Args:
        content: what Keras has saved.
        card: dict that JSON can hold.
    """
    text = json.dumps(card, indent=1, allow_nan=False, ensure_ascii=False)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for part in old.infolist():
            if part.filename != MEMBER:
                new.writestr(part, old.read(part))
        new.writestr(zipfile.ZipInfo(MEMBER), f"{text}\n")  # Of no date: the same bytes each time.
    return file.getvalue()
