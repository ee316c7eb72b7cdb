"""The arguments that every stage shares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape

from benchmark.errors import UserError, stop_when_full
from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.scheduling.streaming import Batched, Row
from benchmark.storage.rundir import RunDirectory, write_text
from benchmark.study.config import Resources, Study
from benchmark.study.trials import Trial, trials_of
from benchmark.trial.durations import Durations


@dataclass(frozen=True)
class Run:
    """One study while its stages run."""

    study: Study
    directory: RunDirectory
    cluster: Cluster
    reporter: Reporter
    chosen: Sequence[Trial] | None = None  # instead of all trials of the study
    durations: Durations = field(default_factory=Durations)

    def actors(self, feeding: int = 0) -> int:
        """How many actors fit on the cluster if `feeding` CPUs are left for the tasks that feed them."""
        needed = self.study.resources
        by_cpu = (self.cluster.cpus - feeding) // needed.cpus
        by_gpu = self.cluster.gpus // needed.gpus if needed.gpus else by_cpu
        return max(1, int(min(by_cpu, by_gpu)))

    def at_once(self, seconds: float, pieces: int) -> float:
        """Wall seconds of `pieces` of work that together take `seconds`, as many at a time as fit on the cluster."""
        return seconds / max(1, min(self.actors(), pieces))

    def batched(
        self, worker: Callable[..., Callable[[list[Row]], list[Row]]], options: Mapping[str, Any], feeding: int = 0
    ) -> Batched:
        """A streaming step with `actors(feeding)` actors, each with the study's resources."""
        return Batched(worker, options, self.actors(feeding), self.study.resources.cpus, self.study.resources.gpus)

    def all_trials(self) -> list[Trial]:
        """The trials of this run, failed ones too."""
        return trials_of(self.study) if self.chosen is None else list(self.chosen)

    def trials(self) -> list[Trial]:
        """The trials that have not failed."""
        return [trial for trial in self.all_trials() if not self.directory.trial(trial).has_failed]

    def fail(self, trial: Trial, reason: str) -> None:
        """Record why a trial failed; later stages skip it.

        Raises:
            benchmark.errors.DiskFull: the disk is full, so every other trial would fail, too.
        """
        stop_when_full(reason)
        write_text(self.directory.trial(trial).failure, reason + "\n")
        self.reporter.console.print(f"[red]✗ {trial.name} failed[/]: {escape(reason)}")


def unmet(needed: Resources, cluster: Cluster) -> dict[str, str]:
    """Resources that a trial needs and a cluster lacks, by configuration key; Ray would wait for them forever."""
    asked = {"CPUs": (needed.cpus, cluster.cpus), "GPUs": (needed.gpus or 0, cluster.gpus)}
    return {f"resources.{what.lower()}": f"{count:g} {what}" for what, (count, there) in asked.items() if count > there}


def refuse_to_wait(needed: Resources, cluster: Cluster) -> None:
    """Raise a UserError if a trial needs more than this machine has."""
    short = unmet(needed, cluster)
    if short and cluster.is_local:  # a cluster may grow
        raise UserError(
            f"a trial needs {' and '.join(short.values())}, but this machine has {cluster.cpus} CPUs and "
            f"{cluster.gpus} GPUs: lower {' and '.join(short)} in the configuration"
        )


def with_gpus(study: Study, cluster: Cluster) -> Study:
    """The study with the GPUs of each trial decided: one if the cluster has GPUs."""
    if study.resources.gpus is not None:
        return study
    return study.model_copy(update={"resources": study.resources.model_copy(update={"gpus": float(cluster.gpus > 0)})})


def reported(whole: Study, study: Study, *directories: RunDirectory) -> list[Trial]:
    """The trials of `study`, and those of `whole` that were finished or failed earlier in any of the folders."""
    named = {trial.name for trial in trials_of(study)}
    return [
        trial
        for trial in trials_of(whole)
        if trial.name in named
        or any(place.trial(trial).is_explained or place.trial(trial).has_failed for place in directories)
    ]
