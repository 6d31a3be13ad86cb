"""A run as JSON: written whole, checked when it is read, compared."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cards, checks, tables
from .files import CHECKPOINTS as CHECKPOINTS
from .files import FORMAT as FORMAT
from .files import MODEL as MODEL
from .files import RECORD as RECORD
from .files import digest
from .files import is_part as is_part
from .files import is_whole as is_whole
from .files import save as save
from .files import write as write
from .paper import EXAMPLE_ACCURACY

if TYPE_CHECKING:
    from .calibration import Calibration
    from .prediction import Evaluation, Predictions

RECORDED = Path(__file__).parent / "recorded"
GROUPS = ("ten_years",)
_MEND = "put it back, or train again into a new folder"


@dataclass(repr=False)
class Run:
    """A training run: its record, and its trained network, to be asked about pictures.

    >>> run = rl.load("runs/first")
    >>> run.predict("cat.jpg")
    >>> run.evaluate("pictures/test")

    Attributes:
        record: what record.json holds: "model", "recipe", "dataset", "history", "results", …
        folder: the run's folder, a Path; None if nothing was kept on disk.
        model: the trained `keras.Model`, images of 0-255 in, probabilities out. The model that was
            given to `train` is another and stays untrained. In a run that was loaded it is None
            until it is needed (see `load_model`).
        model_file: name of the trained model's file in the folder.
    """

    record: dict
    folder: Path | None = None
    model: Any = None
    model_file: str = MODEL
    # What `calibrate` has found and no file holds; the network as it is asked.
    _found: dict = field(default_factory=dict, init=False, compare=False)
    _scorer: Any = field(default=None, init=False, compare=False)

    @property
    def history(self) -> dict[str, list]:
        """Lists of one number an epoch.

        loss, accuracy, val_loss, val_accuracy, learning_rate, seconds (on the clock) and
        cpu_seconds (of all cores together).
        """
        return self.record["history"]

    @property
    def best_accuracy(self) -> float:
        """The best validation accuracy, from 0 to 1; 0 before the first epoch."""
        numbers = [value for value in self.history["val_accuracy"] if value is not None]
        told = None if numbers else self.record.get("results", {}).get("val_accuracy_best")
        return max(numbers, default=told or 0)

    @property
    def source(self) -> str:
        """Which images the results are for."""
        return self.record["dataset"]["source"]

    def load_model(self) -> Any:
        """Load the trained model from the run's folder: `keras.Model`.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: if the file is not as it was written.
        """
        import keras

        from .runtime import allow_depth

        if self.folder is None:
            raise FileNotFoundError(
                "Nothing was kept of this run, which was trained without `out`: use `run.model`."
            )
        path = Path(self.folder) / self.model_file
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected the run's model, {self.model_file}, beside its record in {self.folder}. "
                f"Found no such file: {_MEND}."
            )
        if not is_whole(path):
            raise self._damaged(path)
        allow_depth()
        model = keras.saving.load_model(path)
        if keras.backend.backend() == "tensorflow":
            # Else Keras takes XLA on a GPU, which ends the process on cards newer than TensorFlow.
            model.jit_compile = False
        return model

    @staticmethod
    def _damaged(path):
        return ValueError(
            "Expected the run's model as it was written. "
            f"Received: {path}, which is damaged: {_MEND}."
        )

    @property
    def card(self) -> dict[str, Any]:
        """What there is to know of the trained network, as `model.keras` holds it: see `cards`."""
        kept = None if self.folder is None else cards.read(self.folder / self.model_file)
        return (kept or cards.of(self.record)) | self._found

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the network's outputs."""
        return tuple(self._whole_card()["classes"])

    def _whole_card(self):
        card = self.card
        if card["classes"] is None or card["input_shape"] is None:
            raise ValueError(
                "Expected a run whose record names its classes and the shape of its images. "
                f"Received: {self.folder}, whose record does not"
            )
        return card

    def predict(self, pictures: Any, *, top: int = 3) -> "Predictions":
        """Say what is on pictures.

        >>> run.predict("cat.jpg")
        >>> [found.name for found in run.predict(["a.jpg", "b.png"])]

        Files are read as `image_folder` reads them: turned as EXIF says, the middle of the longer
        side kept, transparency laid on white; of 16-bit greyscale, all files of a call are read
        alike. Arrays of another size than the network's are cut and resized in the same way.

        Args:
            pictures: the path of a picture, or of a folder, with what is below it; an open file;
                a list of these. Or one picture as an array (height, width, channels), several as
                (n, height, width, channels), a Split, or a list of arrays of any sizes: numbers
                from 0 to 255, as uint8 or float, not scaled.
            top: how many classes are named of each.

        Returns:
            Predictions, one a picture in order, that prints as a table. A file that cannot be read
            has its place in it, with the error. After `calibrate`, probabilities are those of the
            temperature, and the answer may be "none of these".

        Raises:
            FileNotFoundError: one path where nothing is, or the network's file is gone.
            ValueError: nothing can be read; an array is no pictures of 0-255, or scaled; `top` is
                no whole number of at least 1.
        """
        from . import prediction
        from .pictures import read

        card = self._whole_card()
        return prediction.predict(self._asked(), card, read(pictures, card), top)

    def evaluate(self, data: Any) -> "Evaluation":
        """Say how often the network is right on new pictures whose classes are known.

        Args:
            data: a folder that holds a folder of pictures for each class, matched by name to the
                network's classes, some of which may be missing; or a `resnet_lib.datasets.Dataset`,
                whose test part is taken; or a Split, whose labels are the network's.

        Returns:
            Evaluation: accuracy, recall of each class, confusion; it prints as a table.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: if there are pictures of a class that the network does not have.
        """
        from . import prediction
        from .pictures import labelled

        card = self._whole_card()
        return prediction.evaluate(self._asked(), card, *labelled(data, card, "test"))

    def calibrate(
        self, data: Any, *, others: Any = None, score: str = "energy", keep: float = 0.95
    ) -> "Calibration":
        """Find what makes probabilities honest, and when a picture is "none of these".

        The temperature (Guo et al. 2017) and the threshold (energy: Liu et al. 2020) are kept in
        the card in model.keras, and `predict` uses them from then on. A network that comes with the
        library stays as it is: for these, the run alone has them.

        Args:
            data: as in `evaluate`, pictures that the network was not trained on; of a Dataset, both
                are found on its validation part and tried on its test part.
            others: pictures of none of the network's classes, as in `predict`, or a Dataset, whose
                test part is taken, to see how well they are told apart; they do not change the
                threshold.
            score: "energy", or "probability", the largest one, which is the baseline of Hendrycks
                and Gimpel 2017.
            keep: which share of the pictures of `data` the threshold keeps, between 0 and 1. The
                rest, and pictures of others above the threshold, are mistaken.

        Returns:
            Calibration, which prints what was found; `plots.reliability` and `plots.familiarity`
            draw it.

        Raises:
            FileNotFoundError, ValueError: as in `evaluate`; if `keep` or `score` is none.
            OSError: if model.keras cannot be written.
        """
        from . import calibration, pictures, prediction

        scorer, card = self._asked(), self._whole_card()
        if score == "energy" and not scorer.has_logits:
            raise ValueError(
                "Expected a network that ends in a softmax, for its energy. Received: "
                f"{scorer.model.name}, in which none is found: try score='probability'"
            )

        def scored(part):
            _, found, labels = pictures.labelled(data, card, part)
            rows = found.readable()
            scores = prediction.checked_scores(scorer, card, found.pixels[rows])
            return calibration.Scored(
                scores, labels[rows], prediction.familiarities(scorer, scores)
            )

        fitted = scored("validation")
        measured = scored("test") if hasattr(data, "class_names") else None
        if others is not None:
            found = pictures.read(getattr(others, "test", others), card)
            scores = scorer(found.pixels[found.readable()])
            others = prediction.familiarities(scorer, scores)
        found = calibration.calibrate(fitted, measured, others, score=score, keep=keep)
        found.saved = self._keep(found.settings())
        return found

    def _keep(self, found):
        """Write what was found into the card of the network's file; return its name, if there."""
        path = None if self.folder is None else self.folder / self.model_file
        if path is None or path.parent.resolve() == RECORDED.resolve() or not path.is_file():
            self._found = found
            return None
        if not is_whole(path):
            raise self._damaged(path)
        write(path, cards.added(path.read_bytes(), self.card | found))
        return path.name

    def _asked(self):
        """Return the network as it is asked for its scores; it is loaded if need be."""
        from .prediction import Scorer

        if self.model is None:
            self.model = self.load_model()
        if self._scorer is None or self._scorer.model is not self.model:
            self._scorer = Scorer(self.model)
        return self._scorer

    @property
    def summary(self) -> str:
        """What was trained and how well it went, in one line."""
        return "; ".join([self._title(), *self._results()])

    def _results(self):
        parts = []
        if "stopped" in self.record:
            parts.append(f"stopped: {self.record['stopped']}")
        if self.history["loss"]:
            loss, accuracy = (self.history[name][-1] for name in ("loss", "val_accuracy"))
            parts.append(
                f"epoch {len(self.history['loss'])}: loss {_text(loss, '.3f')}, "
                f"validation accuracy {_text(accuracy, '.1%')}"
            )
        results = self.record.get("results")
        if results is None:
            return [*parts, "not finished"]
        if "test_accuracy_last" in results:
            parts.append(f"test accuracy {results['test_accuracy_last']:.1%}")
        best = results.get("best_epoch")
        kept = f"epoch {best}" if best else "the last weights"
        parts.append(f"kept: {kept}, test accuracy {results['test_accuracy_best']:.1%}")
        if "test_accuracy_flip" in results:
            parts.append(f"with mirror images {results['test_accuracy_flip']:.1%}")
        if "test_accuracy_views" in results:
            views = self.record["recipe"]["views"]
            parts.append(f"from {views} views {results['test_accuracy_views']:.1%}")
        if "baselines" in results:
            share = results["baselines"]["test"]["accuracy"]
            parts.append(f"the most frequent class alone: {share:.1%}")
        return parts

    def _told(self):
        """Return what `print` shows: pairs of a word and what it is about."""
        card = self.card
        shape, names = card["input_shape"] or [], card["classes"]
        sizes = "{:,} pictures; {:,} for validation, {:,} to test".format(*card["sizes"])
        if names is None:
            classes = "not in the record"
        else:
            classes = f"{len(names):,}: {checks.ten_of(names)}"
        place = "run.model" if self.model is not None else "run.load_model()"
        return [
            (
                "network",
                f"{place}, {card['parameters'] or 0:,} trained parameters; the model given to "
                "`train` stays untrained",
            ),
            ("takes", f"{'x'.join(map(str, shape))}, {card['pixels']}"),
            ("classes", classes),
            ("trained", f"on {sizes}"),
            ("recipe", f"{card['recipe']}, {card['epochs'][1]} epochs, seed {card['seed']}"),
            *self._told_results(),
            ("certainty", _certainty(card)),
            ("kept in", self._place()),
            ("use", 'run.predict("picture.jpg"), run.evaluate("folder of class folders")'),
        ]

    def _told_results(self):
        """Return what came out as a row, or two: how the training ended, and what was kept."""
        parts = self._results()
        kept = next((i for i, part in enumerate(parts) if part.startswith("kept: ")), 0)
        halves = [half for half in (parts[:kept], parts[kept:]) if half]
        return [("" if row else "result", "; ".join(half)) for row, half in enumerate(halves)]

    def _place(self):
        if self.folder is None:
            return "memory alone, for it was trained without `out`"
        return f"{self.folder.resolve().name}: {self.model_file}"

    def __repr__(self):
        return f"{self._title()}\n{tables.text(self._told())}"

    def _title(self):
        return f"{self.record['model']['name']} on {self.source}"

    def _repr_html_(self):
        return tables.html(self._told(), title=self._title())


