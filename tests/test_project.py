"""The files around the library agree: requirements, lock, environments, CI, hooks and Makefile."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat import v4
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
PYTHONS = ("3.11", "3.13")
CONDA_ENVIRONMENT = "resnet-lib"


# Requirements


# Extras for one kind of machine each; they are not in the lock.
ACCELERATORS = ("gpu", "jax-cuda", "jax-tpu")


def declared(without=(*ACCELERATORS, "torch")):
    """Return the requirements of pyproject.toml, but for some extras."""
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [line for name, group in extras.items() if name not in without for line in group]
    return [Requirement(line) for line in [*PROJECT["project"]["dependencies"], *lines]]


def ranges(requirements):
    """Return {name: range} of requirements."""
    return {canonicalize_name(r.name): (r.specifier, r.extras) for r in requirements}


def lock_entries(text):
    """Return the lines of a lock, one a package: continuation lines are joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def locked(text, python):
    """Return {name: version} that a lock gives a Python on Linux."""
    environment = {**default_environment(), "platform_system": "Linux", "sys_platform": "linux"}
    environment |= {"os_name": "posix", "platform_machine": "x86_64"}
    environment |= {"python_version": python, "python_full_version": f"{python}.9"}
    versions = {}
    for entry in lock_entries(text):
        requirement = Requirement(entry.split(" --hash=")[0])
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (pin,) = requirement.specifier
            versions[canonicalize_name(requirement.name)] = Version(pin.version)
    return versions


def outside(requirements, versions):
    """Return the requirements that versions do not meet."""
    found = [(r, versions.get(canonicalize_name(r.name))) for r in requirements]
    return [
        f"{requirement}: {version or 'not there'}"
        for requirement, version in found
        if version is None or not requirement.specifier.contains(version, prereleases=True)
    ]


def test_supported_pythons_are_the_ends_of_requires_python():
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    minors = [f"3.{minor}" for minor in range(30) if f"3.{minor}.9" in supported]
    assert (minors[0], minors[-1]) == PYTHONS


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_meets_every_declared_requirement(python):
    assert outside(declared(), locked(LOCK, python)) == []


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_holds_the_build_backend(python):
    # `make setup` installs the project without build isolation.
    backend = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    assert outside(backend, locked(LOCK, python)) == []


def test_a_locked_version_out_of_range_or_missing_is_noticed():
    requirements = [Requirement("keras>=3.15,<4"), Requirement("nbval")]
    found = outside(requirements, locked("keras==3.14.0 \\\n    --hash=sha256:0\n", "3.11"))
    assert found == ["keras<4,>=3.15: 3.14.0", "nbval: not there"]


