"""The runs and the trained networks that come with the library."""

import functools
import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path

import numpy as np
import pytest

import resnet_lib as rl
from resnet_lib import datasets, models, records, zoo
from resnet_lib.__main__ import _form, _parser, _recipe, main
from resnet_lib.training import fit as fitting

ROOT = Path(__file__).parents[1]
RUNS = records.recorded()
ALL = RUNS | {f"ten_years/{name}": run for name, run in records.recorded("ten_years").items()}
each_run = pytest.mark.parametrize("run", ALL.values(), ids=ALL.keys())
# Their first epoch is repeated in a test; those on real images where these are.
REPEATED = (
    "resnet20v1-shapes",
    pytest.param("resnet50-signs-seed0", marks=pytest.mark.images),
    pytest.param("plain20-cifar10-16x16", marks=pytest.mark.images),
    pytest.param("resnet29v2-paper-cifar10-16x16", marks=pytest.mark.images),
    pytest.param("resnet20v1-cifar10", marks=pytest.mark.images),
    pytest.param("resnet20v1-example-cifar10", marks=pytest.mark.images),
    pytest.param("ten_years/fast-seed0", marks=pytest.mark.images),
    pytest.param("ten_years/resnet20-muon-seed0", marks=pytest.mark.images),
    pytest.param("ten_years/block-se-seed0", marks=pytest.mark.images),
)


@pytest.fixture(params=zoo.names())
def name(request):
    return request.param


@each_run
def test_a_record_is_whole(run):
    record, epochs = run.record, len(run.history["loss"])
    assert record["format"] == records.FORMAT
    assert record["epochs"] == epochs <= record["recipe"]["epochs"]
    assert "stopped" not in record
    assert {len(values) for values in run.history.values()} == {epochs}
    assert rl.recipes.Recipe.from_dict(record["recipe"])
    assert len(record["dataset"]["sha256"]) == 64
    assert {"keras", "backend_version", "processor", "cores"} <= record["environment"].keys()
    accuracies, losses = np.array([run.history[key] for key in ("val_accuracy", "val_loss")])
    lowest = np.lexsort((losses, -accuracies))[0]  # Of equals; in 0.1.0 it was the first.
    assert record["results"]["best_epoch"] - 1 in (lowest, np.argmax(accuracies))
    assert record["results"]["chosen_on"] == "validation"


@each_run
def test_a_record_is_small(run):
    assert len(json.dumps(run.record, indent=1)) < 20_000


SOURCES = {"cifar10": "CIFAR-10", "shapes": "ten shapes", "sign_digits": "Sign-Language-Digits"}


def network(model_id, block):
    """Return what a model id stands for, with or without a block's name or default widths in it."""
    builder, depth = models.parse_model_id(model_id, block)
    return getattr(builder, "func", builder), getattr(builder, "keywords", {}), depth


def told(command):
    """Return what a command of a record asks for: what the record should say was done."""
    *program, verb = shlex.split(command)[:4]
    assert (program, verb) == (["python", "-m", "resnet_lib"], "train")
    options = _parser().parse_args(shlex.split(command)[3:])
    assert options.minutes is None, "elsewhere, other epochs fit into the minutes"
    builder, depth = models.parse_model_id(options.model, options.block)
    recipe = _recipe(options, None, None, depth, None)
    return {
        "model": network(options.model, options.block),
        "form": options.form or _form(builder, options.recipe),
        "block": options.block,
        "dropout": options.dropout,
        "recipe": recipe.as_dict(),
        "epochs": options.stop_after or recipe.epochs,
        "images": SOURCES[options.dataset],
        "size": options.size,
        "limit": options.limit,
        "seed": options.seed,
        "deterministic": options.deterministic,
        "precision": options.precision or "mixed_bfloat16",  # The best of the machine that trained.
    }


@each_run
def test_a_records_command_says_what_was_done(run):
    record, dataset = run.record, run.record["dataset"]
    reduced = re.search(r"reduced to (\d+)x", run.source)
    limited = re.search(r"first ([\d,]+) training images", run.source)
    assert told(record["notes"]["command"]) == {
        "model": network(record["model"]["id"], record["notes"].get("block")),
        "form": record["notes"].get("form"),
        "block": record["notes"].get("block"),
        "dropout": record["notes"]["dropout"],
        # The fields that recipes have had since then are as they were without them.
        "recipe": rl.recipes.Recipe.from_dict(record["recipe"]).as_dict(),
        "epochs": record["epochs"],
        "images": next(name for name in SOURCES.values() if run.source.startswith(name)),
        "size": int(reduced[1]) if reduced else None,
        "limit": int(limited[1].replace(",", "")) if limited else None,
        "seed": record["seed"],
        "deterministic": record["deterministic"],
        "precision": record["execution"]["precision"],
    }
    assert not reduced or dataset["image_shape"][0] == int(reduced[1])
    assert not limited or dataset["sizes"][0] == int(limited[1].replace(",", ""))


