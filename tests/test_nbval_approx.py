"""Comparing notebooks is neither blind nor touchy, in our folder and in a reader's."""

import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from nbval_approx import CELL_TIMEOUT
from nbval_approx.numbers import settled_text

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# The README's command for a notebook of the reader's own.
OWN_NOTEBOOK = "python -m pytest --nbval --nbval-current-env my_notebook.ipynb"


# Texts

APPROX, ACCURACY, LOSS, TIME = (
    [f"nbval-{name}"] for name in ("approx", "accuracy", "loss", "time")
)


@pytest.mark.parametrize(
    ("tagged", "saved", "new"),
    [
        (APPROX, "loss 0.6931", "loss 0.7001"),
        (APPROX, "loss 0.6931.", "loss 0.6925."),
        (APPROX, "tiny 0.0004", "tiny -0.0012"),
        (APPROX, "1.2e-05 1e3", "1.1e-05 101e1"),
        (APPROX, "epoch 3   9.99", "epoch 3  10.02"),
        (APPROX, "sum 1,024.50", "sum 1,030.50"),
        (APPROX, "[[0.51 -0.25]]", "[[0.52 -0.25]]"),
        (APPROX, "85.3 %", "86.9 %"),
        (ACCURACY, "accuracy 0.85", "accuracy 0.90"),
        (ACCURACY, "accuracy 0.97.", "accuracy 1.000."),
        (ACCURACY, "91.6%", "86.6%"),
        (ACCURACY, "test:  9 %", "test: 12 %"),
        (ACCURACY, "epoch 5: 98.0 % and 0.71", "epoch 5: 100.0 % and 0.68"),
        (LOSS, "loss 0.40", "loss 0.50"),
        (LOSS, "loss 0.40", "loss 0.30"),
        (LOSS, "loss 12.0", "loss  9.1"),
        (LOSS, "2.0e-02", "1.6e-02"),
        (TIME, "float32: 1,234 pictures a second", "float32:   987 pictures a second"),
        (TIME, "3.4 s (12ms a step)", "1.9 s (7ms a step)"),
        (TIME, "1.8x as fast, 45 % less", "0.9x as fast, -3 % less"),
        (TIME, "0:59 min", "1:03 min"),
        (TIME, "12 s", "0.7 s"),
        # Several tags: each number has its own.
        (ACCURACY + LOSS, "loss 0.40, 91 %", "loss 0.48, 88 %"),
        (ACCURACY + TIME, "910 pictures a second, 91.2 %", "1,200 pictures a second, 88 %"),
        (APPROX + LOSS, "tiny 0.0004 0.40", "tiny -0.0012 0.49"),
    ],
)
def test_freed_numbers_count_as_equal(tagged, saved, new):
    notes = []
    assert settled_text(new, saved, tagged, notes) == saved
    assert notes == []


@pytest.mark.parametrize(
    ("tagged", "saved", "new"),
    [
        (APPROX, "loss 0.6931", "loss 0.7624"),
        (APPROX, "loss 0.6931", "loss -0.6931"),
        (APPROX, "85.3 %", "87.9 %"),
        # An accuracy: at chance, beyond all, as a count or a part, another share, a quantity.
        (ACCURACY, "accuracy 0.85", "accuracy 0.91"),
        (ACCURACY, "accuracy 0.85", "accuracy 0.10"),
        (ACCURACY, "accuracy 0.97", "accuracy 1.01"),
        (ACCURACY, "accuracy 0.01", "accuracy -0.01"),
        (ACCURACY, "91.6%", "10.0%"),
        (ACCURACY, "91.6 %", "86.5 %"),
        (ACCURACY, "98 %", "101 %"),
        (ACCURACY, "0.5 %", "5.6 %"),
        (ACCURACY, "0.91", "0.91 %"),
        (ACCURACY, "0.91", "1"),
        (ACCURACY, "loss 1.41", "loss 1.42"),
        (ACCURACY, "from -5 % to 3 of 4", "from -4 % to 3 of 4"),
        # A loss: ten times as large, negative, just too far, an accuracy.
        (LOSS, "loss 0.40", "loss 4.00"),
        (LOSS, "loss 0.40", "loss 0.04"),
        (LOSS, "loss 0.40", "loss -0.40"),
        (LOSS, "loss 0.40", "loss 0.51"),
        (LOSS, "loss 0.40", "loss 0.29"),
        (LOSS, "loss 2.0", "loss 2"),
        (LOSS, "91.6 %", "91.5 %"),
        # A time: never of another thing.
        (TIME, "float32: 1,234", "float16: 1,234"),
        (TIME, "ResNet-50 in 3 s", "ResNet-18 in 3 s"),
        (TIME, "20-layer net in 3 s", "32-layer net in 3 s"),
        (TIME, "32x32 in 3 s", "32x16 in 3 s"),
        (TIME, "16/20 in 3 s", "15/20 in 3 s"),
        (TIME, "16/20 in 3 s", "16/19 in 3 s"),
        (TIME, "16,32,64 in 3 s", "16,32,65 in 3 s"),
        (TIME, "16,32,64 in 3 s", "17,32,64 in 3 s"),
        (TIME, "keras 3.15.1 in 3 s", "keras 3.15.2 in 3 s"),
        # Several tags: a number in per cent is an accuracy alone, and no tag widens another's kind.
        (ACCURACY + LOSS, "loss 0.40, 91 %", "loss 0.40, 70 %"),
        (ACCURACY + LOSS, "loss 0.40, 91.0 %", "loss 0.40, 10.0 %"),
        (ACCURACY + LOSS, "loss 2.40, 91 %", "loss 24.0, 91 %"),
        (ACCURACY + TIME, "91.2 % in 3 s", "10.0 % in 3 s"),
        (ACCURACY + LOSS, "3 of 4", "2 of 4"),
        # No tag, or one that frees nothing.
        ([], "loss 0.6931", "loss 0.6932"),
        (["shows-loss"], "loss 0.6931", "loss 0.6932"),
    ],
)
def test_what_a_tag_does_not_free_remains(tagged, saved, new):
    assert settled_text(new, saved, tagged, []) != saved


