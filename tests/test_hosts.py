"""Processes that train together: two of them over 127.0.0.1, on JAX, each with a virtual device."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pytest

from resnet_lib import records
from resnet_lib.training import hosts
from resnet_lib.training.fit import BACKUP

TESTS = Path(__file__).parent
ALONE = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(TESTS)}
TRAIN = [sys.executable, "-m", "resnet_lib", "train", "--dataset", "shapes", "--model", "plain8"]
TRAIN += ["--limit", "64", "--size", "8", "--batch-size", "32", "--recipe", "paper"]
FIRST = "epoch-00001.weights.h5"
FOR_EVER = ["--epochs", "100000"]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(command, **environment):
    """Start a process, with interrupts and its output as in a terminal, and no XLA_FLAGS."""
    return subprocess.Popen(
        command,
        env={**{k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}, **ALONE, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def pair():
    """Return a function that starts two processes of one job; none of them stays."""
    started = []

    def both(command):
        address = f"127.0.0.1:{free_port()}"
        job = {hosts.ADDRESSES: address, hosts.COUNT: "2"}
        two = [start(command, **job, **{hosts.NUMBER: str(number)}) for number in range(2)]
        started.extend(two)
        return two

    yield both
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def script(text, *arguments):
    return [sys.executable, "-c", text, *map(str, arguments)]


def said(process, seconds=240):
    """Return what a process that ends well has printed, from JSON."""
    printed, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors
    return json.loads(printed)


TELLING = """
import json
import resnet_lib as rl
import keras
import numpy as np
from resnet_lib.training import hosts

joined, first = hosts.processes(), hosts.is_first()  # By the import.
rl.training.join_hosts()  # Once more, without effect.

