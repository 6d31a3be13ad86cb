"""The job files for clusters: Slurm's is run, with a stand-in for srun; the other is checked."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from test_hosts import ALONE, FIRST, FOR_EVER, TRAIN, wait_for

import resnet_lib
from resnet_lib import records
from resnet_lib.__main__ import LEFT_ALONE, TERMINATED, _parser
from resnet_lib.training import hosts
from resnet_lib.training.fit import BACKUP

JOBS = Path(resnet_lib.__file__).parent / "training" / "jobs"

# As Slurm's: it starts the tasks, hands SIGTERM to each, and ends with the highest exit code.
SRUN = """#!{python}
import os, signal, subprocess, sys

tasks = []
signal.signal(signal.SIGTERM, lambda number, frame: [task.send_signal(number) for task in tasks])
for task in range(2):
    step = dict(SLURM_STEP_NODELIST="127.0.0.1", SLURM_NTASKS="2", SLURM_STEP_NUM_NODES="1")
    step |= dict(SLURM_PROCID=str(task), SLURM_LOCALID=str(task))
    tasks.append(subprocess.Popen(sys.argv[1:], env=os.environ | step))
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$REQUEUED"
"""


def job_id():
    """Return the number of a job for which JAX takes a port that is free: 61440 + its number."""
    for number in range(os.getpid() % 4096, 8192):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", 61440 + number % 4096))
            except OSError:
                continue
            return str(number % 4096)
    raise OSError("no port is free")


@pytest.fixture
def sbatch(tmp_path):
    """Return a function that starts the job file with options, as sbatch would."""
    for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    started = []

    def start(*options):
        slurm = {"SLURM_JOB_ID": job_id(), "REQUEUED": str(tmp_path / "requeued")}
        process = subprocess.Popen(
            ["bash", str(JOBS / "slurm.sbatch"), *options],
            env={**os.environ, "JAX_PLATFORMS": "cpu", **slurm, "PYTHON": sys.executable}
            | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "XLA_FLAGS": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process, slurm["SLURM_JOB_ID"]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def child_of(process):
    """Return the process that a process waits for, as soon as there is one."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.01)
    return int(found[0])


@pytest.mark.slow
def test_the_slurm_job_is_stopped_and_goes_on(sbatch, tmp_path):
    assert ALONE["JAX_PLATFORMS"] == "cpu"
    out = tmp_path / "run"
    options = [*TRAIN[TRAIN.index("train") + 1 :], *FOR_EVER, "--out", str(out)]
    job, number = sbatch(*options)
    wait_for(out / BACKUP / FIRST, [job])
    os.kill(child_of(job), signal.SIGTERM)  # Slurm signals the steps, and not the script.
    printed, errors = job.communicate(timeout=120)
    assert job.returncode == TERMINATED, errors
    assert "stopped by SIGTERM; " in errors
    assert (tmp_path / "requeued").read_text() == f"requeue {number}\n"

    finished = printed.count("epoch ")
    job, _ = sbatch(*options, "--stop-after", str(finished + 1))
    _, errors = job.communicate(timeout=240)
    assert job.returncode == 0, errors
    record = records.load(out).record
    assert [each["epoch"] for each in record["resumed"]] == [finished]
    assert record["execution"]["devices"] == 2
    assert len((tmp_path / "requeued").read_text().splitlines()) == 1, "it is done"


def sbatch_options():
    lines = (JOBS / "slurm.sbatch").read_text(encoding="utf-8").splitlines()
    words = [line.split()[1] for line in lines if line.startswith("#SBATCH")]
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)


def test_slurm_signals_before_the_time_is_up_and_may_start_the_job_again():
    options = sbatch_options()
    assert options["signal"].startswith("TERM@")
    assert "requeue" in options
    assert options["ntasks-per-node"] == options["gpus-per-node"]


def kubernetes():
    text = (JOBS / "kubernetes.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("number", [0, 1])
def test_kubernetes_files_are_of_its_schema(number):
    import kubernetes_validate

    kubernetes_validate.validate(kubernetes()[number], "1.33", strict=True)


def test_a_word_that_the_schema_does_not_have_is_found():
    import kubernetes_validate

    job = kubernetes()[1]
    job["spec"]["backofLimit"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimit"):
        kubernetes_validate.validate(job, "1.33", strict=True)


def test_kubernetes_pods_find_each_other_and_are_started_again(monkeypatch):
    service, job = kubernetes()
    pods = job["spec"]["template"]
    [container] = pods["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert service["spec"]["selector"] == pods["metadata"]["labels"] == {"job-name": "resnet"}
    first = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert environment[hosts.ADDRESSES].startswith(f"{first}:")
    assert pods["spec"]["subdomain"] == service["metadata"]["name"]
    count = job["spec"]["completions"]
    assert count == job["spec"]["parallelism"] == int(environment[hosts.COUNT])
    assert environment["KERAS_BACKEND"] == "jax"
    [again, _] = job["spec"]["podFailurePolicy"]["rules"]
    assert again["onExitCodes"]["containerName"] == container["name"]
    assert again["onExitCodes"]["values"] == [LEFT_ALONE, TERMINATED]
    for name, value in environment.items():
        monkeypatch.setenv(name, value or "1")
    assert hosts._given(None, None, None) == (environment[hosts.ADDRESSES], 2, 1)


def test_the_jobs_commands_are_ones_that_there_are():
    [container] = kubernetes()[1]["spec"]["template"]["spec"]["containers"]
    command = [*container["command"], *container["args"]]
    assert command[:3] == ["python", "-m", "resnet_lib"]
    assert _parser().parse_args(command[3:]).resume
    text = (JOBS / "slurm.sbatch").read_text(encoding="utf-8")
    [example] = [line for line in text.splitlines() if line.startswith("#     sbatch")]
    words = shlex.split(example.lstrip("# "))
    assert _parser().parse_args(["train", *words[words.index("slurm.sbatch") + 1 :]])