@pytest.fixture(scope="module")
def read_once():
    """Let each dataset of the records be read, and reduced to another size, once in this file."""
    with pytest.MonkeyPatch.context() as patch:
        for name, load in datasets.NAMED.copy().items():
            patch.setitem(datasets.NAMED, name, functools.cache(load))
        patch.setattr(datasets.resize, "shrunk", functools.cache(datasets.resize.shrunk))
        yield


def no_test(model, split):
    """Return what `fitting.probabilities` does, of a model that has not looked."""
    return np.full((len(split), model.output_shape[-1]), 1 / model.output_shape[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", REPEATED)
def test_a_recorded_command_repeats_its_first_epoch(name, tmp_path, read_once, monkeypatch):
    record, out = ALL[name].record, tmp_path / "again"
    arguments = shlex.split(record["notes"]["command"])[3:]
    data = datasets.NAMED[_parser().parse_args(arguments).dataset]()
    original = datasets.resize.shrunk(data, record["dataset"]["image_shape"][0])
    if original.sha256 != record["dataset"]["sha256"]:
        pytest.skip("these are other copies of the images than the record's")
    # Three looks at all test pictures would follow, which nothing here is about.
    monkeypatch.setattr(fitting, "probabilities", no_test)
    assert main([*arguments, "--out", str(out), "--stop-after", "1"]) == 0
    again = records.load(out).record
    assert again["dataset"] == record["dataset"]
    assert again["history"]["loss"][0] == pytest.approx(record["history"]["loss"][0], rel=0.01)


def test_the_table_has_a_line_for_each_run():
    lines = records.table(RUNS).splitlines()[1:]
    assert sorted(line.split()[0] for line in lines if line.startswith(" ")) == sorted(RUNS)
    sources = {run.source for run in RUNS.values()}
    assert sorted(line for line in lines if not line.startswith(" ")) == sorted(sources)


def test_the_table_has_the_published_accuracies_and_their_blanks():
    rows = {line.split()[0]: line.split()[-2:] for line in records.table(RUNS).splitlines()}
    assert rows["resnet20v1-cifar10"] == ["91.25", "92.16"]
    assert rows["resnet50-signs-seed0"] == ["–", "–"]
    assert rows["plain20-cifar10-16x16"] == ["–", "–"]  # Smaller pictures.


def run_of(model_id, source="CIFAR-10 (official)", side=32, images=45_000):
    dataset = {"source": source, "image_shape": [side, side, 3], "sizes": [images, 5000, 10_000]}
    return records.Run({"model": {"id": model_id}, "dataset": dataset})


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        (run_of("resnet20v1"), (91.25, 92.16)),
        (run_of("resnet56v2"), (None, 93.01)),
        (run_of("resnet110v2"), (93.63, 93.15)),
        (run_of("resnet1001v2"), (95.08, None)),
        (run_of("resnet26v1"), (None, None)),
        (run_of("plain20"), (None, None)),
        (run_of("resnet50"), (None, None)),
        (run_of("resnet20v1", side=16), (None, None)),
        (run_of("resnet20v1", source="ten shapes"), (None, None)),
        (run_of("resnet20v1", images=2000), (None, None)),
    ],
)
def test_published_accuracies(run, wanted):
    assert records.published(run) == wanted


def test_the_readme_has_the_table():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert textwrap.indent(records.table(RUNS), "    ") in readme


