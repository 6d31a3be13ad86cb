"""The notebooks hold the exercises and predictions that the library has, each complete."""

import re
from copy import deepcopy
from itertools import chain
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from resnet_lib import exercises
from resnet_lib.exercises import notebook01

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
NAMES = exercises.names()

# Notebooks: what is wrong with the exercises of one, a line a problem

LONGEST_STUB = 10
CHECK = re.compile(r'rl\.exercises\.check\("([^"]+)"')
SOLUTION = "<summary>Solution</summary>"


def stubs(notebook):
    """Return {name: index of the cell} of a notebook's exercises."""
    return {
        tag.removeprefix("exercise-"): index
        for index, cell in enumerate(notebook.cells)
        for tag in cell.metadata.get("tags", [])
        if tag.startswith("exercise-")
    }


def following(notebook, name):
    """Return the cells between an exercise's stub and the next one's."""
    start = stubs(notebook)[name] + 1
    stop = min((i for i in stubs(notebook).values() if i >= start), default=None)
    return notebook.cells[start:stop]


def checks(notebook, name):
    """Return the cells that check an exercise."""
    cells = [cell for cell in following(notebook, name) if cell.cell_type == "code"]
    return [cell for cell in cells if name in CHECK.findall(cell.source)]


def solutions(notebook, name):
    """Return the Python code of an exercise's folded solutions."""
    cells = [cell for cell in following(notebook, name) if cell.cell_type == "markdown"]
    folded = [text for cell in cells for text in cell.source.split("<details>")[1:]]
    folded = [text.split("</details>")[0] for text in folded if SOLUTION in text]
    return [code for text in folded for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def stdout(cell):
    """Return what a cell printed; anything else that it put out shows as its kind."""
    return "".join(
        output.text if output.get("name") == "stdout" else f"<{output.output_type}>"
        for output in cell.outputs
    )


def problems(notebook, registered):
    """Return what is wrong with a notebook's exercises."""
    found = stubs(notebook)
    return [
        *([f"{len(found)} exercises, expected 2 or more"] if len(found) < 2 else []),
        *(
            f"{name}: registered, but not in the notebook"
            for name in registered
            if name not in found
        ),
        *(f"{name}: not registered" for name in found if name not in registered),
        *(f"{name}: a check without a stub" for name in all_checked(notebook) - found.keys()),
        *(problem for name in found for problem in problems_of_one(notebook, name)),
    ]


def all_checked(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {name for cell in cells for name in CHECK.findall(cell.source)}


def problems_of_one(notebook, name):
    cell = notebook.cells[stubs(notebook)[name]]
    if len(cell.source.splitlines()) > LONGEST_STUB:
        yield f"{name}: a stub of more than {LONGEST_STUB} lines"
    if len(solutions(notebook, name)) != 1:
        yield f"{name}: {len(solutions(notebook, name))} folded solutions"
    if len(checks(notebook, name)) != 1:
        yield f"{name}: {len(checks(notebook, name))} checks"
    for check in checks(notebook, name):
        if not stdout(check).startswith("not done yet: "):
            yield f"{name}: saved output {stdout(check)[:40]!r}"


def solved(notebook):
    """Return a short notebook: the first code cell, then each solution and its check."""
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    cells = [v4.new_code_cell(first.source)]
    for name in stubs(notebook):
        cells.append(v4.new_code_cell(solutions(notebook, name)[0]))
        cells.append(v4.new_code_cell(checks(notebook, name)[0].source))
    return v4.new_notebook(cells=cells)


def verdicts(notebook, folder):
    """Run a notebook with its solutions filled in; return {name: what the check printed}."""
    from nbclient import NotebookClient

    short = solved(notebook)
    resources = {"metadata": {"path": str(folder)}}
    # TensorFlow's C++ log lines go to the terminal, as in build.py.
    options = {"extra_arguments": ["--IPKernelApp.capture_fd_output=False", "--log-level=ERROR"]}
    NotebookClient(
        short, timeout=300, kernel_name="python3", resources=resources, **options
    ).execute()
    return dict(zip(stubs(notebook), map(stdout, short.cells[2::2]), strict=True))


def registered_for(path):
    return [name for name in NAMES if name.split("-")[0] == path.stem[:2]]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_has_its_exercises(path):
    assert problems(nbformat.read(path, as_version=4), registered_for(path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_folded_solution_is_correct(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    found = verdicts(notebook, tmp_path)
    assert len(found) >= 2
    wrong = {name: text for name, text in found.items() if not text.startswith("correct: ")}
    assert wrong == {}


@pytest.mark.parametrize("path", [p for p in PATHS if p.stem[:2] == "01"], ids=lambda p: p.stem)
def test_the_table_of_shapes_is_that_of_the_check(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    for letter, (branch, skip, _) in notebook01.SHAPES.items():
        assert f"| {letter} | {branch} | {skip} |" in text


# The tests of notebooks find what they look for

FAKE_LIBRARY = """\
from types import SimpleNamespace

def check(name, answer):
    print("correct: yes." if answer == 42 else "look again: no.")

rl = SimpleNamespace(exercises=SimpleNamespace(check=check))"""


def folded(code):
    return f"<details>\n{SOLUTION}\n\n```python\n{code}\n```\n\n</details>"


def exercise(
    name, solution="answer = 42", output="not done yet: replace `...`\n", stub="answer = ..."
):
    """Return the cells of an exercise."""
    outputs = [v4.new_output("stream", name="stdout", text=output)]
    check = f'rl.exercises.check("{name}", answer)'
    return [
        v4.new_code_cell(stub, metadata={"tags": [f"exercise-{name}"]}),
        v4.new_code_cell(check, outputs=outputs),
        v4.new_markdown_cell(folded(solution)),
    ]


def of(*exercises):
    """Return a notebook of exercises."""
    cells = [v4.new_markdown_cell("# Title"), v4.new_code_cell(FAKE_LIBRARY)]
    # One by one: a cell that is there twice must become two.
    cells = [deepcopy(cell) for cell in chain(cells, *exercises)]
    for index, cell in enumerate(cells):
        cell.id = f"cell-{index}"
    return v4.new_notebook(cells=cells)


A, B = exercise("09-a"), exercise("09-b")
OUTPUT = "correct: yes.\n"


@pytest.mark.parametrize(
    ("notebook", "found"),
    [
        (of(A, B), set()),
        (of(A), {"1 exercises, expected 2 or more", "09-b: registered, but not in the notebook"}),
        (of(A, B, exercise("09-c")), {"09-c: not registered"}),
        (of(A, B[:2]), {"09-b: 0 folded solutions"}),
        (of(A[:2], B), {"09-a: 0 folded solutions"}),
        (of(A, B, B[2:]), {"09-b: 2 folded solutions"}),
        (of(A, [B[0], B[2]]), {"09-b: 0 checks"}),
        (of(A, B, B[1:2]), {"09-b: 2 checks"}),
        (of(A, B, exercise("09-d")[1:2]), {"09-d: a check without a stub"}),
        (of(A, exercise("09-b", output=OUTPUT)), {"09-b: saved output 'correct: yes.\\n'"}),
        (of(A, exercise("09-b", output="")), {"09-b: saved output ''"}),
        (of(A, exercise("09-b", stub="\n" * 10 + "...")), {"09-b: a stub of more than 10 lines"}),
    ],
)
def test_problem_of_a_notebook_is_found(notebook, found):
    assert set(problems(notebook, ["09-a", "09-b"])) == found


def test_wrong_solution_is_found(tmp_path):
    notebook = of(A, exercise("09-b", solution="answer = 41"))
    assert verdicts(notebook, tmp_path) == {"09-a": "correct: yes.\n", "09-b": "look again: no.\n"}