def _certainty(card):
    if card["temperature"] is None:
        return "not calibrated, and names one of its classes for any picture: run.calibrate(data)"
    told = f"temperature {card['temperature']:.3g}"
    if card["threshold"] is not None:
        score = cards.SCORES[card["score"]]
        told += f'; "none of these" where {score} is below {card["threshold"]:.3g}'
    return told


def _text(number, form):
    return _NONE if number is None else format(number, form)


def load(folder: Path | str) -> Run:
    """Load a run that was trained before.

    Args:
        folder: the run's folder, the JSON file with its record, or the .keras file of its network,
            which may have been taken elsewhere: then the record is what its card tells.

    Returns:
        Run, its model not loaded.

    Raises:
        FileNotFoundError: if there is no record.json: the run did not finish, or the folder is
            another.
        ValueError: if the file is not a record, is damaged, or of a format that this version does
            not know.
    """
    path = checks.path("folder", folder)
    if path.suffix == Path(MODEL).suffix and path.is_file():
        return _of_file(path)
    if path.is_dir() or path.suffix != ".json":
        path = path / RECORD
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a finished run, with {path.name}, in {path.parent}. Found no such file: "
            "train first, or name the folder that was given as `out`."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = record["format"]
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, KeyError, TypeError):
        raise _refused(path, "is none") from None
    if found != FORMAT:
        raise ValueError(
            f"Expected a record of format {FORMAT}. Received: {path} of format {found!r}; "
            "a newer resnet_lib can read it."
        )
    if record.pop("sha256", None) not in (None, digest(record)):
        raise _refused(path, "is not as it was written")
    if fault := _fault(record):
        raise _refused(path, fault)
    model_file = MODEL if path.name == RECORD else path.with_suffix(Path(MODEL).suffix).name
    return Run(record, path.parent, model_file=model_file)


