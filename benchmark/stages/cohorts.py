"""The page over all external cohorts of a run, from the folders in `external/`."""

from pathlib import Path
from urllib.parse import quote

from benchmark.analysis.cohorts import OWN, aucs_of_cohorts, pooled_aucs
from benchmark.report.cohorts_page import cohorts_result, render_cohorts
from benchmark.storage.rundir import RunDirectory, write_csv, write_text
from benchmark.study.config import Study
from benchmark.study.trials import trials_of


def write_cohorts(study: Study, directory: RunDirectory) -> Path | None:
    """Write `external/index.html` with its tables; None if no external cohort is complete.

    Args:
        study: that of the run.
        directory: that of the run.
    """
    folder = directory.external_summary
    names = sorted(path.parent.name for path in folder.glob("*/results.json"))
    cohorts = {name: each for name in names if (each := directory.external(name)).is_external}
    if not cohorts:
        return None
    confidence = study.statistics.confidence
    aucs = aucs_of_cohorts(directory, cohorts, trials_of(study), confidence)
    pooled = pooled_aucs(aucs, confidence)
    for name, table in (("cohorts", aucs), ("pooled", pooled)):
        write_csv(folder / f"{name}.csv", table)
    result = cohorts_result(study.name, aucs, pooled)
    write_text(folder / "results.json", result.model_dump_json(indent=1))
    pages = {OWN: "../leaderboard.html"} | {name: f"{quote(name)}/leaderboard.html" for name in cohorts}
    page = folder / "index.html"
    write_text(page, render_cohorts(study.name, aucs, pooled, pages, confidence))
    return page
