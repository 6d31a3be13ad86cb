"""The saved notebooks are what they should be, and so is what build.py makes of their sources.

That every notebook runs and gives its saved outputs is tested by nbval (`make test`), with the
plugin of tests/test_nbval_approx.py. The tests here hold what nbval does not look at.
"""

import base64
import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from nbval_approx.numbers import TAGS as TOLERANCES
from nbval_approx.numbers import freeing, numbers

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LONGEST = 25
MOST_WORDS, MOST_CELLS = 2200, 40
EXERCISE = re.compile(r"^### Exercise: |^## Project: ", re.MULTILINE)
UNREAD = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$", re.DOTALL)
MARKS = r" {0,3}([-+*] |\d+[.)] |#+ |>)"

# Tags that nbval or these tests act on; others with these beginnings are taken for mistakes.
TAGS = {*TOLERANCES, "answer", "raises-exception", "shows-shape", "shows-parameters", "shows-loss"}
TAG_FAMILIES = ("nbval", "answer", "raises", "shows")
# Cells whose output is not compared: {"NN_name": how many}, each with its reason in a comment.
NOT_COMPARED = {}
NOT_COMPARING = re.compile(r"nbval[-_](?:ignore[-_]output|skip)", re.IGNORECASE)


# Guards: each takes a notebook and returns what is wrong with it, a line a problem


def code_cells(notebook):
    """Return [(number from 1, code cell)]."""
    cells = enumerate(notebook.cells, start=1)
    return [(number, cell) for number, cell in cells if cell.cell_type == "code"]


def outputs(notebook):
    """Return [(number of the cell, cell, output)]."""
    return [(n, cell, output) for n, cell in code_cells(notebook) for output in cell.outputs]


def tags(cell):
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def output_text(output):
    """Return all the text of an output, without colours."""
    data = output.get("data", {})
    texts = [text for kind, text in data.items() if kind.startswith("text/")]
    error = [output.get("evalue", ""), *output.get("traceback", [])]
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join([*texts, output.get("text", ""), *error]))


def not_run_in_order(notebook):
    cells = code_cells(notebook)
    return [
        f"cell {n}: execution count {cell.execution_count}, expected {expected}"
        for expected, (n, cell) in enumerate(cells, start=1)
        if cell.execution_count != expected
    ]


def wrong_errors(notebook):
    found = {n for n, _, output in outputs(notebook) if output.output_type == "error"}
    expected = {n for n, cell in code_cells(notebook) if "raises-exception" in tags(cell)}
    surprising = [f"cell {n}: an error, but no tag raises-exception" for n in found - expected]
    return surprising + [f"cell {n}: tagged raises-exception, no error" for n in expected - found]


def stderr(notebook):
    return [
        f"cell {n}: writes to stderr: {output.text[:60]!r}"
        for n, _, output in outputs(notebook)
        if output.output_type == "stream" and output.name == "stderr"
    ]


def widgets(notebook):
    return ["holds the state of widgets"] if "widgets" in notebook.metadata else []


def semicolons(notebook):
    return [
        f"cell {n}: ends in ';', which hides its output"
        for n, cell in code_cells(notebook)
        if cell.source.rstrip().endswith(";")
    ]


def pictures_without_words(notebook):
    return [
        f"cell {n}: a PNG without alt text"
        for n, _, output in outputs(notebook)
        if "image/png" in output.get("data", {})
        and not output.metadata.get("image/png", {}).get("alt", "").strip()
    ]


def long_cells(notebook):
    lengths = [(n, len(cell.source.splitlines())) for n, cell in code_cells(notebook)]
    return [
        f"cell {n}: {lines} lines, at most {LONGEST}" for n, lines in lengths if lines > LONGEST
    ]


VOLATILE = {
    "an absolute path": r"(?<![\w.:/<~])/(?:[\w.+-]+/)+[\w.+-]+|(?<!\w)~/[\w.]|\b[A-Z]:\\\w",
    "an address in memory": r"\bat 0x[0-9a-fA-F]{6,}",
    "a time": r"\b(?:CPU times|Wall time)\b|\d ?(?:ms|µs)\b|\bm?s/step\b|\d ?(?:it/s|s/it)\b",
}


def volatile_outputs(notebook):
    return [
        f"cell {n}: {what} in its output: {match[0]!r}"
        for n, cell, output in outputs(notebook)
        for what, pattern in VOLATILE.items()
        if not (what == "a time" and "nbval-time" in tags(cell))
        if (match := re.search(pattern, output_text(output)))
    ]


