"""Training curves for other programs: TensorBoard's event files, and runs on an MLflow server."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import Trial
from benchmark.trial.fit import chosen_learning_rate

CURVES = ("train_loss", "val_loss", "val_auc", "learning_rate", "images_per_second")
# An MLflow server that hangs would hold up the study: by default its client tries for many minutes. It would also send
# statistics of its use to its makers.
_MLFLOW = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Tracker(Protocol):
    """Receives the curves of all trials while they train."""

    def epoch(self, trial: Trial, values: Mapping[str, float]) -> None:
        """A trial finished `values["epoch"]`; `values` also has `CURVES`."""

    def end(self, trial: Trial, error: str | None) -> None:
        """A trial ended; `error` is the reason if it failed."""

    def close(self) -> None:
        """No more curves come; trials that have not ended were interrupted."""


def require_tracking(study: Study) -> None:
    """Check that the study's MLflow server answers.

    Raises:
        UserError: it does not, or its client is not installed.
    """
    if study.tracking.mlflow is not None:
        _mlflow_client(study.tracking.mlflow, study.name)


@contextmanager
def trackers(study: Study, directory: RunDirectory, warn: Callable[[str], None]) -> Iterator[list[Tracker]]:
    """Event files in every trial's folder, and the MLflow server if the study names one.

    Args:
        warn: receives a line if the server fails; the study continues without it.
    """
    opened: list[Tracker] = [EventFiles(directory)]
    if study.tracking.mlflow is not None:
        opened.append(MlflowServer(study, directory, warn))
    try:
        yield opened
    finally:
        for tracker in opened:
            tracker.close()


class EventFiles:
    """TensorBoard's event files, one in the folder of each trial.

    `EventsWriter` writes at once. tensorboardX's `SummaryWriter` writes in a thread, and waits forever if the disk is
    full.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._files: dict[Trial, EventsWriter] = {}

    def epoch(self, trial: Trial, values: Mapping[str, float]) -> None:
        if trial not in self._files:
            folder = self._directory.trial(trial)
            for earlier in folder.events:  # of a training that was interrupted
                earlier.unlink()
            folder.path.mkdir(parents=True, exist_ok=True)
            self._files[trial] = EventsWriter(str(folder.path / folder.EVENTS))
        for curve in CURVES:
            point = summary.scalar(curve, values[curve])
            self._files[trial].write_event(Event(wall_time=time.time(), step=int(values["epoch"]), summary=point))
        self._files[trial].flush()

    def end(self, trial: Trial, error: str | None) -> None:
        if trial in self._files:
            self._files.pop(trial).close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class MlflowServer:
    """One MLflow run per trial, in an experiment with the study's name."""

    def __init__(self, study: Study, directory: RunDirectory, warn: Callable[[str], None]) -> None:
        self._study, self._directory, self._warn = study, directory, warn
        self._runs: dict[Trial, str] = {}
        self._client: Any = None
        try:
            self._client, self._experiment = _mlflow_client(str(study.tracking.mlflow), study.name)
        except UserError as error:
            self._give_up(error)

    def epoch(self, trial: Trial, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        points = [Metric(curve, float(values[curve]), now, int(values["epoch"])) for curve in CURVES]
        self._send(lambda: self._client.log_batch(self._run(trial), metrics=points))

    def end(self, trial: Trial, error: str | None) -> None:
        self._send(lambda: self._terminate(self._run(trial), "FINISHED" if error is None else "FAILED"))
        self._runs.pop(trial, None)

    def close(self) -> None:
        for run in self._runs.values():
            self._send(partial(self._terminate, run, "KILLED"))

    def _terminate(self, run: str, status: str) -> None:
        self._client.set_terminated(run, status)

    def _run(self, trial: Trial) -> str:
        """The trial's run, which begins with its first value."""
        if trial not in self._runs:
            from mlflow.entities import Param

            tags = {"run_directory": str(self._directory.path)}
            run = self._client.create_run(self._experiment, run_name=trial.name, tags=tags)
            self._runs[trial] = run.info.run_id
            described = _described(self._study, self._directory, trial).items()
            self._client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in described])
        return self._runs[trial]

    def _send(self, call: Callable[[], object]) -> None:
        from mlflow.exceptions import MlflowException

        if self._client is None:
            return
        try:
            call()
        except (MlflowException, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """A server that fails costs the study nothing but the curves there."""
        self._client = None
        self._warn(
            f"MLflow: no more curves are sent to {self._study.tracking.mlflow} ({_one_line(error)}); the study "
            "continues, and history.csv of each trial has them"
        )


def _mlflow_client(address: str, study: str) -> tuple[Any, str]:
    """A client, and the identifier of the experiment with the study's name, which is created if it is missing.

    Raises:
        UserError: the client is not installed, or the server does not answer.
    """
    for name, value in _MLFLOW.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError(
            "tracking.mlflow needs a package that is not installed: run `pip install mlflow-skinny`, or remove the key"
        ) from None
    client = MlflowClient(tracking_uri=address)
    try:
        experiment = client.get_experiment_by_name(study)
        return client, client.create_experiment(study) if experiment is None else experiment.experiment_id
    except (MlflowException, OSError) as error:
        raise UserError(
            f"tracking.mlflow: {address} does not answer as an MLflow server ({_one_line(error)}); start it with "
            "`mlflow server`, correct the address, or remove the key"
        ) from error


def _described(study: Study, directory: RunDirectory, trial: Trial) -> dict[str, Any]:
    """What distinguishes a trial's run: names, seed, rate and the settings of training."""
    strategy = trial.strategy.open()
    options = {f"{trial.strategy.name}.{key}": value for key, value in asdict(strategy).items()}  # type: ignore[call-overload]
    return {
        "backbone": trial.backbone.name,
        "strategy": trial.strategy.name,
        "seed": trial.seed,
        "learning_rate": chosen_learning_rate(study, directory, trial),
        **options,
        **{f"training.{key}": value for key, value in asdict(study.training).items()},
    }


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
