"""Explorers in a real JupyterLab, turned by keyboard in a headless Chromium."""

import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import matplotlib
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
MISSING = [
    what
    for what, is_there in {
        "JupyterLab": importlib.util.find_spec("jupyterlab"),
        "ipywidgets": importlib.util.find_spec("ipywidgets"),
        "playwright": importlib.util.find_spec("playwright"),
        "Chromium on the PATH (apt-get install chromium)": CHROMIUM,
    }.items()
    if not is_there
]
# One file is run by one worker: they share the server, the browser and the notebook's kernel.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]

SECONDS = 120  # For whatever is awaited, on a busy machine too.
NAMES = ("networks", "blocks", "schedules", "signals")
CELLS = ("import resnet_lib as rl", *(f"rl.explorers.{name}()" for name in NAMES))
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
READY = """async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""

RUN = """async number => {
  jupyterapp.shell.currentWidget.content.activeCellIndex = number;
  await jupyterapp.commands.execute('notebook:run-cell');
}"""


def notebook(*sources):
    """Return a notebook of code cells, as JSON."""
    cells = [
        dict(cell_type="code", id=f"cell{number}", source=source, metadata={}, outputs=[])
        | {"execution_count": None}
        for number, source in enumerate(sources)
    ]
    metadata = {"kernelspec": KERNEL}
    return json.dumps(dict(cells=cells, metadata=metadata, nbformat=4, nbformat_minor=5))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(home):
    """Return an environment in which Jupyter finds nothing of the user's, and leaves nothing."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON"))}
    kept.pop("RESNET_LIB_WIDGETS", None)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        kept[name] = str(home / name.lower())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept |= {"HOME": str(home), "PATH": path, "RESNET_LIB_PROGRESS": "off"}
    return kept | {"MPLCONFIGDIR": matplotlib.get_configdir()}  # Lists of fonts take time to make.


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Yield (address, token, folder) of a JupyterLab that serves the folder."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("folder")
    (folder / "explorers.ipynb").write_text(notebook(*CELLS))
    token, port = secrets.token_hex(16), free_port()
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ip=127.0.0.1"]
    options += [f"--IdentityProvider.token={token}", "--no-browser", "--expose-app-in-browser"]
    options += ["--allow-root"] if os.name == "posix" and os.getuid() == 0 else []
    with open(home / "log.txt", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=folder,
            env=environment(home),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        answers(server, f"http://127.0.0.1:{port}/api/status?token={token}", home / "log.txt")
        yield f"http://127.0.0.1:{port}", token, folder
    finally:
        server.terminate()  # It ends its kernels first.
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def answers(server, address, log):
    """Wait until a server answers."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab does not answer:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def page(lab):
    """Yield the browser's page with the notebook in it, whose cells have been run."""
    from playwright.sync_api import sync_playwright

    address, token, _ = lab
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(SECONDS * 1000)
        page.goto(f"{address}/lab/tree/explorers.ipynb?token={token}")
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.context")
        page.evaluate(READY)
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        yield page
        browser.close()


def output(page, name):
    """Run the cell of an explorer anew; return it, once it shows a picture."""
    number = CELLS.index(f"rl.explorers.{name}()")
    page.evaluate(RUN, number)
    cell = page.locator(".jp-CodeCell").nth(number)
    cell.locator("img").wait_for()
    return cell


def state(cell):
    """Return the picture and the table below it."""
    (picture,) = (image.get_attribute("src") for image in cell.locator("img").all())
    return picture, cell.locator("table").inner_text()


def turned(page, cell, act):
    """Do something to the controls; return (picture, table) before and after."""
    before = state(cell)
    act()
    page.wait_for_function(
        "([table, text]) => table.isConnected ? table.innerText != text : true",
        arg=[cell.locator("table").element_handle(), before[1]],
    )
    return before, state(cell)


def slider(cell, label):
    """Return the handle of the slider with a label."""
    control = cell.locator(".widget-slider").filter(has_text=re.compile(rf"^{label}"))
    return control.get_by_role("slider")


# Explorer, slider, key, its value then, and what the table said before and says then.
TURNS = [
    ("networks", "depth", "ArrowRight", "26", "274,442: ", "372,330: "),
    ("blocks", "filters", "ArrowRight", "32", "4,672: branch 4,672", "14,528: branch 13,952"),
    ("schedules", "epochs of the run", "PageDown", None, "falls from epoch 81 on", "never falls"),
    ("schedules", "one-cycle: peak", "ArrowRight", "0.35", "at most 0.3,", "at most 0.35,"),
    ("signals", "depth", "ArrowLeft", "18", "20 layers", "18 layers"),
]


@pytest.mark.parametrize(("name", "label", "key", "value", "first", "then"), TURNS)
def test_a_slider_moved_by_keyboard_changes_the_figure(page, name, label, key, value, first, then):
    cell = output(page, name)
    handle = slider(cell, label)
    handle.focus()
    before, after = turned(page, cell, lambda: handle.press(key))
    assert first in before[1] and then not in before[1]
    assert then in after[1]
    assert after[0] != before[0]
    if value:
        assert handle.get_attribute("aria-valuetext") == value


def test_a_box_that_is_ticked_changes_the_figure(page):
    cell = output(page, "signals")
    box = cell.get_by_label("batch normalisation")
    box.focus()
    before, after = turned(page, cell, lambda: box.press("Space"))
    assert ("BN on" in before[1], "BN off" in after[1]) == (True, True)
    assert after[0] != before[0]
    assert cell.get_by_label("zero gamma").is_disabled()


def test_a_list_changes_the_figure_and_what_the_others_offer(page):
    cell = output(page, "networks")
    _, after = turned(page, cell, lambda: cell.get_by_label("network").select_option("plain"))
    assert "Plain" in after[1]
    assert cell.get_by_label("shortcut").is_disabled()
    _, after = turned(
        page, cell, lambda: cell.get_by_label("network").select_option("v2 bottleneck")
    )
    handle = slider(cell, "depth")
    assert handle.get_attribute("aria-valuetext") == "20"
    assert "9 x 2 + 2 = 20" in after[1]
    handle.focus()
    _, after = turned(page, cell, lambda: handle.press("ArrowRight"))
    assert "9 x 3 + 2 = 29" in after[1]


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_has_its_alt_text_in_the_browser(page, name):
    image = output(page, name).locator("img")
    assert len(image.get_attribute("alt")) > 60
    assert image.evaluate("image => image.naturalWidth") >= 700


def test_what_is_saved_has_pictures_and_no_state_of_widgets(page, lab):
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    saved = json.loads((lab[2] / "explorers.ipynb").read_text())
    assert "widgets" not in saved["metadata"]
    outputs = [output for cell in saved["cells"] for output in cell["outputs"]]
    assert [output["output_type"] for output in outputs] == ["execute_result"] * len(NAMES)
    for output_of_cell in outputs:
        assert output_of_cell["metadata"]["image/png"]["alt"]
        assert output_of_cell["data"]["image/png"]