def _of_file(path):
    """Return the run of a .keras file: with its record, if that is beside it, else by its card."""
    beside = path.with_name(RECORD) if path.name == MODEL else path.with_suffix(".json")
    card = cards.read(path)
    if card is None and not beside.is_file():
        if not is_whole(path):
            raise Run._damaged(path)
        raise ValueError(
            f"Expected a .keras file that `train` has saved, with its card, or {beside.name} "
            f"beside it. Received: {path}, with neither; keras.saving.load_model loads it without "
            "the names of its classes"
        )
    if beside.is_file():
        run = load(beside)
        mine = card and {name: card[name] for name in card if name not in cards.FOUND}
        if card is None or mine.items() <= cards.of(run.record).items():
            return run
    return Run(cards.as_record(card), path.parent, model_file=path.name)


def _refused(path, why):
    return ValueError(
        f"Expected the record of a run. Received: {path}, which {why}: put it back as it was, or "
        "train again into a new folder."
    )


_FIELDS = {
    "model.id": str,
    "model.name": str,
    "recipe.epochs": int,
    "dataset.source": str,
    "dataset.sizes": list,  # Of the training, the validation and the test part.
    "dataset.image_shape": list,
    "history.loss": list,
    "history.val_accuracy": list,
    "history.cpu_seconds": list,
}
_RESULTS = {"results.test_accuracy_best": float | int}
_BASELINES = {"results.baselines.test.accuracy": float | int}