def unknown_tags(notebook):
    return [
        f"cell {n}: unknown tag {tag!r}"
        for n, cell in enumerate(notebook.cells, start=1)
        for tag in tags(cell)
        if tag.startswith(TAG_FAMILIES) and tag not in TAGS and not NOT_COMPARING.fullmatch(tag)
    ]


def needless_tolerances(notebook):
    return [
        f"cell {n}: tagged {tag}, but shows no number that it frees"
        for n, cell in code_cells(notebook)
        for tag in tolerances(cell)
        if not any(tag in freeing(number, tolerances(cell)) for number in numbers(shown(cell)))
    ]


def tolerances(cell):
    """Return those of a cell's tags that free numbers."""
    return [tag for tag in tags(cell) if tag in TOLERANCES]


def tolerances_of_other_numbers(notebook):
    cells = [(n, set(tolerances(cell)), numbers(shown(cell))) for n, cell in code_cells(notebook)]
    times = [
        f"cell {n}: nbval-time frees the numbers of {sorted(found - {'nbval-time'})}"
        for n, found, _ in cells
        if "nbval-time" in found and found - {"nbval-time", "nbval-accuracy"}
    ]
    return times + [
        f"cell {n}: no accuracy in per cent, as it must be beside nbval-loss or nbval-time"
        for n, found, received in cells
        if "nbval-accuracy" in found and found & {"nbval-loss", "nbval-time"}
        if not any(number.percent for number in received)
    ]


def answers_without_output(notebook):
    return [
        f"cell {n}: tagged answer, but shows nothing"
        for n, cell in enumerate(notebook.cells, start=1)
        if "answer" in tags(cell) and not cell.get("outputs")
    ]


def shown(cell):
    """Return all the text that a cell's outputs show."""
    return "\n".join(output_text(output) for output in cell.outputs)


def not_compared(notebook):
    """Return the numbers of the cells whose output nbval is told not to compare."""
    return [
        n
        for n, cell in code_cells(notebook)
        if NOT_COMPARING.search("\n".join([*tags(cell), *re.findall("#.*", cell.source)]))
    ]


def without_exercises(notebook):
    """Return the cells of the text: an exercise goes from its heading to its folded solution."""
    cells, inside = [], False
    for cell in notebook.cells:
        is_text = cell.cell_type == "markdown"
        inside = inside or (is_text and bool(EXERCISE.search(cell.source)))
        cells += [] if inside else [cell]
        inside = inside and not (is_text and "<summary>Solution</summary>" in cell.source)
    return cells


def too_long(notebook):
    kinds = {"code": [], "markdown": []}
    for cell in without_exercises(notebook):
        kinds[cell.cell_type].append(cell.source)
    words = sum(len(re.sub(UNREAD, "x", text).split()) for text in kinds["markdown"])
    cells = len(kinds["code"])
    return [
        *([f"{words} words, at most {MOST_WORDS}"] if words > MOST_WORDS else []),
        *([f"{cells} cells of code, at most {MOST_CELLS}"] if cells > MOST_CELLS else []),
    ]


def lines_that_markdown_takes_for_something_else(notebook):
    """Find prose that is broken where the next word begins a list, a heading or a link's target."""
    found = []
    for n, cell in enumerate(notebook.cells, start=1):
        lines = outside_code(cell.source).splitlines() if cell.cell_type == "markdown" else []
        for before, line in pairwise(["", *lines]):
            in_prose = before.strip() and not re.match(r"\s*([-+*]|\d+[.)]|#+|\|) ", before)
            starts = in_prose and not before.startswith(" ") and re.match(MARKS, line)
            if starts or re.match(r" {0,3}\[[^\]]+\]:", line):
                found.append(f"cell {n}: a line that is no prose to Markdown: {line[:40]!r}")
    return found


def outside_code(text):
    """Return Markdown without its code and displayed formulas."""
    return re.sub(r"```.*?```|\$\$.*?\$\$", "x", text, flags=re.DOTALL)


