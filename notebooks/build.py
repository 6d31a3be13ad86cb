"""Build notebooks/*.ipynb, outputs included, from notebooks/source/*.py.

A source is a jupytext py:percent file: `# %% [markdown]` starts a cell of text, `# %%` one of code,
`# %% tags=["nbval-approx"]` one with tags. Each notebook runs from its first cell to its last in a
fresh kernel, without a GPU, in an empty folder. A rebuild on the same machine gives the same bytes.
If a cell fails, the notebook stays as it was.

Edit the source, not the notebook. A notebook that was edited nevertheless is not overwritten: the
message says how to bring the edit into its source.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).resolve().parent
SOURCES = NOTEBOOKS / "source"
FIGURES = NOTEBOOKS / "figures"
FORMAT = "py:percent"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class BuildError(Exception):
    """A notebook that was not built, and why."""


def main(arguments=None):
    """Build or check the notebooks named on the command line; return the exit status."""
    options = parse(arguments)
    try:
        names = chosen(options.names)
    except BuildError as error:
        return report([str(error)])
    if options.check:
        return report([problem for name in names if (problem := complaint(name))])
    failures = []
    for name in names:
        try:
            print(f"{name}: {build(name, options)}", flush=True)
        except BuildError as error:
            failures.append(f"{name}: {error}")
    return report(failures)


def parse(arguments):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="build.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", help="01, 01_skip_connections or a path to either file; all if none"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="run nothing; say which notebooks do not agree with their sources, exit with 1 if any",
    )
    parser.add_argument(
        "--stale", action="store_true", help="build only those that --check complains about"
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite notebooks that were edited by hand, too"
    )
    parser.add_argument(
        "--timeout", type=int, default=300, metavar="S", help="seconds for one cell (default: 300)"
    )
    return parser.parse_args(arguments)


def report(problems):
    """Print the problems to stderr and return the exit status."""
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


# Which notebooks


def chosen(names):
    """Return the notebooks' names, without suffix: those that `names` mean, or all of them."""
    known = sorted({p.stem for p in [*SOURCES.glob("*.py"), *NOTEBOOKS.glob("*.ipynb")]})
    return [only_match(name, known) for name in names] or known


def only_match(name, known):
    """Return the one of `known` that `name` means: its name, a path to it or its beginning."""
    wanted = Path(name).name.removesuffix(".ipynb").removesuffix(".py")
    matches = [k for k in known if k == wanted] or [k for k in known if k.startswith(wanted)]
    if len(matches) != 1:
        raise BuildError(f"expected the name of one notebook of {known}, received {name!r}")
    return matches[0]


def source_path(name):
    """Return the path of a notebook's source."""
    return SOURCES / f"{name}.py"


def notebook_path(name):
    """Return the path of a built notebook."""
    return NOTEBOOKS / f"{name}.ipynb"


# Reading and comparing


def read_source(name):
    """Return the notebook that a source describes, not run, with stable cell ids."""
    if not source_path(name).exists():
        raise BuildError(f"no source, expected {shown(source_path(name))}")
    notebook = jupytext.read(source_path(name), fmt=FORMAT)
    seen = Counter()
    for cell in notebook.cells:
        content = (cell.cell_type, cell.source)
        cell.id = digest([*content, seen[content]])[:12]
        seen[content] += 1
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def read_notebook(name):
    """Return a built notebook as it stands in its file."""
    return nbformat.read(notebook_path(name), as_version=4)


def digest(content):
    """Return the SHA-256 of anything that can be written as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def notebook_digest(notebook):
    """Return the SHA-256 of all of a notebook but the note in which it is kept."""
    metadata = {key: value for key, value in notebook.metadata.items() if key != "resnet_lib"}
    return digest({**notebook, "metadata": metadata})


def is_as_built(notebook):
    """Say whether a notebook's file is still what build.py wrote."""
    return notebook.metadata.get("resnet_lib", {}).get("digest") == notebook_digest(notebook)


def written_cells(notebook):
    """Return type, text and metadata of each cell, as far as a source can hold them."""
    bare = nbformat.v4.new_notebook(cells=notebook.cells)
    # There and back, so that what a source cannot hold (how far a cell is scrolled) drops out.
    cells = jupytext.reads(jupytext.writes(bare, fmt=FORMAT), fmt=FORMAT).cells
    return [(cell.cell_type, cell.source, cell.metadata) for cell in cells]


def first_difference(name):
    """Return the number, from 1, of the first cell that differs from the source; None if none."""
    pairs = [written_cells(read_notebook(name)), written_cells(read_source(name))]
    longest = max(map(len, pairs))
    left, right = (cells + [None] * (longest - len(cells)) for cells in pairs)
    return next((i for i in range(longest) if left[i] != right[i]), -1) + 1 or None


