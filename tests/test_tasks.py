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
from resnet_lib.exercises.predictions import PREDICTIONS

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
    """Return the first code cell, those tagged `setup`, checked solutions, and answers."""
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    names = {index: name for name, index in stubs(notebook).items()}
    cells = []
    for index, cell in enumerate(notebook.cells):
        if index == first or "setup" in cell.metadata.get("tags", []):
            cells.append(v4.new_code_cell(cell.source))
        if name := names.get(index):
            cells.append(v4.new_code_cell(solutions(notebook, name)[0]))
            checked = v4.new_code_cell(checks(notebook, name)[0].source)
            checked.metadata["checks"] = name
            cells.append(checked)
    used = [name for name in stubs(notebook) if is_function(name)]
    answers = [f'print("is one" * callable(rl.exercises.answer("{name}")))' for name in used]
    return v4.new_notebook(cells=[*cells, v4.new_code_cell("\n".join(answers))])


def is_function(name):
    """Say whether the answer to an exercise of the library is a function."""
    return name in NAMES and exercises._exercise(name).stand_in is not None


def run_solved(notebook, folder):
    """Run a notebook's solutions; return {name: what its check printed} and what answers said."""
    from nbclient import NotebookClient

    short = solved(notebook)
    resources = {"metadata": {"path": str(folder)}}
    # TensorFlow's C++ log lines go to the terminal, as in build.py.
    options = {"extra_arguments": ["--IPKernelApp.capture_fd_output=False", "--log-level=ERROR"]}
    NotebookClient(
        short, timeout=300, kernel_name="python3", resources=resources, **options
    ).execute()
    named = [(cell.metadata.get("checks"), stdout(cell)) for cell in short.cells]
    return {name: said for name, said in named if name}, named[-1][1]


def registered_for(path, names=NAMES):
    return [name for name in names if name.split("-")[0] == path.stem[:2]]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_has_its_exercises(path):
    assert problems(nbformat.read(path, as_version=4), registered_for(path)) == []


# Predictions: what is wrong with those of a notebook, a line a problem

CALL = re.compile(r'rl\.exercises\.(predict|compare)\(\s*"([^"]+)"')


def calls(notebook, function):
    """Return (name, index of the cell) of each `predict` or `compare`, in their order."""
    return [
        (name, index)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        for called, name in CALL.findall(cell.source)
        if called == function
    ]


def wrong_predictions(notebook, registered):
    """Return what is wrong with a notebook's predictions."""
    named = {name for function in ("predict", "compare") for name, _ in calls(notebook, function)}
    return [
        *(f"{name}: not registered" for name in sorted(named.difference(registered))),
        *(problem for name in registered for problem in wrong_prediction(notebook, name)),
    ]


def wrong_prediction(notebook, name):
    places = {
        function: [index for each, index in calls(notebook, function) if each == name]
        for function in ("predict", "compare")
    }
    yield from (f"{name}: {len(p)} cells {f}" for f, p in places.items() if len(p) != 1)
    if any(len(found) != 1 for found in places.values()):
        return
    (asked,), (answered,) = places.values()
    if answered <= asked:
        yield f"{name}: compared before it is predicted"
    if not stdout(notebook.cells[asked]).startswith("no prediction yet: "):
        yield f"{name}: saved output {stdout(notebook.cells[asked])[:40]!r}"
    if not re.search(r"^you: no prediction; \w", stdout(notebook.cells[answered]), re.MULTILINE):
        yield f"{name}: saved comparison {stdout(notebook.cells[answered])[:40]!r}"
    for index in range(asked + 1, answered + 1):
        if gives_away(notebook.cells[index]):
            yield f"{name}: cell {index + 1} shows the answer and is not tagged `answer`"


def gives_away(cell):
    """Say whether a cell between question and answer has an output that a copy will show."""
    asks = any(function == "predict" for function, _ in CALL.findall(cell.source))
    return bool(cell.get("outputs")) and not asks and "answer" not in cell.metadata.get("tags", [])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_has_its_predictions(path):
    notebook = nbformat.read(path, as_version=4)
    assert wrong_predictions(notebook, registered_for(path, PREDICTIONS)) == []


WORKSHOPS = [path for path in PATHS if path.stem[:2] != "00"]