@pytest.mark.parametrize("tagged", [APPROX, ACCURACY, LOSS, APPROX + ACCURACY + LOSS])
@pytest.mark.parametrize(
    ("saved", "new"),
    [
        ("(32, 32, 16)", "(32, 33, 16)"),
        ("274,442 parameters, 0.5", "274,443 parameters, 0.5"),
        ("274442", "274443"),
        ("epoch 100", "epoch 101"),
        ("epoch   3", "epoch  3"),
        ("keras 3.15.1", "keras 3.15.2"),
        ("conv2.10", "conv2.11"),
        ("20 s", "21 s"),
    ],
)
def test_whole_numbers_and_names_remain(tagged, saved, new):
    assert settled_text(new, saved, tagged, []) != saved


@pytest.mark.parametrize("tagged", [APPROX, ACCURACY, LOSS, TIME, ACCURACY + TIME])
@pytest.mark.parametrize(
    "new",
    [
        "cost 0.6931, 50 %",
        "loss nan, 50 %",
        "loss inf, 50 %",
        "loss -inf, 50 %",
        "loss None, 50 %",
        "loss, 50 %",
        "loss 0.6931, %",
        "loss 0.6931 0.1, 50 %",
        "loss 0.6931, 50 %, 50 %",
        "loss (0.6931, 50 %)",
        "",
    ],
)
def test_no_tag_takes_another_word_or_count_of_numbers(tagged, new):
    saved = "loss 0.6931, 50 %"
    assert settled_text(saved, saved, tagged, []) == saved
    assert settled_text(new, saved, tagged, []) != saved


def test_a_note_says_what_was_expected():
    notes = []
    settled_text("loss 4.00 91 %", "loss  0.40 91 %", APPROX + LOSS + ACCURACY, notes)
    assert notes == [
        "nbval-approx: expected 0.40 within 2% or 0.002, received 4.00",
        "nbval-accuracy: expected 0.40 within 0.05 (of 1) or 5 (of 100 %), received 4.00",
        "nbval-loss: expected 0.40 within a quarter, received 4.00",
    ]


# Running nbval


def code(source, printed="", tags=()):
    """Return a code cell that was run and has printed a text."""
    outputs = [v4.new_output("stream", text=printed)] if printed else []
    cell = v4.new_code_cell(source, execution_count=1, outputs=outputs)
    cell.metadata["tags"] = list(tags)
    return cell


def nbval(folder, *notebooks):
    """Run the README's command on these notebooks in place of the reader's.

    The environment is one in which a kernel would show widgets and keep progress.

    Returns:
        {notebook: [a cell's test case]} and all that was printed.
    """
    arguments = shlex.split(OWN_NOTEBOOK.removesuffix("my_notebook.ipynb"))[1:]
    # Where CI is set, pytest repeats whole messages in its summary: leave the summary out.
    arguments += ["-p", "no:cacheprovider", "--color=no", "-rN", "--junitxml=report.xml"]
    command = [sys.executable, *arguments, *notebooks]
    environment = os.environ | {"RESNET_LIB_WIDGETS": "1", "RESNET_LIB_PROGRESS": "progress.json"}
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250
    )
    report = folder / "report.xml"
    assert report.exists(), process.stdout + process.stderr
    cases = {notebook: [] for notebook in notebooks}
    for case in ET.parse(report).iter("testcase"):
        cases[case.get("classname")].append(case)
    return cases, process.stdout + process.stderr


