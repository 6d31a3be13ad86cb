"""What `import resnet_lib` does to TensorFlow, seen from fresh processes; the profiles."""

import importlib.metadata
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from resnet_lib import runtime

ROOT = Path(__file__).resolve().parent.parent
DECIDES = (
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "PYTHONUNBUFFERED",
    "PYTHONWARNINGS",
    "RESNET_LIB_PROFILE",
    "TF_CPP_MIN_LOG_LEVEL",
    "TF_ENABLE_ONEDNN_OPTS",
)

# Stand-ins that chatter on descriptor 2 as TensorFlow does, then do what a test asks of them.
FAKE_KERAS = "import tensorflow\nclass config:\n    backend = staticmethod(lambda: 'tensorflow')\n"
FAKE_TENSORFLOW = """
import contextlib, os, sys
def chatter(text):
    with contextlib.suppress(OSError):  # descriptor 2 may be closed
        os.write(2, text)
chatter(b"import chatter\\n")
class config:
    def list_physical_devices():
        chatter(b"device chatter\\n")
    def set_visible_devices(devices, kind):
        chatter(b"device chatter\\n")
        print("left alone:", kind, devices)
"""

TRAIN = """
import resnet_lib
import keras
import numpy as np

layers = keras.layers
model = keras.Sequential(
    [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
)
for jit_compile in (False, True):
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.fit(np.zeros((4, 8, 8, 3)), np.zeros((4, 2)), batch_size=4, verbose=0)
"""


