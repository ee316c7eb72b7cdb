"""Find a trained trial of a finished run by its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def find_run(run: Path, external: dict[str, Any], settings: Mapping[str, str], options: Mapping[str, str]) -> Study:
    """The study of a run, with one external cohort in place of those of its configuration.

    Args:
        external: the section `external` of a configuration; the study's vessels are completed.
        settings: as for `load_study`.
        options: as for `load_study`.

    Raises:
        UserError: there is no run, or a fault of the cohort's options.
    """
    file = _study_file(run)
    if "vessels" in external:
        own = load_study(file).vessels
        source = external["vessels"]["source"] or own.source
        external = external | {"vessels": external["vessels"] | {"source": source}}
    try:
        return load_study(file, {"external": [external]}, settings, options)
    except UserError as error:  # the user has named keys of the cohort alone
        raise UserError(str(error).replace("external.0.", "")) from error


def find_trial(run: Path, name: str | None) -> Finished:
    """The trial of this name, which is the name of its folder in `trials/`.

    Raises:
        UserError: there is no run, no such trial, or it is not trained; the message names those that are.
    """
    directory = RunDirectory(run)
    study = load_study(_study_file(run))
    trials = {trial.name: trial for trial in trials_of(study)}
    trained = [each for each, trial in trials.items() if directory.trial(trial).is_trained]
    if not trained and study.splits is not None:
        raise UserError(f"{run}: models differ from fold to fold; name one fold, as in {run}/folds/r1-f1")
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


def _study_file(run: Path) -> Path:
    file = RunDirectory(run).study
    if not file.is_file():
        raise UserError(f"{run}: holds no run (it has no study.yaml); name the folder that a run wrote with --out")
    return file
