"""weights: each backbone's file, found or downloaded once, before anything is computed from it."""

import backbones
from benchmark.errors import UserError
from benchmark.stages.run import Run
from benchmark.storage.rundir import write_json
from benchmark.trial.weight_files import find_weights, read_records


def weights(run: Run) -> None:
    """Fill `weights.json`; if a backbone's weights are not available, its trials fail and the others continue.

    Raises:
        UserError: the run began with other weights for a backbone.
    """
    records = read_records(run.directory)
    with run.reporter.stage("weights", len(run.study.backbones), "backbones") as stage:
        for choice in run.study.backbones:
            stage.say(choice.name)
            try:
                found = find_weights(choice)
            except backbones.WeightsError as error:
                for trial in run.trials():
                    if trial.backbone == choice:
                        run.fail(trial, f"weights: {error}")
                stage.advance()
                continue
            before = records.get(choice.name, found)
            if (found and found["sha256"]) != (before and before["sha256"]) and run.directory.uses(choice.name):
                raise UserError(
                    f"the run began with other weights for {choice.name} ({before and before['path']}, SHA-256 "
                    f"{before and before['sha256']}); use those weights again, or choose another --out"
                )
            records[choice.name] = found
            stage.advance()
    write_json(run.directory.weights, records)