def test_every_lock_entry_is_one_version_with_hashes():
    entry = re.compile(r"[\w.-]+==\S+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert [line[:80] for line in lock_entries(LOCK) if not entry.fullmatch(line)] == []


def test_lock_names_no_address():
    assert re.findall(r".*(?:://|--index|--find-links|@ ).*", LOCK) == []


# The conda environment


def conda_lines():
    """Return (conda lines, pip lines) of environment.yml."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [line["pip"] for line in lines if isinstance(line, dict)]
    return [line for line in lines if isinstance(line, str)], pip


def test_conda_environment_has_the_requirements_of_pyproject():
    pip = [Requirement(line) for line in conda_lines()[1] if line != "-e ."]
    assert ranges(pip) == ranges(declared())
    assert len(pip) == len(ranges(pip)), "a package stands in environment.yml twice"


def test_conda_environment_installs_the_project_itself_last():
    assert conda_lines()[1][-1] == "-e ."


def test_conda_environment_has_the_python_of_pyproject_and_the_tools_of_the_makefile():
    conda = {r.name: r.specifier for r in map(Requirement, conda_lines()[0])}
    assert conda["python"] == SpecifierSet(PROJECT["project"]["requires-python"])
    assert {"pip", "make"} <= conda.keys()


@pytest.mark.parametrize("extra", ACCELERATORS)
def test_conda_environment_names_the_requirement_for_an_accelerator(extra):
    (requirement,) = PROJECT["project"]["optional-dependencies"][extra]
    text = (ROOT / "environment.yml").read_text()
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert sum(requirement in line for line in comments) == 1


@pytest.mark.parametrize("extra", ACCELERATORS)
def test_an_accelerators_extra_has_a_version_that_the_lock_meets(extra):
    """What is tested on the CPU is what the extra installs, but for the accelerator."""
    (line,) = PROJECT["project"]["optional-dependencies"][extra]
    requirement = Requirement(line)
    assert len(requirement.extras) == 1
    assert outside([requirement], locked(LOCK, PYTHONS[0])) == []


def test_tensorflow_is_a_dependency_whatever_the_backend():
    assert "tensorflow" in ranges(map(Requirement, PROJECT["project"]["dependencies"]))


def test_conda_environment_has_the_name_that_the_makefile_looks_for():
    name = yaml.safe_load((ROOT / "environment.yml").read_text())["name"]
    assert name == CONDA_ENVIRONMENT
    assert f"ifeq ($(CONDA_DEFAULT_ENV),{name})" in (ROOT / "Makefile").read_text()


# What is installed


def test_the_library_and_the_plugin_of_pytest_are_packaged():
    patterns = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {name.partition(".")[0] for name in find_packages(ROOT, include=patterns)}
    assert packages == {"resnet_lib", "nbval_approx"}
    assert PROJECT["project"]["entry-points"]["pytest11"] == {"nbval_approx": "nbval_approx"}
    assert PROJECT["project"]["scripts"] == {"resnet-lib": "resnet_lib.__main__:main"}


# Continuous integration


def test_workflow_runs_the_checks_on_the_lowest_and_the_highest_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    job = workflow["jobs"]["test"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert tuple(job["strategy"]["matrix"]["python"]) == PYTHONS
    assert commands == ["make setup", "make check", "make test", "make test-slow"]


CI_PROGRAM = """\
#!/bin/sh
echo "${0##*/} $* ${RESNET_LIB_DATA-none}"
[ "$1" != "$FAILING" ] || exit 2
"""


def run_ci(folder, **variables):
    """Run a copy of .ci/run where make and Python only say what they are asked to do."""
    project = folder / "project"
    shutil.copytree(ROOT / ".ci", project / ".ci")
    for program in (folder / "bin/make", project / ".venv/bin/python"):
        program.parent.mkdir(parents=True)
        program.write_text(CI_PROGRAM)
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("RESNET_LIB_DATA", None)
    script = [str(project / ".ci/run")]
    return subprocess.run(script, env=environment | variables, capture_output=True, text=True)


@pytest.mark.parametrize("images", [True, False])
def test_ci_script_runs_the_checks_with_the_images_where_they_are(tmp_path, images):
    if images:
        (tmp_path / "shared/tools").mkdir(parents=True)
        (tmp_path / "shared/tools/prepare_data.py").touch()
    process = run_ci(tmp_path)
    assert process.returncode == 0, process.stderr

    data = str(tmp_path / "project/.data") if images else "none"
    expected = ["make setup none", *(f"make {x} {data}" for x in ("check", "test", "test-slow"))]
    second = process.stdout.splitlines().pop(1)
    assert [line for line in process.stdout.splitlines() if line != second] == expected
    prepared = f"python ../shared/tools/prepare_data.py {data} none"
    assert second == prepared if images else second.startswith("no ../shared/tools/prepare_data.py")


@pytest.mark.parametrize("step", ["setup", "check", "test", "test-slow"])
def test_ci_script_fails_at_the_first_step_that_does(tmp_path, step):
    process = run_ci(tmp_path, FAILING=step)
    assert process.returncode == 2
    assert process.stdout.splitlines()[-1].startswith(f"make {step} ")


# Paths


def machine_paths(content):
    """Return the paths of this machine or of somebody's home folder in a file's bytes."""
    here = [re.escape(f"{folder}/".encode()) for folder in (ROOT, Path.home())]
    homes = rb"(?<![\w.:/-])/(?:home|Users)/[\w.-]+/"
    return re.findall(b"|".join([*here, homes]), content)


def test_no_tracked_file_names_a_path_of_a_machine():
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout, or no git")
    listed = subprocess.run(git, capture_output=True, check=True).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name]
    found = {f.relative_to(ROOT): machine_paths(f.read_bytes()) for f in files if f.is_file()}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_paths_of_a_machine_are_noticed():
    home = "/".join(["", "home", "someone", "data"]).encode()
    assert machine_paths(b"open('" + home + b"')")
    assert machine_paths(f"{ROOT}/README.md".encode())
    assert not machine_paths(b"https://example.org/home/someone/ and data/home/x/")


# The Makefile, on a copy of it with a Python that only notes what it is asked to do

FAKE_PYTHON = f"""#!/bin/sh
case "$1 $2" in
  "-c "* | "notebooks/copies.py "*) exec "{sys.executable}" "$@" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") [ "$3" = --version ] && exit 0 ;;