def complaint(name):
    """Return what is wrong between a notebook and its source, or None."""
    if not source_path(name).exists():
        return f"{name}: no source, expected {shown(source_path(name))}"
    if not notebook_path(name).exists():
        return f"{name}: not built yet; {rebuild(name)}"
    cell = first_difference(name)
    if is_as_built(read_notebook(name)):
        return cell and f"{name}: stale, its source has changed (cell {cell}); {rebuild(name)}"
    if cell:
        return f"{name}: edited by hand (cell {cell} differs from the source)\n{way_back(name)}"
    return f"{name}: outputs or metadata are not those that build.py wrote; {rebuild(name)}"


def rebuild(name):
    """Return the advice to build a notebook."""
    return f"run: make notebooks ARGS={name}"


def way_back(name):
    """Return the advice to bring an edit of a notebook into its source."""
    return (
        "  To keep the edit, write it into the source, look at the change, and build:\n"
        f"    jupytext --to {FORMAT} --opt notebook_metadata_filter=-all"
        f" --output {shown(source_path(name))} {shown(notebook_path(name))}\n"
        f"    git diff {shown(source_path(name))}\n"
        f"    make notebooks ARGS={name}\n"
        f"  To throw it away: make notebooks ARGS='--force {name}'"
    )


def shown(path):
    """Return a path as somebody in the project's folder would type it."""
    return path.relative_to(NOTEBOOKS.parent).as_posix()


# Building


def build(name, options):
    """Run a source and write its notebook; return what was done, in a word."""
    wrong = complaint(name)
    if options.stale and not wrong:
        return "up to date"
    notebook = read_source(name)
    edited = notebook_path(name).exists() and not is_as_built(read_notebook(name))
    if edited and first_difference(name) and not options.force:
        raise BuildError(f"not built: {wrong.removeprefix(f'{name}: ')}")
    run(notebook, options.timeout)
    write(name, notebook)
    write_figures(notebook)
    return "built"


def run(notebook, timeout):
    """Run a notebook's cells in a fresh kernel and keep their outputs in it."""
    # Not at the top: --check does without it.
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    current = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as profile:
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name=KERNEL["name"],
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
            # TensorFlow's C++ log lines go to the terminal and not into the notebook.
            extra_arguments=["--IPKernelApp.capture_fd_output=False", "--log-level=ERROR"],
            on_cell_start=lambda cell, cell_index: current.append(cell_index),
        )
        try:
            client.execute(env=kernel_environment(profile))
        except (CellControlSignal, DeadKernelError) as error:
            cells = len(notebook.cells)
            raise BuildError(f"cell {current[-1] + 1} of {cells} failed\n{error}") from error
    tidy(notebook)


def kernel_environment(profile):
    """Return the environment for a run that depends little on the machine and its user."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "IPYTHONDIR": profile}
    environment |= {"RESNET_LIB_PROGRESS": "off", "RESNET_LIB_WIDGETS": "0"}
    environment.pop("RESNET_LIB_PROFILE", None)
    return environment


def tidy(notebook):
    """Drop from a notebook that was run what differs from machine to machine."""
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = [without_folders(line) for line in output.traceback]


def without_folders(text):
    """Return a traceback's text with files named as seen from the project or site-packages."""
    paths = sysconfig.get_paths()
    for folder in (paths["purelib"], paths["platlib"], paths["stdlib"], NOTEBOOKS.parent):
        home = f"{Path.home()}{os.sep}"
        # IPython writes ~ for the home folder.
        for spelling in (f"{folder}", f"{folder}".replace(home, f"~{os.sep}", 1)):
            text = text.replace(spelling + os.sep, "")
    return text


def write(name, notebook):
    """Write a notebook, with its digest, in one step: the old file or the new one, never half."""
    notebook.metadata["resnet_lib"] = {"digest": notebook_digest(plain(notebook))}
    temporary = notebook_path(name).with_suffix(".ipynb.tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, notebook_path(name))


def write_figures(notebook):
    """Write the pictures of cells tagged `figure-NAME` as figures/NAME.png, for the README."""
    for name, picture in tagged_figures(notebook):
        FIGURES.mkdir(exist_ok=True)
        (FIGURES / f"{name}.png").write_bytes(picture)


def tagged_figures(notebook):
    """Yield name and PNG, as bytes, of each cell tagged `figure-NAME`."""
    for cell in notebook.cells:
        names = [t for t in cell.metadata.get("tags", []) if t.startswith("figure-")]
        pngs = [
            o.data["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
        ]
        for name, png in zip(names, pngs, strict=False):
            yield name.removeprefix("figure-"), base64.b64decode(png)


def plain(notebook):
    """Return a notebook as it will be read back from its file."""
    return nbformat.reads(nbformat.writes(notebook), as_version=4)


if __name__ == "__main__":
    sys.exit(main())
