"""The page over external cohorts; with cohorts, it is tested in test_validate.py."""

from benchmark.stages.cohorts import write_cohorts
from benchmark.storage.rundir import RunDirectory
from tests.benchmark.explained import study_of


def test_a_run_without_external_cohorts_has_no_page(tmp_path):
    """A folder in `external` that is not that of an external cohort, or is not complete, does not count."""
    directory = RunDirectory(tmp_path)
    assert write_cohorts(study_of(), directory) is None
    for name in ("copied", "interrupted"):
        directory.external(name).path.mkdir(parents=True)
    directory.external("copied").results.write_text("{}", encoding="utf-8")
    directory.external("interrupted").apply(directory, None)
    assert write_cohorts(study_of(), directory) is None
    assert not (directory.external_summary / "index.html").exists()