esac
echo "$*" >> calls.txt
"""


@pytest.fixture
def checkout(tmp_path):
    """Return a folder, with a blank in its name, that holds the Makefile and a fake Python."""
    folder = tmp_path / "a checkout"
    (folder / "notebooks").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "notebooks/copies.py"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / "fake python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return folder


def make(folder, *arguments, **variables):
    """Run make with the fake Python; return the finished process. A variable None is unset."""
    if not shutil.which("make"):
        pytest.skip("no make")
    unset = {"MAKEFLAGS": None, "MFLAGS": None, "MAKELEVEL": None, "ARGS": None, "WORKERS": None}
    chosen = {"PYTHON": "./fake python", "CONDA_DEFAULT_ENV": None, **variables}
    environment = {**os.environ, **unset, **chosen}
    environment = {name: value for name, value in environment.items() if value is not None}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def calls(folder):
    """Return, and forget, what the fake Python was asked to do."""
    noted = folder / "calls.txt"
    lines = noted.read_text().splitlines() if noted.exists() else []
    noted.unlink(missing_ok=True)
    return lines


LOCK_STEP = "-m pip install --require-hashes -r requirements.lock"
EDITABLE_STEP = "-m pip install --no-deps --no-build-isolation -e ."


def make_newer(path, than):
    """Give a file a later time than another has."""
    later = than.stat().st_mtime + 10
    os.utime(path, (later, later))


def test_setup_installs_the_lock_then_the_project(checkout):
    process = make(checkout, "setup")
    assert process.returncode == 0, process.stderr
    assert calls(checkout) == ["-m venv .venv", LOCK_STEP, EDITABLE_STEP]


def test_a_second_setup_installs_nothing(checkout):
    make(checkout, "setup")
    calls(checkout)
    assert "pip" not in make(checkout, "-n", "setup").stdout
    assert make(checkout, "setup").returncode == 0
    assert calls(checkout) == []


@pytest.mark.parametrize(
    ("changed", "steps"),
    [("requirements.lock", [LOCK_STEP, EDITABLE_STEP]), ("pyproject.toml", [EDITABLE_STEP])],
)
def test_setup_installs_again_what_has_changed(checkout, changed, steps):
    make(checkout, "setup")
    calls(checkout)
    make_newer(checkout / changed, than=checkout / ".venv/.project-installed")
    make(checkout, "setup")
    assert calls(checkout) == steps


def test_a_setup_that_failed_is_tried_again(checkout):
    python = checkout / "fake python"
    python.write_text(FAKE_PYTHON + '[ "$3" != install ]\n')
    assert make(checkout, "setup").returncode != 0
    assert calls(checkout) == ["-m venv .venv", LOCK_STEP]
    (checkout / ".venv/bin/python").write_text(FAKE_PYTHON)
    assert make(checkout, "setup").returncode == 0
    assert calls(checkout) == [LOCK_STEP, EDITABLE_STEP]


def old_python(path):
    """Write a program that runs as a Python too old for the project."""
    path.write_text('#!/bin/sh\n[ "$1" != -c ] || exit 1\necho old "$*" >> calls.txt\n')
    path.chmod(0o755)


def test_a_python_that_was_asked_for_and_is_too_old_is_refused(checkout):
    old_python(checkout / "fake python")
    process = make(checkout, "setup")
    assert process.returncode != 0
    assert "Python 3.13 3.12 3.11 needed" in process.stderr
    assert not (checkout / ".venv").exists()


def test_another_python_is_found_where_python3_is_too_old(checkout, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    shutil.copy(checkout / "fake python", programs / "python3.12")
    for name in ("python3", "python3.13"):
        old_python(programs / name)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    process = make(checkout, "setup", PATH=path, PYTHON=None)
    assert process.returncode == 0, process.stderr
    assert "making .venv with python3.12" in process.stdout


def test_supported_pythons_of_the_makefile_are_those_of_pyproject():
    (line,) = re.findall(r"^SUPPORTED = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    expected = [f"3.{minor}" for minor in range(30) if f"3.{minor}.9" in supported]
    assert line.split() == expected[::-1]


def test_my_notebooks_never_overwrites_a_copy(checkout):
    (checkout / "notebooks/01_a.ipynb").write_text("ours, first edition")
    assert "1 copied, 0 kept" in make(checkout, "my_notebooks").stdout
    copy = checkout / "my_notebooks/01_a.ipynb"
    assert copy.read_text() == "ours, first edition"
    copy.write_text("the reader's")
    (checkout / "notebooks/01_a.ipynb").write_text("ours, second edition")
    (checkout / "notebooks/02 b.ipynb").write_text("new")
    assert "1 copied, 1 kept" in make(checkout, "my_notebooks").stdout
    assert copy.read_text() == "the reader's"
    assert (checkout / "my_notebooks/02 b.ipynb").read_text() == "new"


def test_my_notebooks_without_notebooks_copies_nothing(checkout):
    assert "0 copied, 0 kept" in make(checkout, "my_notebooks").stdout
    assert list((checkout / "my_notebooks").iterdir()) == []


def notebook_of(*cells):
    """Return a notebook as build.py writes it: (source, tags, output) a cell."""
    cells = [
        v4.new_code_cell(
            source,
            id=f"{number}",
            execution_count=number,
            metadata={"tags": tags},
            outputs=[v4.new_output("stream", text=text)],
        )
        for number, (source, tags, text) in enumerate(cells, 1)
    ]
    return v4.new_notebook(cells=[v4.new_markdown_cell("Größe", id="text"), *cells])


def test_a_copy_comes_without_the_outputs_that_give_an_answer_away(checkout):
    cells = [
        ("1 + 1", [], "2"),
        ('rl.exercises.predict("a", ...)', [], "no prediction yet"),
        ("4672", ["nbval-approx", "answer"], "4672"),
        ("def f():", ["exercise-b"], "x"),
        ('rl.exercises.check("b", f)', [], "not done yet"),
        ("answers", ["answers"], "shown"),
    ]
    original = checkout / "notebooks/01_a.ipynb"
    nbformat.write(notebook_of(*cells), original)
    before = original.read_bytes()
    assert "1 copied" in make(checkout, "my_notebooks").stdout
    assert original.read_bytes() == before

    copy = nbformat.read(checkout / "my_notebooks/01_a.ipynb", as_version=4)
    whole = nbformat.read(original, as_version=4)
    for number in (3, 4, 5):
        assert (copy.cells[number].outputs, copy.cells[number].execution_count) == ([], None)
        whole.cells[number] |= {"outputs": [], "execution_count": None}
    assert copy == whole
    nbformat.write(whole, original)
    assert (checkout / "my_notebooks/01_a.ipynb").read_bytes() == original.read_bytes()


def test_a_copy_of_a_notebook_without_answers_is_the_same_to_the_byte(checkout):
    original = checkout / "notebooks/01_a.ipynb"
    original.write_text('{"cells": [], "written": "otherwise"}')
    make(checkout, "my_notebooks")
    assert (checkout / "my_notebooks/01_a.ipynb").read_bytes() == original.read_bytes()


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda p: p.stem)
def test_the_copy_of_a_notebook_shows_no_answer(path, copies):
    copy = nbformat.reads(copies.without_answers(path.read_bytes()).decode(), as_version=4)
    nbformat.validate(copy)
    whole = nbformat.read(path, as_version=4)
    different = [c.source for c, w in zip(copy.cells, whole.cells, strict=True) if c != w]
    assert sum("exercises.check(" in source for source in different) >= 2
    assert [c.source for c in copy.cells] == [w.source for w in whole.cells]
    assert not any(c.get("outputs") for c in copy.cells if "answer" in c.metadata.get("tags", []))


@pytest.fixture
def copies(monkeypatch):
    """The script that makes the copies, as a module."""
    monkeypatch.syspath_prepend(ROOT / "notebooks")
    return importlib.import_module("copies")


def test_a_build_has_no_widgets_and_keeps_nothing_of_the_reader(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "notebooks")
    monkeypatch.setenv("RESNET_LIB_PROGRESS", "mine.json")
    monkeypatch.setenv("RESNET_LIB_WIDGETS", "1")
    environment = importlib.import_module("build").kernel_environment("profile")
    assert environment["RESNET_LIB_PROGRESS"] == "off"
    assert environment["RESNET_LIB_WIDGETS"] == "0"


def test_the_copies_need_nothing_but_python_and_no_set_up(checkout):
    (checkout / "notebooks/01_a.ipynb").write_text("{}")
    process = make(checkout, "my_notebooks", PYTHON=sys.executable)
    assert (process.returncode, process.stderr) == (0, "")
    assert "1 copied" in process.stdout
    assert not (checkout / ".venv").exists()
    program = [sys.executable, "-I", "-S", str(checkout / "notebooks/copies.py")]
    assert "0 copied, 1 kept" in subprocess.run(program, capture_output=True, text=True).stdout


def test_no_half_copy_is_left_and_an_error_is_one_line(checkout):
    (checkout / "my_notebooks").write_text("a file")
    process = make(checkout, "my_notebooks")
    assert process.returncode != 0
    assert process.stderr.splitlines()[0].startswith("my_notebooks: [Errno")
    assert "Traceback" not in process.stderr


def as_user(folder, number):
    """Return a PATH on which `id` says that a user of this number runs it."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "id").write_text(f"#!/bin/sh\necho {number}\n")
    (programs / "id").chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