def _fault(record):
    """Return what is wrong with a record, or None where it can be shown, drawn and resumed."""
    wanted = _FIELDS | (_RESULTS if "results" in record else {})
    results = record.get("results")
    if isinstance(results, dict) and "baselines" in results:
        wanted = wanted | _BASELINES
    for place, kind in wanted.items():
        value = record
        for name in place.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            return f"has no `{place}`" if value is None else f"has {value!r} as `{place}`"
    if [type(size) for size in record["dataset"]["sizes"]] != [int] * 3:
        return f"has {record['dataset']['sizes']!r} as `dataset.sizes`"
    history = record["history"]
    for name, values in history.items():
        if not isinstance(values, list) or len(values) != len(history["loss"]):
            return f"has not as many epochs in `history.{name}` as in `history.loss`"
        if not all(_is_number_or_none(value) for value in values):
            return f"has something else than numbers in `history.{name}`"
    kept = record.get("checkpoints", {})
    if not isinstance(kept, dict) or not all(map(_are_digests, kept.values())):
        return f"has {kept!r} as `checkpoints`"
    for name, value in record.get("results", {}).items():
        if name.startswith("test_accuracy") and (value is None or not _is_number_or_none(value)):
            return f"has {value!r} as `results.{name}`"
    return None


def _are_digests(value):
    pairs = value if isinstance(value, list) else [None]
    return all(isinstance(pair, list) and [*map(type, pair)] == [int, str] for pair in pairs)


def _is_number_or_none(value):
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def runs_in(path: Path | str) -> dict[str, Run]:
    """Find the runs that a path stands for.

    Args:
        path: a run's folder, the JSON file with its record, or a folder of runs, however deep in
            it. Of a run that did not finish, the record of how far it has come.

    Returns:
        dict, path as text -> Run, its model not loaded, sorted. What is not a run's record in a
        folder of runs is warned of and left out.

    Raises:
        FileNotFoundError: if there is nothing there, or no run in the folder.
        ValueError: if the file, or the folder's own record, is damaged or no record.
    """
    top = checks.path("path", path)
    if not top.is_dir() or (top / RECORD).is_file():
        return {str(top): load(top)}
    runs = {}
    for file in sorted(top.rglob(RECORD)):
        unfinished = file.parent.name == CHECKPOINTS
        folder = file.parent.parent if unfinished else file.parent
        if unfinished and (folder / RECORD).is_file():
            continue
        try:
            runs[str(folder)] = load(file)
        except ValueError as error:
            checks.warn(str(error))
    if not runs:
        raise FileNotFoundError(
            f"Expected a run's folder, or a folder of runs. Received: {top}, without any "
            f"{RECORD} in it."
        )
    return runs