def passed(cases):
    """Return whether each of a notebook's cells passed."""
    return [len(case) == 0 for case in cases]


OWN_SOURCE = """\
import resnet_lib as rl

model = rl.resnet_v1((32, 32, 3), depth=20)
print(rl.count_parameters(model).total)"""

READERS = {
    "dying.ipynb": [
        code("import os, signal\nprint(1)", "1\n"),
        code("os.kill(os.getpid(), signal.SIGKILL)"),
        code("print(2)", "2\n"),
        code("print(3)", "3\n"),
    ],
    "different.ipynb": [
        code("print(0.5)", "0.501\n"),
        code("print(0.5)", "0.55\n", APPROX),
        code("print(0.5)", "0.55\n"),
        code("print(0.5)", "0.9\n", ACCURACY),
        code("print(5.0)", "0.5\n", LOSS),
        code("print('slow')", "0.5\n", TIME),
        code("print(0.5, 1)", "0.5\n", TIME),
    ],
    "close.ipynb": [
        code("print(0.5)", "0.501\n", APPROX),
        code("print(0.5)", "0.54\n", ACCURACY),
        code("print(0.5)", "0.6\n", LOSS),
        code("print(1234)", "0.5\n", TIME),
        code("import sys\nprint(2.5, file=sys.stdout)\n1.5", "7.3\n", TIME),
    ],
    "environment.ipynb": [
        code("import os\nprint(os.environ['RESNET_LIB_WIDGETS'])", "0\n"),
        code("print(os.environ['RESNET_LIB_PROGRESS'])", "off\n"),
    ],
}
value = v4.new_output("execute_result", data={"text/plain": "1.9"}, execution_count=1)
READERS["close.ipynb"][-1].outputs.append(value)


@pytest.fixture(scope="module")
def readers_run(tmp_path_factory):
    """Run nbval once on the notebooks of READERS, in a folder that holds nothing else."""
    folder = tmp_path_factory.mktemp("reader")
    for name, cells in READERS.items():
        nbformat.write(v4.new_notebook(cells=cells), folder / name)
    return nbval(folder, *READERS)


@pytest.mark.slow
def test_a_readers_own_notebook_passes_under_the_command_of_the_readme(tmp_path):
    assert OWN_NOTEBOOK in (ROOT / "README.md").read_text()
    cells = [code(OWN_SOURCE, "274442\n"), code("print(0.5)", "0.501\n", APPROX)]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "my_notebook.ipynb")
    cases, printed = nbval(tmp_path, "my_notebook.ipynb")
    assert passed(cases["my_notebook.ipynb"]) == [True, True], printed


def test_only_tagged_cells_are_compared_with_a_tolerance(readers_run):
    cases, printed = readers_run
    assert passed(cases["close.ipynb"]) == [True] * len(READERS["close.ipynb"]), printed


def test_what_is_too_far_off_fails_and_is_told(readers_run):
    cases, printed = readers_run
    assert passed(cases["different.ipynb"]) == [False] * len(READERS["different.ipynb"]), printed
    assert printed.count("expected 0.55 within 2% or 0.002, received 0.5\n") == 1
    assert printed.count("expected 0.5 within a quarter, received 5.0\n") == 1


def test_kernels_draw_figures_and_leave_a_readers_progress_alone(readers_run):
    cases, printed = readers_run
    assert passed(cases["environment.ipynb"]) == [True, True], printed


def test_a_kernel_that_dies_is_told_at_once(readers_run):
    cases, printed = readers_run
    assert passed(cases["dying.ipynb"]) == [True, False, False, False], printed
    messages = [next(iter(case), case).get("message", "") for case in cases["dying.ipynb"]]
    assert ["died in this cell" in m for m in messages] == [False, True, False, False]
    assert ["Kernel dead on test start" in m for m in messages] == [False, False, True, True]
    assert max(float(case.get("time")) for case in cases["dying.ipynb"]) < 20