ACTIVATING = """shell_command=sh -c 'exec bash --rcfile "$VIRTUAL_ENV/bin/activate"'"""
TERMINALS = f"--ServerApp.terminado_settings={ACTIVATING}"
START = "--LabApp.default_url=/lab/tree/00_start.ipynb"


def test_lab_opens_the_copies_and_passes_arguments_on(checkout):
    (checkout / "notebooks/01_a.ipynb").write_text("{}")
    arguments = "ARGS=--no-browser --port 8899"
    process = make(checkout, "lab", arguments, PATH=as_user(checkout, 1000))
    assert process.returncode == 0, process.stderr
    assert "root" not in process.stdout
    options = f"{TERMINALS} --notebook-dir=my_notebooks {START} --no-browser --port 8899"
    assert calls(checkout)[-1] == f"-m jupyterlab --ip=127.0.0.1 {options}"
    assert (checkout / "my_notebooks/01_a.ipynb").exists()


def test_lab_listens_to_this_machine_alone_unless_told_otherwise(checkout):
    # JupyterLab refuses to start when an address is given twice.
    make(checkout, "lab", "ARGS=--ip=0.0.0.0", PATH=as_user(checkout, 1000))
    options = f"{TERMINALS} --notebook-dir=my_notebooks {START} --ip=0.0.0.0"
    assert calls(checkout)[-1] == f"-m jupyterlab {options}"


