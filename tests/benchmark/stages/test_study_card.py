"""The card of an external cohort names the cohort in which the models were trained, where its report can be read."""

from types import SimpleNamespace

import pytest

from benchmark.stages.study_card import write_study_card
from benchmark.storage.rundir import RunDirectory, write_text
from tests.benchmark.report.study_card.runs import external_run, manifest_run


@pytest.fixture
def external(tmp_path):
    """The folder of an external cohort below the run in which its models were trained."""
    source = RunDirectory(tmp_path)
    directory = source.external("other")
    directory.path.mkdir(parents=True)
    directory.apply(source, None)
    return directory


def card(directory, facts):
    run = SimpleNamespace(study=facts.study, directory=directory)
    write_study_card(run, facts.results)
    assert directory.study_card("html").is_file()
    return directory.study_card("md").read_text(encoding="utf-8")


def test_a_run_is_its_own_development_cohort(tmp_path):
    assert "Development cohort:" not in card(RunDirectory(tmp_path), manifest_run())


def test_the_development_cohort_is_that_of_the_run_that_trained_the_models(external):
    write_text(external.trained_in.results, manifest_run().results.model_dump_json())
    found = card(external, external_run())
    assert "**Development cohort:** that of the study carotid (cohort.csv)." in found
    assert "Development cohort: images and patients" in found


@pytest.mark.parametrize("content", [None, "{}"])
def test_without_a_report_of_that_run_its_name_is_known(external, content):
    if content is not None:
        write_text(external.trained_in.results, content)
    found = card(external, external_run())
    assert "**Development cohort:** that of the study carotid." in found
    assert "Development cohort: images and patients" not in found
