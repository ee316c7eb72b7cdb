"""The study card in the run directory, as HTML and as Markdown."""

from benchmark.errors import UserError
from benchmark.report.results import Results, read_results
from benchmark.report.study_card.items import Facts
from benchmark.report.study_card.page import study_card_html, study_card_markdown
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory, write_text


def write_study_card(run: Run, results: Results) -> None:
    """Write `study_card.html` and `study_card.md`."""
    facts = Facts(run.study, results, _development(run.directory))
    write_text(run.directory.study_card("html"), study_card_html(facts))
    write_text(run.directory.study_card("md"), study_card_markdown(facts))


def _development(directory: RunDirectory) -> Results | None:
    """For an external cohort, the results of the run that trained the models, if there are any."""
    if not directory.is_external:
        return None
    try:
        return read_results(directory.trained_in.path)
    except UserError:  # no report was made yet, or an earlier version made it
        return None
