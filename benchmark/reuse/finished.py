"""Find a trained trial of a finished run by its name."""

from dataclasses import dataclass
from pathlib import Path

from backbones.naming import did_you_mean
from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory, TrialDirectory
from benchmark.study.config import Study, load_study
from benchmark.study.trials import Trial, trials_of


@dataclass(frozen=True)
class Finished:
    """A trained trial with its run."""

    study: Study
    directory: RunDirectory
    trial: Trial

    @property
    def folder(self) -> TrialDirectory:
        return self.directory.trial(self.trial)


def find_trial(run: Path, name: str | None) -> Finished:
    """The trial of this name, which is the name of its folder in `trials/`.

    Raises:
        UserError: there is no run, no such trial, or it is not trained; the message names those that are.
    """
    directory = RunDirectory(run)
    if not directory.study.is_file():
        raise UserError(f"{run}: holds no run (it has no study.yaml); name the folder that a run wrote with --out")
    study = load_study(directory.study)
    trials = {trial.name: trial for trial in trials_of(study)}
    trained = [each for each, trial in trials.items() if directory.trial(trial).is_trained]
    if not trained:
        raise UserError(f"{run}: none of its trials is trained; finish the run with --resume")
    choice = f"trained are {', '.join(trained)}"
    if name is None:
        raise UserError(f"--trial is missing: name a trial of {run}; {choice}")
    if name not in trials:
        raise UserError(f"--trial {name}: {run} has no such trial; {did_you_mean(name, trained, choice)}")
    found = Finished(study, directory, trials[name])
    if name not in trained:
        failure = found.folder.failure
        reason = failure.read_text(encoding="utf-8").strip() if failure.is_file() else "not finished"
        raise UserError(f"--trial {name}: is not trained ({reason}); {choice}")
    return found