def tried(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def fail():
    raise FileExistsError("x exists")

number = 0 if first else 1
wide = [np.array([2**40 + number]), np.float64(1 / 3 + number), np.zeros((0, 2), "float32")]
told = hosts.share_arrays(wide)
if first:  # The others wait for it, without a limit.
    import time
    time.sleep(3)
print(json.dumps({
    "joined": [joined, first],
    "shared": [hosts.shared({"a": [None, "ü" * 99]} if first else 7), hosts.shared(number)],
    "arrays": [[each.tolist(), each.dtype.name, each.shape] for each in told],
    "shapes": tried(lambda: hosts.share_arrays([np.zeros(2 + number)])),
    "agreed": tried(lambda: hosts.agree("seed", 1)),
    "differ": tried(lambda: hosts.agree("recipe", {"peak": number, "name": "x"})),
    "first only": hosts.first_only(lambda: ["from", number]),
    "failed": tried(lambda: hosts.first_only(fail)),
    "no JSON": tried(lambda: hosts.first_only(object)),
    "still together": hosts.shared(number),
    "drawn": keras.random.uniform((3,)).tolist(),
}))
"""


@pytest.mark.slow
def test_what_two_processes_tell_each_other(pair):
    first, second = (said(process) for process in pair(script(TELLING)))
    assert (first["joined"], second["joined"]) == ([2, True], [2, False])
    for told in (first, second):
        assert told["shared"] == [{"a": [None, "ü" * 99]}, 0]
        assert told["arrays"] == [
            [[2**40], "int64", [1]],
            [1 / 3, "float64", []],
            [[], "float32", [0, 2]],
        ]
        assert told["agreed"] is None
        assert told["first only"] == ["from", 0]
        assert told["still together"] == 0
    assert first["drawn"] == second["drawn"]
    both = "ValueError: Expected the same `{}` on every process. Received: {}"
    other = "another one on process 1"
    assert first["differ"] == both.format("recipe", other)
    assert second["differ"] == both.format("recipe", "{'peak': 1}, where process 0 has {'peak': 0}")
    assert first["shapes"] == both.format("arrays", other)
    assert second["shapes"].startswith(both.format("arrays", "[[[3], 'float64']], where process 0"))
    assert first["failed"] == "FileExistsError: x exists"
    assert second["failed"] == "RuntimeError: Process 0: x exists"
    assert "not JSON serializable" in first["no JSON"]
    assert "RuntimeError: Process 0: " in second["no JSON"]


TRAINING = """
import json, sys
import resnet_lib as rl
from small import DATA, SHORT, net
from resnet_lib.training import hosts

out, epochs, resume = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
devices = "all" if hosts.processes() > 1 else None
run = rl.train(net(), DATA, SHORT, out=out, epochs=epochs, resume=resume, devices=devices,
               progress=False)
print(json.dumps({
    "weights": [each.tolist() for each in run.model.get_weights()],
    "history": {name: run.history[name] for name in ("loss", "val_loss", "val_accuracy")},
    "results": run.record["results"],
    "devices": run.record["execution"]["devices"],
    "folder": str(run.folder),
    "resumed": [each["epoch"] for each in run.record.get("resumed", [])],
}))
"""


def apart(one, other):
    """Return the largest difference between the weights of two runs."""
    pairs = zip(one["weights"], other["weights"], strict=True)
    return max(np.abs(np.array(a) - np.array(b)).max() for a, b in pairs)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_go_on_with_either_number(pair, tmp_path):
    """Three epochs of four steps, with a rate of 0.05."""

    def alone(out, epochs, resume=False):
        return said(start(script(TRAINING, tmp_path / out, epochs, resume)))

    def together(out, epochs, resume=False):
        two = [said(process) for process in pair(script(TRAINING, tmp_path / out, epochs, resume))]
        assert two[0] == two[1]
        return two[0]

    reference = alone("alone", 3)
    whole = together("together", 3)
    assert (whole["devices"], reference["devices"]) == (2, 1)
    assert whole["folder"] == str(tmp_path / "together")
    assert apart(whole, reference) < 1e-5
    for name in ("loss", "val_loss"):
        assert whole["history"][name] == pytest.approx(reference["history"][name], abs=1e-3)
    assert records.load(tmp_path / "together").record["results"] == whole["results"]

    together("cut", 1)
    half = alone("cut", 2, resume=True)
    last = together("cut", 3, resume=True)
    assert (half["resumed"], last["resumed"]) == ([1], [1, 2])
    assert apart(last, reference) < 1e-5
    again = together("cut", 3, resume=True)  # It is finished, and only read.
    assert apart(again, last) == 0


# One that is gone, or told to go.


def wait_for(path, processes):
    deadline = time.monotonic() + 240
    while not path.is_file():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_one_is_killed_and_the_other_says_so_and_ends(victim, pair, tmp_path):
    two = pair([*TRAIN, *FOR_EVER, "--out", str(tmp_path / "run")])
    wait_for(tmp_path / "run" / BACKUP / FIRST, two)
    two[victim].kill()
    _, errors = two[1 - victim].communicate(timeout=60)
    assert two[1 - victim].returncode == hosts.LOST == 69
    assert errors.splitlines()[-1] == (
        "resnet_lib: Another of the 2 processes is gone, so this one ends. To go on from the last "
        "finished epoch, start all of them again with resume=True (--resume)."
    )
    assert errors.count("resnet_lib:") == 1
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 1])
def test_sigterm_to_one_ends_both_at_the_same_step(asked, pair, tmp_path):
    out = tmp_path / "run"
    two = pair([*TRAIN, *FOR_EVER, "--out", str(out)])
    wait_for(out / BACKUP / FIRST, two)
    two[asked].send_signal(signal.SIGTERM)
    (printed, told), (_, other) = (process.communicate(timeout=60) for process in two)
    assert [process.returncode for process in two] == [75, 75]
    last = f"resnet_lib: stopped by SIGTERM; {out} holds the epochs that were finished. To go on: "
    assert last in told
    assert told.rstrip().endswith("--resume")
    assert "resnet_lib: " not in other
    assert "Traceback" not in told + other
    assert not (out / "record.json").exists()
    finished = printed.count("epoch ")
    assert (out / BACKUP / f"epoch-{finished:05}.weights.h5").is_file()


@pytest.mark.slow
def test_the_first_process_does_not_wait_for_ever():
    text = "from resnet_lib.training import join_hosts as j; j('127.0.0.1:{}', 2, 0, timeout=3)"
    process = start(script(text.format(free_port())))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == hosts.LOST
    assert errors.splitlines()[-1].startswith(
        "resnet_lib: Not all processes of the job came within 3 seconds. Expected as many as "
    )


# What cannot be joined.


@pytest.fixture
def on_jax(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, 2, 0), "Received: no KERAS_DISTRIBUTION_JOB_ADDRESSES"),
        (("a:1", None, None), "no KERAS_DISTRIBUTION_NUM_PROCESSES, no KERAS_DISTRIBUTION_PROC"),
        (("a", 2, 0), "as host:port, such as 10.0.0.1:1234, or several with commas. Received: 'a'"),
        (("a:0", 2, 0), "Received: 'a:0'"),
        (("a:1,b:70000", 2, 0), "Received: 'b:70000'"),
        (("a:1,b:2,c:3", 2, 0), "that of process 0, or 2, as many .* Received: 3"),
        (("a:1", "two", 0), "`KERAS_DISTRIBUTION_NUM_PROCESSES` .* at least 1. Received: 'two'"),
        (("a:1", 0, 0), "`KERAS_DISTRIBUTION_NUM_PROCESSES` .* at least 1. Received: 0"),
        (("a:1", "2", "2"), "`KERAS_DISTRIBUTION_PROCESS_ID` .* from 0 to 1. Received: 2"),
        (("a:1", 2, -1), "`KERAS_DISTRIBUTION_PROCESS_ID` .* from 0 to 1. Received: -1"),
    ],
)
@pytest.mark.parametrize("from_environment", [False, True])
def test_what_does_not_fit_together_is_explained(
    given, expected, from_environment, on_jax, monkeypatch
):
    if from_environment:
        for name, value in zip((hosts.ADDRESSES, hosts.COUNT, hosts.NUMBER), given, strict=True):
            if value is not None:
                monkeypatch.setenv(name, str(value))
        given = ()
        expected = expected.replace("Received: 0", "Received: '?0").replace("-1", "'?-1")
    with pytest.raises(ValueError, match=expected):
        hosts.join_hosts(*given)


def test_a_job_of_one_process_needs_no_joining(on_jax):
    hosts.join_hosts("127.0.0.1:1", 1, 0)
    assert hosts.processes() == 1
    assert hosts.is_first()


def test_where_jax_finds_no_job_it_says_what_is_missing(on_jax):
    with pytest.raises(ValueError, match="neither Slurm's srun nor a TPU pod has started"):
        hosts.join_hosts()


def test_a_first_process_that_does_not_answer_is_one_sentence(on_jax):
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(
        ConnectionError, match=f"did not answer at {address} within 0.3 seconds"
    ) as e:
        hosts.join_hosts(address, 2, 1, timeout=0.3)
    assert hosts.lost(e.value) == str(e.value)


def test_a_port_that_is_taken_is_one_sentence(on_jax):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionError, match=f"Another program listens at port {port}"):
            hosts.join_hosts(f"127.0.0.1:{port}", 2, 0)


def test_too_late_says_what_to_do(on_jax, monkeypatch):
    import jax

    jax.devices("cpu")
    told = "joined before anything is computed: set .* in a new process"
    with pytest.raises(RuntimeError, match=told):
        hosts.join_hosts(f"127.0.0.1:{free_port()}", 2, 0)
    monkeypatch.setenv(hosts.ADDRESSES, "127.0.0.1:1")
    monkeypatch.setenv(hosts.NUMBER, "0")
    monkeypatch.setenv(hosts.COUNT, "2")
    with pytest.raises(ValueError, match=told):
        hosts.check_joined()
    monkeypatch.setenv(hosts.COUNT, "1")
    hosts.check_joined()


def test_tensorflow_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match=r"KERAS_BACKEND=jax .*MultiWorkerMirrored.*20585"):
        hosts.join_hosts("127.0.0.1:1", 2, 0)
    assert hosts.processes() == 1


def test_one_process_tells_itself():
    assert hosts.shared({"a": 1}) == {"a": 1}
    assert hosts.first_only(lambda: 3) == 3
    hosts.agree("x", object())
    assert hosts.share_arrays([3]) == [3]
    assert not hosts.is_time_to_stop()


def test_which_errors_tell_that_another_is_gone(monkeypatch):
    monkeypatch.setattr(hosts, "processes", lambda: 2)
    gloo = ValueError("UNKNOWN: Gloo AllGather failed: … Connection closed by peer [127.0.0.1]:1")
    assert "Another of the 2 processes is gone" in hosts.lost(gloo)
    outer = RuntimeError("the step failed")
    outer.__cause__ = gloo
    assert hosts.lost(outer)
    assert hosts.lost(ValueError("Expected a number")) is None
    monkeypatch.setattr(hosts, "processes", lambda: 1)
    assert hosts.lost(gloo) is None