def test_a_cell_has_our_timeout_unless_another_is_asked_for(pytester):
    assert pytester.parseconfig().option.nbval_cell_timeout == CELL_TIMEOUT
    assert pytester.parseconfig("--nbval-cell-timeout=7").option.nbval_cell_timeout == 7
    pytester.makeini("[pytest]\naddopts = --nbval-cell-timeout=8")
    assert pytester.parseconfig().option.nbval_cell_timeout == 8


BLOCKED = ("tensorflow", "keras", "numpy", "resnet_lib")
BLOCKING = """\
import sys
import pytest

class Blocked:
    def find_spec(name, path=None, target=None):
        if name in sys.argv[1].split(","):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked)
sys.exit(pytest.main(["-p", "no:cacheprovider", "-p", "nbval_approx", *sys.argv[2:]]))
"""


def pytest_without(modules, *arguments, cwd):
    """Run pytest where some modules cannot be imported; return the finished process."""
    command = [sys.executable, "-c", BLOCKING, ",".join(modules), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_the_plugin_needs_neither_keras_nor_the_library(tmp_path):
    nbformat.write(v4.new_notebook(cells=[code("1")]), tmp_path / "a.ipynb")
    process = pytest_without(BLOCKED, "--nbval", "--collect-only", "-q", cwd=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "a.ipynb::Cell 0" in process.stdout


SEES_NOTHING = """\
import sys

def test_nothing_of_nbval_is_loaded():
    assert "nbval_approx" in sys.modules
    assert "nbval_approx.notebook" not in sys.modules
"""


def test_the_plugin_rests_where_nbval_does_or_is_not_installed(tmp_path, pytester):
    plugins = pytester.parseconfig().pluginmanager
    assert plugins.has_plugin("nbval_approx")
    assert not plugins.has_plugin("nbval_approx.notebook")
    (tmp_path / "test_it.py").write_text(SEES_NOTHING)
    process = pytest_without((*BLOCKED, "nbval"), "-p", "no:nbval", cwd=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr


# Our notebooks


def other_digit(match):
    """Return a matched text with its last digit changed."""
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), match[0])


def a_tenth_more(match):
    """Return a matched decimal number, a tenth larger, with as many decimals."""
    decimals = len(match[0].partition(".")[2])
    return f"{float(match[0]) * 1.1:.{decimals}f}"


CHANGES = {
    "shows-shape": (r"\((?:None, |\d+, )*\d+\)|\d+(?:x\d+)+", other_digit),
    "shows-parameters": (r"(?<![\d.,])(?:\d{1,3}(?:,\d{3})+|\d{4,})(?![\d.,])", other_digit),
    "shows-loss": (r"(?<![\w.])\d+\.\d+", a_tenth_more),
}


def tags(cell):
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def change(notebook, tag):
    """Change one number in the saved output of the one cell with a tag; return its number.

    Returns:
        The cell's index among the code cells.
    """
    pattern, replacement = CHANGES[tag]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (index,) = [i for i, cell in enumerate(cells) if tag in tags(cell)]
    for output in cells[index].outputs:
        holder, key = (output, "text") if "text" in output else (output.get("data"), "text/plain")
        if holder and re.search(pattern, holder.get(key, "")):
            holder[key] = re.sub(pattern, replacement, holder[key], count=1)
            return index
    return pytest.fail(f"the cell tagged {tag} shows nothing like {pattern}")


def notebook_to_change():
    """Return the first notebook with all the tags of CHANGES, up to the last of these cells."""
    for path in PATHS:
        notebook = nbformat.read(path, as_version=4)
        where = {tag: i for i, cell in enumerate(notebook.cells) for tag in tags(cell)}
        if where.keys() >= CHANGES.keys():
            notebook.cells = notebook.cells[: max(where[tag] for tag in CHANGES) + 1]
            return notebook
    return pytest.fail(f"no notebook has cells tagged {', '.join(CHANGES)}, one each")


@pytest.mark.slow
def test_exactly_the_cells_whose_saved_numbers_are_changed_fail(tmp_path):
    notebook = notebook_to_change()
    nbformat.write(notebook, tmp_path / "unchanged.ipynb")
    changed = {change(notebook, tag) for tag in CHANGES}
    assert len(changed) == len(CHANGES), "two of the tags are on one cell"
    nbformat.write(notebook, tmp_path / "changed.ipynb")

    cases, printed = nbval(tmp_path, "unchanged.ipynb", "changed.ipynb")
    outcomes = passed(cases["unchanged.ipynb"])
    assert len(outcomes) > max(changed)
    assert all(outcomes), printed
    outcomes = passed(cases["changed.ipynb"])
    assert {i for i, same in enumerate(outcomes) if not same} == changed, printed