@pytest.mark.parametrize("path", WORKSHOPS, ids=lambda path: path.stem)
def test_a_notebook_is_a_workshop(path):
    """Seven tasks and more, two thirds of them in the text, and a project at the end."""
    notebook = nbformat.read(path, as_version=4)
    tasks = [*stubs(notebook).values(), *(index for _, index in calls(notebook, "predict"))]
    texts = [cell.source if cell.cell_type == "markdown" else "" for cell in notebook.cells]
    summary = next(i for i, text in enumerate(texts) if re.search("^## Summary", text, re.M))
    assert len(tasks) >= 7
    assert sum(index < summary for index in tasks) >= len(tasks) * 2 / 3
    assert [n for n in stubs(notebook) if n.endswith("-project")] == [f"{path.stem[:2]}-project"]
    assert any(re.search("^## Project: ", text, re.MULTILINE) for text in texts[summary:])


def test_there_are_tasks_enough_and_planted_faults_among_them():
    assert len(NAMES) + len(PREDICTIONS) >= 52
    assert sum("fault" in name for name in NAMES) >= 5


def test_every_prediction_and_every_exercise_belongs_to_a_notebook():
    of_notebooks = [n for path in PATHS for n in registered_for(path, [*NAMES, *PREDICTIONS])]
    assert sorted(of_notebooks) == sorted([*NAMES, *PREDICTIONS])


def test_an_exercise_that_asks_for_a_function_has_one_that_stands_in():
    asking = set()
    for path in PATHS:
        notebook = nbformat.read(path, as_version=4)
        for name in registered_for(path):
            if re.search(r"^def ", notebook.cells[stubs(notebook)[name]].source, re.MULTILINE):
                asking.add(name)
    standing_in = {name for name in NAMES if exercises._exercise(name).stand_in is not None}
    assert len(asking) >= 8
    assert standing_in == asking


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_folded_solution_is_correct(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    found, used = run_solved(notebook, tmp_path)
    functions = filter(is_function, stubs(notebook))
    assert used == "".join(f"{name}: your function\nis one\n" for name in functions)
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
    found, _ = run_solved(notebook, tmp_path)
    assert found == {"09-a": "correct: yes.\n", "09-b": "look again: no.\n"}


def prediction(name, *between, asked="no prediction yet: x\n", said="you: no prediction; x: 1\n"):
    """Return the cells of a prediction; the comparison may have a cell of another kind before."""
    cells = [
        v4.new_code_cell(
            f'rl.exercises.{function}(\n    "{name}", {rest})',
            outputs=[v4.new_output("stream", name="stdout", text=text)],
            metadata={"tags": ["answer"] if function == "compare" else []},
        )
        for function, rest, text in (("predict", "guess", asked), ("compare", "x=1", said))
    ]
    return [cells[0], *between, cells[1]]


def printing(text, *tags):
    outputs = [v4.new_output("stream", name="stdout", text=text)] if text else []
    return v4.new_code_cell("print()", outputs=outputs, metadata={"tags": list(tags)})


P, Q = prediction("09-p"), prediction("09-q")
UNTAGGED = deepcopy(Q[1])
UNTAGGED.metadata = {}


@pytest.mark.parametrize(
    ("notebook", "found"),
    [
        (of(P, Q), []),
        (of(P[:1], Q, P[1:]), []),
        (of(P, prediction("09-q", printing("4672", "answer"), printing("")), A), []),
        (of(P), ["09-q: 0 cells predict", "09-q: 0 cells compare"]),
        (of(P, Q[:1]), ["09-q: 0 cells compare"]),
        (of(P, Q[1:]), ["09-q: 0 cells predict"]),
        (of(P, Q, Q[:1]), ["09-q: 2 cells predict"]),
        (of(P, Q[::-1]), ["09-q: compared before it is predicted"]),
        (of(P, Q, prediction("09-r")), ["09-r: not registered"]),
        (
            of(P, prediction("09-q", asked="you predict: 5\n")),
            ["09-q: saved output 'you predict: 5\\n'"],
        ),
        (
            of(P, prediction("09-q", said="you: 5; x: 1\n")),
            ["09-q: saved comparison 'you: 5; x: 1\\n'"],
        ),
        (
            of(P, prediction("09-q", printing("4672"))),
            ["09-q: cell 6 shows the answer and is not tagged `answer`"],
        ),
        (of(P, Q[:1], [UNTAGGED]), ["09-q: cell 6 shows the answer and is not tagged `answer`"]),
    ],
)
def test_a_problem_of_a_prediction_is_found(notebook, found):
    assert wrong_predictions(notebook, ["09-p", "09-q"]) == found