def test_lab_opens_another_page_if_it_is_told_to(checkout):
    elsewhere = "--LabApp.default_url=/lab"
    make(checkout, "lab", f"ARGS={elsewhere}", PATH=as_user(checkout, 1000))
    options = f"{TERMINALS} --notebook-dir=my_notebooks {elsewhere}"
    assert calls(checkout)[-1] == f"-m jupyterlab --ip=127.0.0.1 {options}"


def test_lab_tells_jupyterlab_and_the_reader_of_root(checkout):
    process = make(checkout, "lab", PATH=as_user(checkout, 0))
    assert "\nYou are root: JupyterLab is told so with --allow-root.\n" in process.stdout
    assert calls(checkout)[-1].startswith("-m jupyterlab --ip=127.0.0.1 --allow-root --ServerApp")


NOTING_PYTHON = """\
#!/bin/sh
[ "$2" != jupyterlab ] || { command -v python; echo "$VIRTUAL_ENV"; } >> calls.txt
"""


def test_lab_hands_its_environment_on(checkout):
    make(checkout, "setup")
    calls(checkout)
    (checkout / ".venv/bin/python").write_text(NOTING_PYTHON)
    process = make(checkout, "lab", VIRTUAL_ENV="elsewhere")
    assert process.returncode == 0, process.stderr
    assert calls(checkout) == [f"{checkout}/.venv/bin/python", f"{checkout}/.venv"]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_a_terminal_of_lab_has_the_environment_before_the_readers_own_python(tmp_path):
    home, environment = tmp_path / "home", tmp_path / "an environment"
    for program in (home / "bin/python", environment / "bin/python"):
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    (home / ".bashrc").write_text(f'PATH="{home}/bin:$PATH"\n')
    (environment / "bin/activate").write_text('PATH="$VIRTUAL_ENV/bin:$PATH"\n')
    # The command that JupyterLab runs; for want of a terminal, bash is told to be interactive.
    setting = ACTIVATING.removeprefix("shell_command=").replace('activate"', 'activate" -i')
    process = subprocess.run(
        shlex.split(setting),
        env={**os.environ, "HOME": str(home), "VIRTUAL_ENV": str(environment)},
        input="command -v python\n",
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert f"{environment}/bin/python\n" in process.stdout


def commands(checkout, target, *arguments, **variables):
    """Return the lines that make would run for a target after set-up."""
    process = make(checkout, "-n", target, *arguments, "INSTALLED=", **variables)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.replace("\\\n", "").splitlines()
    return [" ".join(line.split()) for line in lines if not line.startswith("echo")]


NOT_QUICK = [
    f"tests/test_{name}.py"
    for name in [
        "jax",
        "notebooks",
        "nbval_approx",
        "gpu",
        "scaling",
        "time_to_accuracy",
        "reference",
    ]
]
PYTEST = "CUDA_VISIBLE_DEVICES=-1 .venv/bin/python -m pytest --durations=10"


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("quick", " ".join(['-m "not slow" tests', *map("--ignore={}".format, NOT_QUICK)])),
        ("test", '-m "not slow" --nbval --nbval-current-env tests notebooks'),
        ("test-slow", "-m slow tests"),
    ],
)
def test_each_kind_of_test_is_one_pytest_run_without_a_gpu(checkout, target, options):
    two = f"{PYTEST} -n 2 --dist loadfile --no-loadscope-reorder {options}"
    assert commands(checkout, target) == [two]
    assert commands(checkout, target, "ARGS=-k shapes") == [f"{two} -k shapes"]
    assert commands(checkout, target, WORKERS="") == [f"{PYTEST} {options}"]
    assert commands(checkout, target, WORKERS="3") == [two.replace("-n 2", "-n 3")]


