"""The rooms of the package: arrows point down, tests are named after them, no builder is deep."""

import ast
import inspect
from functools import cache
from pathlib import Path

import keras
import pytest

import resnet_lib as rl

ROOT = Path(rl.__file__).parent
TESTS = Path(__file__).parent
# Tests that are not about one room: what they are about is in their name.
WITHOUT_ROOM = {"contributing", "damage", "init", "layout", "nbval_approx", "notebooks"}
WITHOUT_ROOM |= {
    "exercises_models",
    "gpu",
    "jax",
    "jobs",
    "lab",
    "later_blocks",
    "odd_models",
    "project",
    "reference",
    "scaling",
    "tasks",
    "ten_years",
    "time_to_accuracy",
    "workshop",
}


def rooms():
    """Return {module name below the package: path}; a package goes by its folder's name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


def imported(name, path):
    """Yield the modules of the package that a module imports, at its top or in a function."""
    package = name.split(".") if path.name == "__init__.py" and name else name.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_hints = {inner for node in ast.walk(tree) if is_for_hints(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in for_hints:
            base = package[: len(package) - node.level + 1]
            base = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                yield whole if whole in rooms() else ".".join(base)


def is_for_hints(node):
    """Say whether a node is `if TYPE_CHECKING:`, below which nothing is imported."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def arrows():
    return {name: {m for m in imported(name, path) if m != name} for name, path in rooms().items()}


def height(arrows):
    """Return the number of rooms in the longest way down; RecursionError in a circle."""

    @cache
    def below(name):
        return 1 + max(map(below, arrows[name]), default=0)

    return max(map(below, arrows))


def test_there_is_no_circle_and_the_ways_down_are_short():
    found = {name: targets for name, targets in arrows().items() if name}
    assert all("" not in targets for targets in found.values()), (
        "nothing imports the package itself"
    )
    assert height(found) <= 7


def test_a_circle_would_be_noticed():
    with pytest.raises(RecursionError):
        height({"a": {"b"}, "b": {"a"}})


# From the ground up: what a room may import stands before it.
FLOORS = (
    ("runtime", "checks", "paper", "figures", "labels", "files", "cards", "tables"),
    (
        "blocks",
        "schedules",
        "augment",
        "inspection",
        "prediction",
        "calibration",
        "certainty",
    ),
    ("cifar", "fast", "imagenet", "datasets", "graphs", "diagrams", "replay"),
    ("models", "recipes", "pictures", "records", "plots", "verdicts"),
    ("zoo", "bases", "training", "finetuning", "exercises", "explorers"),
    ("explain", "exports", "inside"),
    ("commands",),
    ("__main__",),
)


def test_no_import_points_upwards():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    upwards = [
        f"{name} imports {target}"
        for name, targets in arrows().items()
        for target in targets
        if name and floor[target.split(".")[0]] > floor[name.split(".")[0]]
    ]
    assert upwards == []


def test_every_room_stands_on_a_floor():
    assert {name.split(".")[0] for name in rooms() if name} == {r for f in FLOORS for r in f}


def test_what_defines_a_model_imports_no_tensorflow():
    for name in ("blocks", "cifar", "fast", "imagenet", "models"):
        source = (ROOT / f"{name}.py").read_text(encoding="utf-8")
        assert "tensorflow" not in source, name


def test_each_test_file_is_named_after_a_room():
    names = {name.split(".")[-1].strip("_") for name in rooms()}
    files = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    assert files - names - WITHOUT_ROOM == set()


# The builder is the picture.

BUILDERS = {
    "v1": lambda: rl.resnet_v1((32, 32, 3), 8),
    "plain": lambda: rl.plain_net((32, 32, 3), 8),
    "v2": lambda: rl.resnet_v2((32, 32, 3), 11),
    "v2 basic": lambda: rl.resnet_v2((32, 32, 3), 8, block="basic"),
    "v1, shortcut C": lambda: rl.resnet_v1((32, 32, 3), 8, shortcut="C"),
    "imagenet": lambda: rl.imagenet.resnet((32, 32, 3), 18),
    "squeeze-and-excitation": lambda: rl.resnet_v1((32, 32, 3), 8, block="se"),
    "ResNet-D": lambda: rl.resnet_v1((32, 32, 3), 8, block="resnet-d"),
    "wide": lambda: rl.resnet_v2((32, 32, 3), 8, block="wide"),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_from_a_builder_to_a_convolution_it_is_five_functions_at_most(build, monkeypatch):
    depths = []

    class Conv2D(keras.layers.Conv2D):
        def __init__(self, *args, **options):
            files = [frame.filename for frame in inspect.stack(0)]
            ours = [file for file in files if file.startswith(str(ROOT))]
            depths.append(len(ours))
            super().__init__(*args, **options)

    monkeypatch.setattr(rl.blocks.layers, "Conv2D", Conv2D)
    build()
    assert min(depths) >= 2
    assert max(depths) <= 5


@pytest.mark.parametrize("builder", [rl.resnet_v1, rl.plain_net, rl.resnet_v2, rl.imagenet.resnet])
def test_a_builder_shows_its_stages_on_one_screen(builder):
    source = inspect.getsource(builder)
    body = source.split('"""')[2].strip().splitlines()
    stages = 4 if builder is rl.imagenet.resnet else 3
    assert sum("stack(" in line for line in body) == stages
    assert len(body) <= 24
    assert len(source.splitlines()) <= 70


def test_the_forms_of_v1_and_v2_are_told_apart():
    assert rl.cifar.FORMS_V1["example"] != rl.cifar.FORMS_V2["example"]