@pytest.fixture
def python(tmp_path):
    """Run a program in a process of its own, with the environment's deciding variables unset."""

    def run(program, options=(), **variables):
        environment = {key: value for key, value in os.environ.items() if key not in DECIDES}
        # KERAS_HOME: the tester's own keras.json must not decide either.
        paths = os.pathsep.join([str(tmp_path), str(ROOT)])
        environment |= {"PYTHONPATH": paths, "KERAS_HOME": str(tmp_path / "keras_home")}
        return subprocess.run(
            [sys.executable, *options, "-c", program],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def fake(tmp_path):
    """Put a Keras and a TensorFlow of our own before the real ones."""

    def write(tensorflow=""):
        (tmp_path / "keras.py").write_text(FAKE_KERAS)
        (tmp_path / "tensorflow.py").write_text(FAKE_TENSORFLOW + tensorflow)

    write()
    return write


def output(finished):
    """Return stdout of a process that succeeded."""
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


# Quiet


@pytest.mark.slow
@pytest.mark.parametrize("devices", [{}, {"CUDA_VISIBLE_DEVICES": "-1"}])
def test_nothing_is_printed_up_to_a_trained_model(python, devices):
    finished = python(TRAIN, **devices)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


@pytest.mark.slow
def test_tensorflow_alone_is_not_quiet(python):
    """Otherwise the test above would show nothing."""
    assert python("import keras").stderr != ""


@pytest.mark.parametrize("options", [(), ("-u",)])
def test_import_and_device_chatter_are_muted(python, fake, options):
    finished = python("import resnet_lib", options)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_log_level_0_shows_everything(python, fake):
    finished = python("import resnet_lib", TF_CPP_MIN_LOG_LEVEL="0")
    assert finished.stderr == "import chatter\ndevice chatter\n"


@pytest.mark.slow
@pytest.mark.parametrize(("level", "told"), [("2", False), ("0", True)])
def test_retracing_is_told_at_log_level_0_alone(python, level, told):
    program = (
        "import resnet_lib\nimport tensorflow as tf\n"
        "for number in range(9):\n    tf.function(lambda: tf.constant(number))()\n"
        "tf.get_logger().warning('something else')"
    )
    errors = python(program, TF_CPP_MIN_LOG_LEVEL=level).stderr
    assert ("triggered tf.function retracing" in errors) is told
    assert "something else" in errors


@pytest.mark.slow
def test_devices_can_still_be_configured(python):
    program = """
import resnet_lib
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.threading.set_intra_op_parallelism_threads(1)
print(len(tf.config.list_logical_devices("CPU")))
"""
    assert output(python(program)) == "2\n"


# What must be heard


@pytest.mark.parametrize("options", [(), ("-u",)])
def test_python_is_heard_during_the_import(python, fake, options):
    fake(
        """
import logging, warnings
warnings.warn("a warning")
logging.warning("a root log line")
logging.getLogger("mine").warning("a log line")
print("a print", file=sys.stderr)
print("a start, ", end="", file=sys.stderr)
"""
    )
    program = """
import logging
logging.getLogger("mine").addHandler(logging.StreamHandler())  # holds on to sys.stderr
import resnet_lib
import sys
print("an end", file=sys.stderr)
"""
    stderr = python(program, options).stderr
    assert "UserWarning: a warning\n" in stderr
    assert "WARNING:root:a root log line\n" in stderr
    assert "\na log line\n" in stderr
    assert stderr.endswith("a print\na start, an end\n")
    assert "chatter" not in stderr


def test_a_handler_made_during_the_import_works_afterwards(python, fake):
    fake("import logging\nhandler = logging.StreamHandler()\n")
    program = """
import resnet_lib, logging, tensorflow
logging.getLogger().addHandler(tensorflow.handler)
logging.warning("after")
"""
    assert python(program).stderr == "after\n"


def test_an_exception_during_the_import_is_heard(python, fake):
    fake("raise ImportError('no such library')")
    finished = python("import resnet_lib")
    assert finished.returncode == 1
    assert finished.stderr.startswith("Traceback")
    assert finished.stderr.endswith("\nImportError: no such library\n")
    assert "chatter" not in finished.stderr


@pytest.mark.parametrize("tensorflow", ["", "raise ImportError"])
def test_descriptor_2_is_restored(python, fake, tensorflow):
    fake(tensorflow)
    program = """
import os, sys
before = os.fstat(2), os.get_inheritable(2), sys.stderr, sys.stderr.name, sys.stderr.fileno()
free = [os.dup(2), os.dup(2)]
os.close(free[0]), os.close(free[1])
try:
    import resnet_lib
except ImportError:
    print("failed")
assert before == (os.fstat(2), os.get_inheritable(2), sys.stderr, sys.stderr.name, 2)
assert [os.dup(2), os.dup(2)] == free, "a descriptor was left open"
os.write(2, b"heard\\n")
print("heard too", file=sys.stderr)
"""
    finished = python(program)
    assert output(finished) == ("failed\n" if tensorflow else "")
    assert finished.stderr == "heard\nheard too\n"


def test_a_failed_import_can_be_repeated(python, fake):
    fake("if 'again' not in os.environ: raise ImportError")
    program = """
import os
try:
    import resnet_lib
except ImportError:
    os.environ["again"] = "yes"
import resnet_lib
print(resnet_lib.profile())
"""
    finished = python(program)
    assert output(finished) == "quick\n"
    assert finished.stderr == ""


def test_a_stderr_that_is_no_file_is_left_alone(python, fake):
    """As in a Jupyter kernel, whose sys.stderr is an object of its own."""
    fake("print('heard', file=sys.stderr)")
    program = """
import io, sys
sys.stderr = mine = io.StringIO()
import resnet_lib
assert sys.stderr is mine
print(mine.getvalue(), end="")
"""
    finished = python(program)
    assert output(finished) == "heard\n"
    assert finished.stderr == ""


def test_a_stderr_that_cannot_be_led_elsewhere_is_not_muted(python, fake):
    fake("print('heard', file=sys.stderr)")
    program = """
import os, sys
class Direct:
    fileno = lambda self: 2
    write = lambda self, text: os.write(2, text.encode())
    flush = lambda self: None
sys.stderr = Direct()
import resnet_lib
"""
    finished = python(program)
    assert output(finished) == ""
    assert "heard\n" in finished.stderr


@pytest.mark.parametrize("before", ["os.close(2)", "sys.stderr = sys.__stderr__ = None"])
def test_without_a_stderr(python, fake, before):
    program = f"import os, sys\n{before}\nimport resnet_lib\nprint('imported')"
    finished = python(program)
    assert output(finished) == "imported\n"
    assert finished.stderr == ""


# The environment


@pytest.mark.parametrize(
    ("mine", "seen"),
    [
        ({}, "1 2\n"),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0 2\n"),
        ({"TF_CPP_MIN_LOG_LEVEL": "3"}, "1 3\n"),
    ],
)
def test_environment_that_tensorflow_sees(python, fake, mine, seen):
    fake("print(os.environ['TF_ENABLE_ONEDNN_OPTS'], os.environ['TF_CPP_MIN_LOG_LEVEL'])")
    assert output(python("import resnet_lib", **mine)) == seen


# After TensorFlow


@pytest.mark.slow
def test_after_tensorflow_one_line_and_nothing_else(python):
    program = """
import os, sys
import tensorflow
before = dict(os.environ)
os.write(2, b"--\\n")
import resnet_lib
resnet_lib.runtime.prepare()
assert dict(os.environ) == before
print("done")
"""
    finished = python(program)
    assert output(finished) == "done\n"
    said = finished.stderr.split("--\n")[1]
    assert said.count("\n") == 1
    assert "import resnet_lib before tensorflow" in said


def test_after_tensorflow_without_a_stderr(python, fake):
    program = "import sys, keras\nsys.stderr = None\nimport resnet_lib\nprint('imported')"
    assert output(python(program)) == "imported\n"


# Other backends


LOADED = """
import os, sys, resnet_lib
print("tensorflow" in sys.modules, "keras" in sys.modules, "TF_ENABLE_ONEDNN_OPTS" in os.environ)
"""
LATER = "import resnet_lib, os\nimport tensorflow\nos.write(2, b'heard\\n')"


def test_jax_loads_no_tensorflow(python):
    program = (
        "import resnet_lib, keras, sys\nprint(keras.backend.backend(), 'tensorflow' in sys.modules)"
    )
    assert output(python(program, KERAS_BACKEND="jax")) == "jax False\n"


def test_another_backend_imports_nothing(python, fake):
    assert output(python(LOADED, KERAS_BACKEND="jax")) == "False False False\n"


@pytest.mark.parametrize("options", [(), ("-u",)])
def test_a_tensorflow_that_comes_along_is_muted_and_leaves_the_gpus_alone(python, fake, options):
    finished = python(LATER, options, KERAS_BACKEND="jax")
    assert output(finished) == "left alone: GPU []\n"
    assert finished.stderr == "heard\n"


def test_a_tensorflow_that_comes_along_is_heard_at_log_level_0(python, fake):
    finished = python(LATER, KERAS_BACKEND="jax", TF_CPP_MIN_LOG_LEVEL="0")
    assert (output(finished), finished.stderr) == ("", "import chatter\nheard\n")


def test_a_tensorflow_that_cannot_come_along_is_heard(python, fake):
    fake("raise ImportError('no such library')")
    finished = python(LATER, KERAS_BACKEND="jax")
    assert finished.stderr.endswith("\nImportError: no such library\n")
    assert "chatter" not in finished.stderr


SAVE = f"{TRAIN}\nmodel.save('model.keras')\nkeras.saving.load_model('model.keras').predict"
SAVE += "(np.zeros((4, 8, 8, 3)), verbose=0)\nimport sys\nassert 'tensorflow' in sys.modules\n"


@pytest.mark.slow
def test_nothing_is_printed_up_to_a_saved_model_on_jax(python):
    """Keras imports TensorFlow, where it is installed, to save a model."""
    finished = python(SAVE, KERAS_BACKEND="jax", CUDA_VISIBLE_DEVICES="-1")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


# The version


@pytest.mark.parametrize(
    ("project", "found"),
    [
        ('[project]\nname = "resnet-lib"\nversion = "9.8"', "9.8"),
        ('[project]\nname = "another"\nversion = "9.8"', "installed"),
        ("[tool.ruff]", "installed"),
        ("no toml", "installed"),
        (None, "installed"),
    ],
)
def test_the_version_is_that_of_the_checkout_else_that_installed(
    tmp_path, monkeypatch, project, found
):
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "resnet_lib" / "runtime.py"))
    monkeypatch.setattr(runtime, "installed_version", lambda name: "installed")
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project)
    assert runtime.version() == found