GUARDS = [
    not_run_in_order,
    wrong_errors,
    stderr,
    widgets,
    semicolons,
    pictures_without_words,
    long_cells,
    volatile_outputs,
    unknown_tags,
    needless_tolerances,
    tolerances_of_other_numbers,
    answers_without_output,
    too_long,
    lines_that_markdown_takes_for_something_else,
]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_has_no(path, guard):
    assert guard(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_output_is_compared(path):
    cells = not_compared(nbformat.read(path, as_version=4))
    assert len(cells) == NOT_COMPARED.get(path.stem, 0), f"cells {cells} are not compared"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_run_all_reaches_the_last_cell(path):
    # JupyterLab's "Run All" stops at an error, tagged or not: catch it in the cell and print it.
    found = outputs(nbformat.read(path, as_version=4))
    assert [n for n, _, output in found if output.output_type == "error"] == []


def test_notebooks_are_numbered_from_00_without_a_gap():
    numbers = [path.name[:3] for path in PATHS]
    assert numbers, f"no notebook in {NOTEBOOKS}; run: make notebooks"
    assert numbers == [f"{n:02}_" for n in range(len(numbers))]


def headings(path):
    """Return a notebook's headings, as JupyterLab writes them into an address."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    text = "\n".join(outside_code(cell.source) for cell in cells)
    return {title.replace(" ", "-") for title in re.findall(r"^#+ (.+?) *$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_links_to_notebooks_lead_to_sections_that_are_there(path):
    texts = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    for name, section in re.findall(r"\]\(([\w.]+\.ipynb)(?:#([^)]*))?\)", texts):
        assert NOTEBOOKS / name in PATHS, name
        assert not section or section in headings(NOTEBOOKS / name), f"{name}#{section}"


def test_the_start_leads_to_each_notebook():
    texts = "\n".join(cell.source for cell in nbformat.read(PATHS[0], as_version=4).cells)
    assert [path.name for path in PATHS[1:] if f"]({path.name})" not in texts] == []


def test_the_readmes_figures_are_those_of_the_notebooks():
    saved = {}
    for path in PATHS:
        for _, cell, output in outputs(nbformat.read(path, as_version=4)):
            for tag in tags(cell):
                if tag.startswith("figure-") and "image/png" in output.get("data", {}):
                    png = base64.b64decode(output.data["image/png"])
                    saved[f"{tag.removeprefix('figure-')}.png"] = png
    figures = {path.name: path.read_bytes() for path in (NOTEBOOKS / "figures").glob("*.png")}
    assert saved == figures
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"](notebooks/figures/{name})" in readme for name in figures)


# Each guard finds what it looks for, and nothing in a notebook that is in order


def stream(text, name="stdout"):
    return v4.new_output("stream", text=text, name=name)


def picture(alt):
    metadata = {"image/png": {"alt": alt}} if alt else {}
    return v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="}, metadata=metadata)


def one_cell(source="1", output=None, count=1, tagged=(), **metadata):
    """Return a notebook of one code cell."""
    cell = v4.new_code_cell(source, execution_count=count, outputs=[output] if output else [])
    cell.metadata["tags"] = list(tagged)
    return v4.new_notebook(cells=[cell], metadata=metadata)


def prose(*texts):
    """Return a notebook of cells of Markdown."""
    return v4.new_notebook(cells=[v4.new_markdown_cell(text) for text in texts])


SOLVED = "<details>\n<summary>Solution</summary>\n\nword\n\n</details>"
ERROR = v4.new_output("error", ename="ValueError", evalue="no", traceback=["ValueError: no"])
OBJECT = v4.new_output("execute_result", data={"text/plain": "<object at 0x7f12ab34cd56>"})
ACCURACY, LOSS, TIME = "nbval-accuracy", "nbval-loss", "nbval-time"
FAULTS = [
    (not_run_in_order, one_cell(count=None)),
    (not_run_in_order, one_cell(count=2)),
    (wrong_errors, one_cell(output=ERROR)),
    (wrong_errors, one_cell(tagged=["raises-exception"])),
    (stderr, one_cell(output=stream("oh", name="stderr"))),
    (widgets, one_cell(widgets={})),
    (semicolons, one_cell("plot(1);\n")),
    (pictures_without_words, one_cell(output=picture(alt=""))),
    (pictures_without_words, one_cell(output=picture(alt=" "))),
    (long_cells, one_cell("\n".join("x" * (LONGEST + 1)))),
    (volatile_outputs, one_cell(output=stream("saved in /srv/runs/first"))),
    (volatile_outputs, one_cell(output=stream("saved in ~/first"))),
    (volatile_outputs, one_cell(output=OBJECT)),
    (volatile_outputs, one_cell(output=stream("10/10 - 12ms/step"))),
    (volatile_outputs, one_cell(output=stream("Wall time: 3 s"))),
    (unknown_tags, one_cell(tagged=["nbval-aprox"])),
    (unknown_tags, one_cell(tagged=["shows-losses"])),
    (unknown_tags, one_cell(output=stream("1"), tagged=["answers"])),
    (needless_tolerances, one_cell(output=stream("16 of 20"), tagged=["nbval-approx"])),
    (needless_tolerances, one_cell(output=stream("95 %"), tagged=[ACCURACY, LOSS])),
    (needless_tolerances, one_cell(output=stream("float32"), tagged=["nbval-time"])),
    (tolerances_of_other_numbers, one_cell(output=stream("3.5 s, 0.7"), tagged=[TIME, LOSS])),
    (tolerances_of_other_numbers, one_cell(output=stream("3.5, 0.7"), tagged=[ACCURACY, LOSS])),
    (tolerances_of_other_numbers, one_cell(output=stream("3.5, 0.7"), tagged=[ACCURACY, TIME])),
    (answers_without_output, one_cell(tagged=["answer"])),
    (too_long, prose(*["word " * MOST_WORDS, "one more"])),
    (too_long, v4.new_notebook(cells=[one_cell(count=n + 1).cells[0] for n in range(41)])),
    (lines_that_markdown_takes_for_something_else, prose("as deep as 18 and\n20. Then more")),
    (lines_that_markdown_takes_for_something_else, prose("the sum of x\n- and of F(x)")),
    (lines_that_markdown_takes_for_something_else, prose("as said in\n[2]: more")),
]
FINE = [
    one_cell(output=ERROR, tagged=["raises-exception"]),
    one_cell(output=picture(alt="a curve")),
    one_cell("\n".join("x" * LONGEST)),
    one_cell(output=stream("widths 16/32/64; see https://arxiv.org/abs/1512.03385 </a></b>")),
    one_cell(output=stream("loss 0.69"), tagged=["nbval-approx", "shows-loss", "anything-else"]),
    one_cell(output=stream("loss 0.69, right 85 %"), tagged=[ACCURACY, LOSS, "answer"]),
    one_cell(output=stream("12ms a step, 1,234 pictures a second"), tagged=[TIME]),
    prose("word " * MOST_WORDS, f"### Exercise: long\n\n{'word ' * 99}", SOLVED),
    prose("## A list\n\n1. one\n   and a half\n2. two\n\n- three\n- four", "**[1]** and [2] is"),
]


@pytest.mark.parametrize(("guard", "notebook"), FAULTS)
def test_a_fault_is_found_by_its_guard_alone(guard, notebook):
    assert [other for other in GUARDS if other(notebook)] == [guard]


@pytest.mark.parametrize("notebook", FINE)
def test_what_is_in_order_passes_every_guard(notebook):
    assert [problem for guard in GUARDS for problem in guard(notebook)] == []


@pytest.mark.parametrize("notebook", [one_cell("# NBVAL_SKIP\n1"), one_cell(tagged=["nbval-skip"])])
def test_a_cell_that_is_not_compared_is_found(notebook):
    assert not_compared(notebook) == [1]
    assert not_compared(one_cell("nbval = 'nbval-skip'")) == []


# The full profile


TOO_FEW = re.compile(r"Expected `minutes` to be at least ([\d.]+), which one epoch")


def in_full(command, folder, minutes):
    """Run a command in the full profile; return the finished process.

    Where an epoch takes longer than the minutes it has, as on a busy machine, run it with more.
    """
    for _ in range(3):
        setting = {"RESNET_LIB_PROFILE": "full", "RESNET_LIB_MINUTES": str(minutes)}
        process = subprocess.run(
            command, cwd=folder, env=os.environ | setting, capture_output=True, text=True
        )
        too_few = TOO_FEW.search(process.stderr)
        if process.returncode == 0 or not too_few:
            break
        minutes = 1.3 * float(too_few[1])
    return process


TAKES_TWO_MINUTES = """
import os, sys
given = os.environ["RESNET_LIB_MINUTES"]
print(os.environ["RESNET_LIB_PROFILE"], given)
if float(given) < 2:
    sys.exit(f"Expected `minutes` to be at least 2, which one epoch takes. Received: {given}")
"""


@pytest.mark.parametrize(("given", "taken"), [(0.5, "full 2.6\n"), (3, "full 3\n")])
def test_minutes_too_few_for_an_epoch_are_replaced_by_enough(tmp_path, given, taken):
    process = in_full([sys.executable, "-c", TAKES_TWO_MINUTES], tmp_path, given)
    assert (process.returncode, process.stdout) == (0, taken)


def test_what_fails_otherwise_is_not_run_again(tmp_path):
    process = in_full([sys.executable, "-c", "open('a', 'x'); exit('no')"], tmp_path, 3)
    assert (process.returncode, process.stderr) == (1, "no\n")


@pytest.mark.images
@pytest.mark.slow
def test_notebook_06_trains_on_real_pictures_by_the_command_that_it_names(tmp_path):
    (original,) = NOTEBOOKS.glob("06_*.ipynb")
    notebook = shutil.copy(original, tmp_path)
    texts = "\n".join(cell.source for cell in nbformat.read(notebook, as_version=4).cells)
    (command,) = re.findall(r"^ +RESNET_LIB_PROFILE=full (.*)$", texts, flags=re.M)
    minutes, *command = shlex.split(command)
    assert minutes == "RESNET_LIB_MINUTES=30"
    command[0] = str(Path(sys.executable).with_name(command[0]))
    process = in_full(command, tmp_path, 1.5)
    assert process.returncode == 0, process.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    record = json.loads((folder / "first" / "record.json").read_text())
    assert record["dataset"]["source"].startswith("CIFAR-10")
    assert record["dataset"]["sizes"] == [45_000, 5_000, 10_000]
    assert record["results"]["test_accuracy_last"] > 0.4
    (executed,) = set(tmp_path.glob("*.ipynb")) - {tmp_path / original.name}
    said = [shown(cell) for _, cell in code_cells(nbformat.read(executed, as_version=4))]
    assert any(re.search(r"^test accuracy, best: \d", each, re.MULTILINE) for each in said)


# build.py, on a copy of it with a notebook that needs no TensorFlow

SOURCE = """\
# %% [markdown]
# # A title

# %% tags=["shows-shape"]
print((32, 32, 16))

# %%
print("again", flush=True)
print("and again")

# %%
print("again", flush=True)
print("and again")

# %% tags=["raises-exception"]
import json

json.loads("")
"""


@pytest.fixture
def project(tmp_path):
    """Return a folder with build.py and one source, 01_a.py."""
    return new_project(tmp_path / "project")


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    """Return such a folder with 01_a.ipynb built, to be copied."""
    folder = new_project(tmp_path_factory.mktemp("built") / "project")
    process = build(folder)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture
def built(built_once, tmp_path):
    """Return a folder with 01_a.ipynb built, to be changed."""
    return shutil.copytree(built_once, tmp_path / "built")


def new_project(folder):
    (folder / "notebooks/source").mkdir(parents=True)
    shutil.copy(NOTEBOOKS / "build.py", folder / "notebooks")
    (folder / "notebooks/source/01_a.py").write_text(SOURCE)
    return folder


def build(folder, *arguments):
    """Run a folder's build.py, in this process for speed; return it as if a process had ended."""
    spec = importlib.util.spec_from_file_location("build", folder / "notebooks/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = module.main(arguments)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def build_in_a_process(folder, *arguments):
    """Run a folder's build.py as a reader does; return the finished process."""
    command = [sys.executable, "notebooks/build.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def edit(folder, name, old, new):
    """Replace a text in a file that holds it once."""
    path = folder / "notebooks" / name
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def read_built(folder):
    return nbformat.read(folder / "notebooks/01_a.ipynb", as_version=4)


def test_notebooks_agree_with_their_sources():
    process = build_in_a_process(ROOT, "--check")
    assert process.returncode == 0, process.stderr


def test_check_imports_neither_tensorflow_nor_a_kernel(built):
    blocked = "import runpy, sys; sys.modules.update(dict.fromkeys(sys.argv[2].split(',')))"
    run = "sys.argv = ['build.py', '--check']; runpy.run_path(path, run_name='__main__')"
    code = f"{blocked}; path = sys.argv[1]; {run}"
    modules = "tensorflow,keras,nbclient,jupyter_client,matplotlib"
    command = [sys.executable, "-c", code, "notebooks/build.py", modules]
    process = subprocess.run(command, cwd=built, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_built_notebook_holds_outputs_tags_and_nothing_of_the_machine(built):
    notebook = read_built(built)
    nbformat.validate(notebook)
    shape = notebook.cells[1]
    assert (shape.outputs[0].text, tags(shape)) == ("(32, 32, 16)\n", ["shows-shape"])
    assert [problem for guard in GUARDS for problem in guard(notebook)] == []
    assert notebook.metadata.language_info == {"name": "python"}
    assert all(cell.metadata.keys() <= {"tags"} for cell in notebook.cells)
    assert all(len(cell.outputs) == 1 for _, cell in code_cells(notebook)), "a stream in pieces"
    assert max(Counter(cell.id for cell in notebook.cells).values()) == 1


def test_a_rebuild_is_the_same_to_the_byte(built):
    path = built / "notebooks/01_a.ipynb"
    before = path.read_bytes()
    assert build(built, "--stale").stdout == "01_a: up to date\n"
    path.unlink()
    # In another process, so that nothing rests on the order of a set.
    assert build_in_a_process(built, "01").stdout == "01_a: built\n"
    assert path.read_bytes() == before


def test_a_changed_source_is_stale_until_it_is_built(built):
    edit(built, "source/01_a.py", "A title", "Another title")
    process = build(built, "--check")
    assert process.returncode == 1
    assert "01_a: stale, its source has changed (cell 1)" in process.stderr
    assert build(built, "--stale").stdout == "01_a: built\n"
    assert build(built, "--check").returncode == 0


@pytest.mark.parametrize(
    "change", [("# %% [markdown]\n# # A title\n\n", ""), ('["shows-shape"]', '["shows-loss"]')]
)
def test_a_cell_less_and_another_tag_are_stale(built, change):
    edit(built, "source/01_a.py", *change)
    assert "01_a: stale" in build(built, "--check").stderr


def test_an_edited_notebook_is_not_overwritten(built):
    edit(built, "01_a.ipynb", "# A title", "# A better title")
    before = read_built(built)
    for process in (build(built, "--check"), build(built)):
        assert process.returncode == 1
        assert "01_a: " in process.stderr
        assert "edited by hand (cell 1 differs from the source)" in process.stderr
    assert read_built(built) == before
    assert build(built, "--force").returncode == 0
    assert read_built(built).cells[0].source == "# A title"


def test_the_advice_brings_an_edit_into_the_source(built):
    edit(built, "01_a.ipynb", "# A title", "# A better title")
    (line,) = [x for x in build(built).stderr.splitlines() if x.strip().startswith("jupytext")]
    command = [sys.executable, "-m", *shlex.split(line)]
    assert subprocess.run(command, cwd=built, capture_output=True).returncode == 0
    source = (built / "notebooks/source/01_a.py").read_text()
    assert source == SOURCE.replace("A title", "A better title")
    assert build(built).returncode == 0
    assert build(built, "--check").returncode == 0
    assert read_built(built).cells[0].source == "# A better title"


def test_an_edited_output_is_noticed_and_built_again(built):
    edit(built, "01_a.ipynb", "(32, 32, 16)\\n", "(32, 32, 17)\\n")
    assert "outputs or metadata are not those that" in build(built, "--check").stderr
    assert build(built, "--stale").stdout == "01_a: built\n"
    assert read_built(built).cells[1].outputs[0].text == "(32, 32, 16)\n"


def test_a_failing_cell_is_named_and_the_old_notebook_stays(built):
    before = read_built(built)
    edit(built, "source/01_a.py", "print((32, 32, 16))", "print(1 / 0)")
    process = build(built)
    assert process.returncode == 1
    assert "01_a: cell 2 of 5 failed" in process.stderr
    assert "ZeroDivisionError" in process.stderr
    assert read_built(built) == before
    assert os.listdir(built / "notebooks").count("01_a.ipynb.tmp") == 0


def test_a_cell_that_takes_too_long_is_named(project):
    edit(project, "source/01_a.py", "print((32, 32, 16))", "import time; time.sleep(60)")
    process = build(project, "--timeout=1")
    assert process.returncode == 1
    assert "01_a: cell 2 of 5 failed" in process.stderr
    assert not (project / "notebooks/01_a.ipynb").exists()


def test_a_notebook_without_source_and_one_not_built_are_noticed(project):
    (project / "notebooks/source/01_a.py").rename(project / "notebooks/source/02_b.py")
    nbformat.write(one_cell(), project / "notebooks/01_a.ipynb")
    process = build(project, "--check")
    assert process.stderr.splitlines() == [
        "01_a: no source, expected notebooks/source/01_a.py",
        "02_b: not built yet; run: make notebooks ARGS=02_b",
    ]


def test_a_name_that_means_no_notebook_is_an_error(project):
    process = build(project, "03")
    assert process.returncode == 1
    assert process.stderr == "expected the name of one notebook of ['01_a'], received '03'\n"