def recorded(group: str | None = None) -> dict[str, Run]:
    """Load the runs that come with the library; of some, the model comes as well (`trained`).

    Args:
        group: None, or "ten_years": the runs of notebook 09, which benchmarks/ten_years.py repeats,
            named after what was changed, with seeds 0, 1 and 2.

    Returns:
        dict, name -> Run, sorted by name: "resnet50-signs-seed0", …; of "ten_years" "fast-seed0",
        ….

    Raises:
        ValueError: if there is no such group.
    """
    folder = RECORDED / checks.choice("group", group, GROUPS) if group is not None else RECORDED
    return {path.stem: load(path) for path in sorted(folder.glob("*.json"))}


def trained() -> tuple[str, ...]:
    """Return the names of the recorded runs whose model comes with the library, sorted."""
    return tuple(sorted(path.stem for path in RECORDED.glob(f"*{Path(MODEL).suffix}")))


def by_seed(name: str) -> list[dict]:
    """Load what a script in benchmarks/ has found by repeating a notebook's runs.

    Args:
        name: name of the script, such as "degradation".

    Returns:
        list of dict, one a run: what was trained and how, its "seed", and its results.
    """
    return json.loads((RECORDED / "seeds" / f"{name}.json").read_text(encoding="utf-8"))


def table(runs: dict[str, Run]) -> str:
    """Return a table of runs as text: what was trained on what, for how long, and how well.

    Beside each run stands what was published for a network of its name, in the publisher's own form
    and after about 200 epochs: see `published`.

    Args:
        runs: dict, name -> Run.

    Returns:
        str: a heading, then for each set of images a line and under it its runs. Accuracies are in
        %; "flip" is the test accuracy with mirror images. "60/200" epochs: the run was stopped
        after 60 of its recipe's 200. A dash: there is no such number.
    """
    lines = [_TABLE.format("run", *_COLUMNS)]
    for source in sorted({run.source for run in runs.values()}):
        lines.append(source)
        for name, run in runs.items():
            if run.source == source:
                lines.append(_TABLE.format(f"  {name}", *_numbers(run)))
    return "\n".join(line.rstrip() for line in lines)


_COLUMNS = ("epochs", "CPU min", "valid.", "test", "flip", "paper", "example")
_TABLE = "{:40}" + "{:>8}" * len(_COLUMNS)
_NONE = "–"


def _numbers(run):
    """Return what stands in a run's line of the table, as text."""
    done, planned = len(run.history["loss"]), run.record["recipe"]["epochs"]
    results = run.record.get("results", {})
    seconds = [each for each in run.history["cpu_seconds"] if each is not None]
    accuracies = [run.best_accuracy if done else None]
    accuracies += [results.get(f"test_accuracy_{kind}") for kind in ("best", "flip")]
    return (
        str(done) if done == planned else f"{done}/{planned}",
        f"{sum(seconds) / 60:.1f}",
        *(_NONE if accuracy is None else f"{accuracy:.1%}"[:-1] for accuracy in accuracies),
        *(_text(accuracy, ".2f") for accuracy in published(run)),
    )


def published(run: Run) -> tuple[float | None, float | None]:
    """Return the published test accuracies that a run can be held against.

    Args:
        run: Run.

    Returns:
        (the paper's, the Keras example's), in %, from `paper.EXAMPLE_ACCURACY`; None where there is
        none, and where the run's images are not CIFAR-10's, or smaller, or not all of them.
    """
    dataset = run.record["dataset"]
    whole = dataset["source"].startswith("CIFAR-10") and dataset["image_shape"] == [32, 32, 3]
    whole = whole and dataset["sizes"][0] >= 45_000
    match = re.fullmatch(r"resnet(\d+)(v[12])", run.record["model"]["id"])
    rows = {str(row.depth): row for row in EXAMPLE_ACCURACY.rows}
    if not whole or match is None or match[1] not in rows:
        return None, None
    row, kind = rows[match[1]], match[2]
    return getattr(row, f"{kind}_paper"), getattr(row, kind)
