"""The model card and the configuration in the folder of every trial with results."""

from benchmark.analysis.leaderboard import OK
from benchmark.report.model_card import model_card, model_config
from benchmark.report.results import Results
from benchmark.stages.run import Run
from benchmark.storage.rundir import write_json, write_text


def write_model_cards(run: Run, results: Results) -> None:
    """Write `README.md` and `config.json` of every trial that has results."""
    found = {(each.backbone, each.strategy, each.seed): each for each in results.trials if each.status == OK}
    for trial in run.trials():
        result = found.get(trial.key)
        if result is not None:
            folder = run.directory.trial(trial)
            write_text(folder.card, model_card(run.study, trial, result, results))
            write_json(folder.config, model_config(run.study, trial, result, results))