def test_what_quick_leaves_out_is_there():
    assert [name for name in NOT_QUICK if not (ROOT / name).is_file()] == []


def test_jax_runs_the_engines_tests_and_the_notebooks_without_comparing_them(checkout):
    (line,) = commands(checkout, "test-jax", "ARGS=-k shapes", WORKERS="")
    head, _, files = line.partition(" tests/")
    assert head == f"KERAS_BACKEND=jax {PYTEST} --nbval-lax --nbval-current-env"
    *files, notebooks, k, shapes = f"tests/{files}".split()
    assert (notebooks, k, shapes) == ("notebooks", "-k", "shapes")
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_tests_that_fail_make_their_target_fail(checkout):
    make(checkout, "setup")
    (checkout / ".venv/bin/python").write_text('#!/bin/sh\n[ "$2" != pytest ]\n')
    for target in ("quick", "test", "test-slow", "test-jax"):
        assert make(checkout, target).returncode != 0


def test_the_hooks_before_a_commit_are_the_commands_of_check(checkout):
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert entries == commands(checkout, "check")
    assert len({hook["id"] for hook in repository["hooks"]}) == len(entries)
    for hook in repository["hooks"]:
        # Nothing is fetched, and a file's name is not added to the command.
        assert (hook["language"], hook["pass_filenames"]) == ("system", False)


