"""Copy notebooks/*.ipynb into my_notebooks/, for a reader to write in: `make my_notebooks`.

A copy that is there is never overwritten. The notebooks are saved with all outputs; a copy comes
without those that would be on the screen before their question: of cells tagged `answer`, of an
exercise's stub (tagged `exercise-NAME`) and of its check. Needs nothing but Python.
"""

import json
import os
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent
CHECK = "rl.exercises.check("


def main():
    """Copy what is missing, say how many there are; return the exit status."""
    folder = NOTEBOOKS.parent / "my_notebooks"
    copied = kept = 0
    try:
        folder.mkdir(exist_ok=True)
        for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
            if os.path.lexists(str(folder / notebook.name)):
                kept += 1
            else:
                write(folder / notebook.name, without_answers(notebook.read_bytes()))
                copied += 1
    except OSError as error:
        print(f"my_notebooks: {error}", file=sys.stderr)
        return 1
    print(
        f"my_notebooks: {copied} copied, {kept} kept as they are "
        "(rename or remove one to get a new copy)"
    )
    return 0


def without_answers(content):
    """Return a notebook's bytes without the outputs of the cells that give an answer away."""
    try:
        notebook = json.loads(content.decode("utf-8"))
        answering = [cell for cell in notebook.get("cells", []) if is_answer(cell)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return content  # No notebook: copied as it is.
    for cell in answering:
        cell.update(outputs=[], execution_count=None)
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    return (text + "\n").encode("utf-8") if answering else content


def is_answer(cell):
    """Say whether a cell's output answers a prediction or a task."""
    tags = cell.get("metadata", {}).get("tags", [])
    tagged = any(tag == "answer" or tag.startswith("exercise-") for tag in tags)
    return cell["cell_type"] == "code" and (tagged or CHECK in "".join(cell["source"]))


def write(path, content):
    """Write a file in one step: whoever stops this leaves no half copy that would be kept."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(str(part), str(path))


if __name__ == "__main__":
    sys.exit(main())