def test_the_readmes_times_of_two_recorded_runs():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    def minutes(name, accuracy):
        history = RUNS[name].history
        ends = np.cumsum(history["cpu_seconds"]) / 60
        reached = ends[np.array(history["val_accuracy"]) >= accuracy]
        return f"{reached[0]:.1f}" if len(reached) else f"more than {ends[-1] // 10 * 10:.0f}"

    names = ("resnet20v1-15epochs-cifar10", "resnet20v1-example-cifar10")
    times = [minutes(name, accuracy) for accuracy in (0.75, 0.80, 0.85) for name in names]
    claim = "level at 75 % ({} and {} CPU minutes); 80 % takes {} and {}, and 85 % takes {} and {}."
    assert claim.format(*times) in readme


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The Python of a fresh environment in which the library was installed from its wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source, pip = folder / "source", [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    shutil.copytree(ROOT / "resnet_lib", source / "resnet_lib")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps"]
    subprocess.run(
        [*pip, "wheel", *options, "--no-build-isolation", "-w", folder, source], check=True
    )
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", *options, wheel], check=True)
    # What the library needs is taken from here; a .pth file in that folder, such as that of this
    # checkout, is not followed.
    packages = sysconfig.get_path("purelib", vars={"base": str(folder / "env")})
    Path(packages, "needed.pth").write_text(sysconfig.get_path("purelib"))
    return python


BROUGHT = """
import sys, numpy as np, resnet_lib as rl
for name in sys.argv[1:]:
    model = rl.load_trained(name)
    runs = rl.records.recorded() | rl.records.recorded("ten_years")
    print(rl.__file__, len(runs), model(np.zeros((1, 32, 32, 3))).shape[1])
"""


@pytest.fixture(scope="module")
def brought(elsewhere, tmp_path_factory):
    """What that Python says of each trained network: {name: [file, runs, classes]}."""
    command = [elsewhere, "-I", "-c", BROUGHT, *zoo.names()]
    folder = tmp_path_factory.mktemp("empty")
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return dict(zip(zoo.names(), map(str.split, done.stdout.splitlines()), strict=True))


@pytest.mark.slow
def test_the_wheel_brings_the_runs_and_the_networks(elsewhere, brought, name):
    file, runs, classes = brought[name]
    assert Path(file).is_relative_to(elsewhere.parents[1])
    assert (int(runs), int(classes)) == (len(ALL), len(RUNS[name].record["dataset"]["classes"]))


def test_each_trained_network_has_a_record_and_a_card(name):
    run, card = RUNS[name], zoo.card(name)
    assert f"{run.record['results']['test_accuracy_best']:.1%}" in card
    assert run.source in card
    assert max(map(len, card.splitlines())) < 140


def test_a_trained_network_takes_pixels(name):
    model, dataset = rl.load_trained(name), RUNS[name].record["dataset"]
    assert model.input_shape[1:] == tuple(dataset["image_shape"])
    counted = rl.count_parameters(model)
    total = counted.trainable + counted.non_trainable
    assert total == RUNS[name].record["model"]["total_parameters"]
    frozen = sum(layer.count_params() for layer in model.layers if not layer.trainable)
    trained = RUNS[name].record["model"]["trainable_parameters"]
    assert counted.trainable == trained - frozen  # The whitening of the fast one was not trained.
    images = np.random.default_rng(0).integers(0, 256, (2, *dataset["image_shape"]), "uint8")
    found = np.asarray(model(images))
    assert found.shape == (2, len(dataset["classes"]))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("wrong", ["resnet50", "", None, "../resnet20v1-cifar10"])
def test_a_network_that_does_not_exist(wrong):
    with pytest.raises(ValueError, match="resnet20v1-cifar10"):
        rl.load_trained(wrong)


@pytest.mark.images
def test_the_signs_are_those_of_the_records():
    hashes = {run.record["dataset"]["sha256"] for name, run in RUNS.items() if "signs" in name}
    assert hashes == {rl.datasets.sign_digits().sha256}


DATA = {
    "plain20-shapes": "shapes",
    "resnet20v1-cifar10": "cifar10",
    "resnetfast-cifar10": "cifar10",
    "resnet20v1-shapes": "shapes",
}


def test_each_trained_network_is_held_to_its_record():
    assert sorted(DATA) == list(zoo.names())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("resnet20v1-cifar10", marks=pytest.mark.images),
        pytest.param("resnetfast-cifar10", marks=pytest.mark.images),
        "plain20-shapes",
        "resnet20v1-shapes",
    ],
)
def test_a_trained_network_has_its_recorded_accuracies(name, read_once):
    data, record = datasets.NAMED[DATA[name]](), RUNS[name].record
    if data.sha256 != record["dataset"]["sha256"]:
        assert "cifar10" in name, "the drawn shapes are the same everywhere"
        pytest.skip("these are other copies of the pictures than the record's")
    model, test = rl.load_trained(name), data.test
    found = fitting.probabilities(model, test)
    mirrored = fitting.probabilities(model, datasets.Split(test.images[:, :, ::-1], test.labels))
    for kind, probabilities in {"best": found, "flip": found + mirrored}.items():
        recorded = record["results"][f"test_accuracy_{kind}"]
        assert fitting.accuracy(probabilities, test) == pytest.approx(recorded, abs=0.001), kind
    counts = np.array(fitting.confusion(found, test, data.num_classes))
    assert np.abs(counts - record["results"]["test_confusion"]).sum() <= 0.002 * len(test)


def test_a_recorded_run_without_its_model_says_which_file():
    with pytest.raises(FileNotFoundError, match=r"resnet50-signs-seed0\.keras"):
        RUNS["resnet50-signs-seed0"].load_model()