def test_the_conda_environment_is_used_as_it_is(checkout):
    process = make(checkout, "-n", "setup", "test", "lab", CONDA_DEFAULT_ENV=CONDA_ENVIRONMENT)
    assert "python -m pytest" in process.stdout
    assert "\npython -m jupyterlab" in process.stdout
    assert ".venv" not in process.stdout
    assert "VIRTUAL_ENV" not in process.stdout
    assert "pip" not in process.stdout


def test_help_is_the_default_and_lists_every_target(checkout):
    process = make(checkout)
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^make ([\w-]+) +\S", process.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(targets.split())


# .ci/run


def check_a_change(folder, **programs):
    """Run .ci/run where there is nothing but some programs, that say what they are asked."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", folder / ".ci")
    alone = folder / "alone"
    alone.mkdir()
    (alone / "dirname").symlink_to(shutil.which("dirname"))
    for name, does in {"make": "", **programs}.items():
        (alone / name).write_text(f'#!/bin/sh\necho {name} "$@" >&2\n{does}\n')
        (alone / name).chmod(0o755)
    command = [shutil.which("bash"), ".ci/run"]
    environment = {"PATH": str(alone)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


TARGETS = [f"make {target}" for target in ("setup", "check", "test", "test-slow")]
UPDATE, INSTALL = "apt-get -qq update", "apt-get -qq install -y --no-install-recommends chromium"


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(
    ("programs", "steps"),
    [
        ({"id": "echo 0", "apt-get": ""}, [UPDATE, INSTALL]),
        ({"id": "echo 0", "apt-get": "false"}, [UPDATE]),
        ({"id": "echo 0", "apt-get": "", "chromium": ""}, []),
        ({"id": "echo 0"}, []),
        ({"id": "echo 1000", "apt-get": ""}, []),
    ],
    ids=["installs", "cannot", "is there", "no apt-get", "not root"],
)
def test_ci_installs_a_browser_where_it_can_and_goes_on_where_not(checkout, programs, steps):
    process = check_a_change(checkout, **programs)
    assert process.returncode == 0, process.stderr
    asked = [line for line in process.stderr.splitlines() if not line.startswith("id")]
    assert asked == [TARGETS[0], *steps, *TARGETS[1:]]
    assert ("tests in a browser are skipped" in process.stdout) == (steps == [UPDATE])


# conftest.py

SKIPPED = "import pytest\n\n@pytest.mark.images\ndef test_images():\n    pass\n"


@pytest.mark.parametrize(
    ("folder", "outcome"),
    [
        (None, "set RESNET_LIB_DATA to their folder"),
        ("missing", "is not a folder"),
        (".", "1 passed"),
    ],
)
def test_tests_of_the_images_say_why_they_are_skipped(tmp_path, folder, outcome):
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(SKIPPED)
    environment = {k: v for k, v in os.environ.items() if k != "RESNET_LIB_DATA"}
    environment |= {"RESNET_LIB_DATA": folder} if folder else {}
    # Loading plugins would take most of the time.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert outcome in process.stdout


# What the benchmarks have measured


def readme_row(beginning):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\|.*\| {re.escape(beginning)}.*\| (.*) \|$", readme, flags=re.M)
    return row


def printed_line(file, beginning):
    text = (ROOT / "benchmarks" / "results" / file).read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(beginning))
    return line


def printed(file, beginning):
    line = printed_line(file, beginning)
    return [float(number) for number in re.findall(r"(?<![\w,])\d+\.\d+(?!\d)", line)]


def images_a_second(what):
    line = printed_line("train_step.txt", what)
    return int(line.removeprefix(what).split()[0].replace(",", ""))


# What the README says, and the lines that a benchmark printed.
RATIOS = {
    "images/s of a training step": ("train_step.txt", "example, batch 32"),
    "the same with oneDNN off in": ("train_step.txt", "example, oneDNN off"),
    "that, with oneDNN limited to AVX2": ("train_step_avx2.txt", "example, oneDNN off"),
    "against PyTorch 2.14": ("train_step.txt", "PyTorch  "),
    "that, limited to AVX2": ("train_step_avx2.txt", "PyTorch  "),
}


@pytest.mark.parametrize("row", RATIOS)
def test_a_ratio_of_the_readme_is_what_the_benchmark_printed(row):
    middle, least, most = printed(*RATIOS[row])
    assert readme_row(row) == f"{middle:.2f} ({least:.2f}–{most:.2f})"


def test_the_inverse_ratios_of_the_readme():
    middle, least, most = printed("train_step.txt", "ours, mixed bfloat16")
    claimed = re.findall(r"\d\.\d\d", readme_row("in bfloat16 against float32"))
    found = [1 / middle, 1 / most, 1 / least]
    assert [float(each) for each in claimed] == pytest.approx(found, abs=0.006)
    ours, theirs = map(images_a_second, ("ours, mixed bfloat16", "PyTorch, bfloat16"))
    row = readme_row("in bfloat16 against PyTorch in bfloat16")
    assert row == f"{ours / theirs:.2f} (of the medians)"


def test_the_readmes_times_to_accuracy():
    (middle, low, high) = printed("time_to_accuracy_short.txt", "50 %: geometric mean")
    row = readme_row("CPU seconds until ResNet-8")
    assert row == f"{middle:.2f} (95 % interval {low:.2f}–{high:.2f}, 5 seeds)"
    full = times_faster("one-cycle")
    assert readme_row("the same for ResNet-20") == ", ".join(full[each] for each in (75, 80, 85))
    row = readme_row("the example's ResNet-20 against `resnet_fast`")
    assert row == ", ".join(times_faster("fast")[each] for each in (75, 80, 85, 88))
    assert times_faster("fast")[90] == "none", "the README names no ratio at 90 %"


def times_faster(recipe):
    """Return what time_to_accuracy.py has printed of a recipe: {percent: ratio}."""
    text = (ROOT / "benchmarks" / "results" / "time_to_accuracy.txt").read_text()
    row = rf"^ +(\d+) %.*  {recipe}  .*  (over \d+\.\d+|\d+\.\d+|none)  +\S.*$"
    return {int(percent): ratio for percent, ratio in re.findall(row, text, flags=re.M)}


def test_the_readmes_ratio_of_each_quick_benchmark():
    given = [f"{printed('budget.txt', f'{minutes} minutes')[-1]:.2f}" for minutes in (1, 2)]
    assert readme_row("time that a run takes") == ", ".join(given)
    zeros, reflected = (
        printed("input_pipeline.txt", f"pad_crop_flip, {mode}, batch 32")[-1]
        for mode in ("constant", "reflect")
    )
    row = readme_row("images/s of padded random crops")
    assert row == f"{zeros:.0f} padded with zeros, {reflected:.0f} by reflection"
    assert readme_row("time of `import resnet_lib`") == f"{printed('imports.txt', 'ratio')[0]:.2f}"
    (ratio,) = printed("build_time.txt", "     ratio")
    assert readme_row("time to build ResNet-1001") == f"{ratio:.2f}"


def test_the_readmes_share_of_the_peak():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = ROOT / "benchmarks" / "results"
    peak, avx2 = (
        re.search(r"(\d+)% of .* best float32 matrix product", (results / file).read_text())[1]
        for file in ("train_step.txt", "train_step_avx2.txt")
    )
    assert f"ResNet-20 reaches {peak} % of the processor's peak" in readme
    assert f"and {avx2} % where that is limited to AVX2" in readme