def test_a_version_that_nobody_knows_is_said_to_be_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "resnet_lib" / "runtime.py"))
    monkeypatch.setattr(runtime, "installed_version", missing)
    assert runtime.version().startswith("unknown: not installed")


def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)


def test_the_same_with_tensorflow(python, fake):
    assert output(python(LOADED)) == "True True True\n"


@pytest.mark.parametrize(
    ("config", "variable", "loads"),
    [
        ({"backend": "jax"}, "", False),
        ({"backend": "jax"}, "tensorflow", True),
        ({"backend": "tensorflow"}, "jax", False),
        ({"floatx": "float32"}, "", True),
    ],
)
def test_backend_as_keras_reads_it(python, fake, tmp_path, config, variable, loads):
    (tmp_path / "keras_home").mkdir()
    (tmp_path / "keras_home" / "keras.json").write_text(json.dumps(config))
    assert output(python(LOADED, KERAS_BACKEND=variable)) == f"{loads} {loads} {loads}\n"


def test_backend_from_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "jax"}')
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("KERAS_HOME", "KERAS_BACKEND"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    assert runtime.keras_backend() == "jax"


def test_unreadable_config_means_tensorflow(python, fake, tmp_path):
    (tmp_path / "keras_home").mkdir()
    (tmp_path / "keras_home" / "keras.json").write_text("{")
    assert output(python(LOADED)) == "True True True\n"


def test_keras_loaded_with_another_backend_is_left_alone(python, fake, tmp_path):
    (tmp_path / "keras.py").write_text("class config:\n    backend = staticmethod(lambda: 'jax')\n")
    program = "import keras\n" + LOADED
    assert output(python(program, KERAS_BACKEND="tensorflow")) == "False True False\n"


@pytest.mark.parametrize("home", ["~no_such_user/keras", "~"])
def test_a_home_of_keras_that_cannot_be_found_is_left_to_keras(home, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", home)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    assert runtime.keras_backend() in ("tensorflow", "jax", "torch")


# The command line, which imports Keras when it trains.


@pytest.mark.parametrize(
    ("started", "arguments", "told"),
    [
        ("python -m resnet_lib records a", "-m records a", True),
        ("python -X dev -m resnet_lib", "-m", True),
        ("python -mresnet_lib train", "-m train", True),
        ("python /env/bin/resnet-lib --help", "/env/bin/resnet-lib --help", True),
        ("python -m other resnet_lib", "-m resnet_lib", False),
        ("python -m pytest -m resnet_lib", "/pytest/__main__.py -m resnet_lib", False),
        ("python -c pass", "-c", False),
        ("python resnet_lib.py", "resnet_lib.py", False),
        ("python", "", False),
    ],
)
def test_the_command_line_is_told_from_other_programs(started, arguments, told, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", started.split())
    monkeypatch.setattr(sys, "argv", arguments.split(" "))
    assert runtime.is_command_line() is told


def test_a_program_without_arguments_is_no_command_line(monkeypatch):
    monkeypatch.delattr(sys, "argv")
    assert runtime.is_command_line() is False


# Profiles


@pytest.fixture
def no_profile(monkeypatch):
    monkeypatch.setattr(runtime, "_chosen_profile", None)
    monkeypatch.delenv("RESNET_LIB_PROFILE", raising=False)


@pytest.mark.parametrize(
    ("variable", "name"), [("", "quick"), ("quick", "quick"), ("full", "full")]
)
def test_profile_from_the_environment(no_profile, monkeypatch, variable, name):
    monkeypatch.setenv("RESNET_LIB_PROFILE", variable)
    assert runtime.profile() == name


def test_profile_is_quick_by_default(no_profile):
    assert runtime.profile() == "quick"


def test_chosen_profile_goes_before_the_environment(no_profile, monkeypatch):
    monkeypatch.setenv("RESNET_LIB_PROFILE", "full")
    runtime.set_profile("quick")
    assert runtime.profile() == "quick"


def test_unknown_profile_in_the_environment(no_profile, monkeypatch):
    monkeypatch.setenv("RESNET_LIB_PROFILE", "Full")
    with pytest.raises(ValueError, match=r"`RESNET_LIB_PROFILE` .* 'quick', 'full'\. .*'Full'"):
        runtime.profile()


@pytest.mark.parametrize("name", ["fast", "", None])
def test_unknown_profile_is_refused_and_changes_nothing(no_profile, name):
    runtime.set_profile("full")
    with pytest.raises(ValueError, match=rf"`name` .* 'quick', 'full'\. Received: {name!r}"):
        runtime.set_profile(name)
    assert runtime.profile() == "full"


def test_a_commands_warnings_are_lines(capsys):
    with pytest.warns(DeprecationWarning, match="old"):
        usual = warnings.showwarning
        with runtime.warnings_in_lines():
            warnings.warn("mind", stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        assert warnings.showwarning is usual
    assert capsys.readouterr().err == "resnet_lib: mind\n"
