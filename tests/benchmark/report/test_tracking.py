"""Curves that arrive where other programs read them; a real MLflow server on loopback, where MLflow is installed."""

import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from benchmark.errors import UserError
from benchmark.report.tracking import CURVES, require_tracking, trackers
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import Trial, trials_of


def study(**settings: object) -> Study:
    return Study.model_validate(
        {
            "name": "curves",
            "cohort": {"synthetic": {}},
            "backbones": ["openclip-tiny"],
            "strategies": [{"name": "lora", "rank": 2, "learning_rate": 0.003}],
            "seeds": [0, 1, 2],
        }
        | settings
    )


def values(epoch: int) -> dict[str, float]:
    return {"epoch": epoch} | {curve: epoch + place / 8 for place, curve in enumerate(CURVES)}


def events(file: Path) -> list[Event]:
    """The records of a file: length, its checksum, the event, its checksum."""
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_every_trial_has_an_event_file_of_its_own(tmp_path):
    directory, said = RunDirectory(tmp_path), []
    first, second, _ = trials_of(study())
    with trackers(study(), directory, said.append) as (files,):
        for epoch in (1, 2):
            files.epoch(first, values(epoch))
            files.epoch(second, values(epoch + 4))
        (file,) = directory.trial(first).events
        assert len(events(file)) == 1 + 2 * len(CURVES), "what a reader sees while the trial trains"
        files.end(first, None)
        files.end(second, "failed")
    opening, *points = events(file)
    assert opening.file_version == "brain.Event:2"
    read = {(point.step, point.summary.value[0].tag): point.summary.value[0].simple_value for point in points}
    assert read == {(epoch, curve): values(epoch)[curve] for epoch in (1, 2) for curve in CURVES}
    (other,) = directory.trial(second).events
    assert {point.step for point in events(other)[1:]} == {5, 6}
    assert said == []


def test_an_interrupted_training_leaves_no_second_curve(tmp_path):
    directory, (trial, *_) = RunDirectory(tmp_path), trials_of(study())
    folder = directory.trial(trial)
    folder.path.mkdir(parents=True)
    (folder.path / "events.out.tfevents.1.elsewhere").write_bytes(b"half")
    (folder.path / "history.csv").touch()
    with trackers(study(), directory, print) as (files,):
        files.epoch(trial, values(1))
    (file,) = folder.events
    assert len(events(file)) == 1 + len(CURVES)
    assert (folder.path / "history.csv").is_file()


def test_a_missing_client_is_one_line(monkeypatch):
    require_tracking(study())
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"^tracking\.mlflow needs a package .*: run `pip install mlflow-skinny`, or"):
        require_tracking(study(tracking={"mlflow": "http://127.0.0.1:5000"}))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_a_server_that_does_not_answer_is_one_line():
    pytest.importorskip("mlflow", reason="needs the package mlflow-skinny")
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError) as caught:
        require_tracking(study(tracking={"mlflow": address}))
    assert str(caught.value).startswith(f"tracking.mlflow: {address} does not answer as an MLflow server (")
    assert "\n" not in str(caught.value)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health") as reply:
            return reply.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, subprocess.Popen]]:
    """An MLflow server on loopback, in a process of its own."""
    pytest.importorskip("mlflow", reason="needs the package mlflow-skinny")
    command = shutil.which("mlflow")
    if command is None:
        pytest.skip("needs the command mlflow on the PATH, from the package mlflow")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    address = f"http://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([command, "server", *options, *stores], cwd=folder, stdout=log, stderr=log)
    try:
        while not answers(address):
            if process.poll() is not None:
                pytest.skip(f"the MLflow server does not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        process.wait()


def test_runs_arrive_on_a_server_and_its_end_does_not_end_the_study(server, tmp_path):
    from mlflow import MlflowClient

    address, process = server
    tracked, directory, said = study(tracking={"mlflow": address}), RunDirectory(tmp_path), []
    require_tracking(tracked)
    done, failed, interrupted = trials_of(tracked)

    def report(epochs: int, trial: Trial) -> None:
        for epoch in range(1, epochs + 1):
            for tracker in tracking:
                tracker.epoch(trial, values(epoch))

    with trackers(tracked, directory, said.append) as tracking:
        for trial in (done, failed, interrupted):
            report(2, trial)
        for tracker in tracking:
            tracker.end(done, None)
            tracker.end(failed, "train: broken")

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("curves")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {
        done.name: "FINISHED", failed.name: "FAILED", interrupted.name: "KILLED",
    }  # fmt: skip
    run = runs[done.name]
    assert {curve: run.data.metrics[curve] for curve in CURVES} == {curve: values(2)[curve] for curve in CURVES}
    history = client.get_metric_history(run.info.run_id, "val_auc")
    assert sorted((point.step, point.value) for point in history) == [(e, values(e)["val_auc"]) for e in (1, 2)]
    assert run.data.params | {"backbone": "openclip-tiny", "strategy": "lora", "seed": "0"} == run.data.params
    assert (run.data.params["learning_rate"], run.data.params["lora.rank"]) == ("0.003", "2")
    assert run.data.tags["run_directory"] == str(directory.path)
    assert said == []

    with trackers(tracked, directory, said.append) as tracking:
        process.terminate()
        process.wait()
        report(3, done)
        for tracker in tracking:
            tracker.end(done, None)
    (line,) = said
    assert line.startswith(f"MLflow: no more curves are sent to {address} (")
    (file,) = directory.trial(done).events
    assert len(events(file)) == 1 + 3 * len(CURVES), "TensorBoard has them all the same"
