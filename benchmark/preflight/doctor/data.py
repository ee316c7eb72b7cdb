"""Check the cohort, the images and the vessel masks."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from benchmark.errors import UserError
from benchmark.preflight.adequacy import adequacy
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status
from benchmark.stages.segment import open_vessels, require_own_masks
from benchmark.study.images import crop_row
from benchmark.study.manifest import SPLITS, Manifest
from benchmark.study.patients import counted, of_each_class, too_few
from benchmark.study.splits import of_split

SAMPLE = 3  # images decoded per split


def check_cohort(case: Case) -> list[Finding]:
    try:
        cohort = case.cohort
    except UserError as error:
        return [Finding(Status.FAIL, "cohort", line) for line in str(error).splitlines()]
    parts = {split: of_split(cohort, split) for split in SPLITS}
    sizes = ", ".join(f"{split} {counted(part)}" for split, part in parts.items())
    if splits := case.study.splits:
        again = "" if splits.repeats == 1 else f" in each of {splits.repeats} repeats"
        sizes = f"every patient is tested once{again}, in {splits.folds} folds; {counted(cohort)}"
    source = case.study.cohort.manifest or "synthetic"
    patients = cohort["patient_id"].n_unique()
    finding = Finding(Status.PASS, "cohort", f"{source}: {len(cohort)} images from {patients} patients; {sizes}")
    conflicts = [Finding(Status.FAIL, "cohort", line) for line in case.manifest.conflicts]
    return [finding, *_remarks(case.manifest), *conflicts]


def _remarks(manifest: Manifest) -> list[Finding]:
    doubtful = manifest.classes is not None and manifest.classes.doubtful
    findings = [Finding(Status.PASS, "cohort", line) for line in manifest.remarks()]
    return [replace(finding, status=Status.WARN) for finding in findings[:doubtful]] + findings[doubtful:]


def check_test_set(case: Case) -> list[Finding]:
    """How precise the results of the study can be."""
    test = of_split(case.cohort, "test")
    found = adequacy(test, case.study.statistics.confidence)
    if found is None:
        return [Finding(Status.FAIL, "test set", "one class has no test patient, so no AUC can be computed")]
    few, fix = too_few(of_each_class(test)), ""
    if few:
        fix = "add test patients of that class, with the split column or cohort.shares"
    elif found.wide:
        fix = "add test patients, or treat the study as exploratory: most differences will not be detected"
    detail = f"{found.discrimination} {few}".rstrip()
    return [
        Finding(Status.WARN if fix else Status.PASS, "test set", detail, fix),
        Finding(Status.PASS, "test set", found.calibration),
    ]


def check_images(case: Case) -> list[Finding]:
    if case.study.cohort.synthetic is not None:
        return [Finding(Status.PASS, "images", "drawn when the study runs")]
    cohort, allowed = case.cohort, case.study.cohort.max_rejected
    absent = [path for path in cohort["path"] if not Path(path).is_file()]
    if absent:
        fix = "relative paths start from --image-dir, or else from the manifest's folder"
        status = Status.FAIL if len(absent) > allowed * len(cohort) else Status.WARN
        detail = f"{len(absent)} of {len(cohort)} files are missing, the first: {absent[0]}"
        return [Finding(status, "images", detail, fix)]
    sample = pl.concat([of_split(cohort, split).head(SAMPLE) for split in SPLITS])
    rows = sample.select("path", pl.col("fov_mask").fill_null("")).with_row_index("row").to_dicts()
    faults = [(row["path"], error) for row in rows if (error := crop_row(row)["error"])]
    if not faults:
        return [Finding(Status.PASS, "images", f"all files exist, and {len(rows)} of them were decoded")]
    status = Status.FAIL if len(faults) == len(rows) else Status.WARN
    fix = f"replace or remove them; the study continues if at most {allowed:.0%} of the images cannot be used"
    findings = [Finding(status, "images", f"{path}: {error}") for path, error in faults]
    return [*findings[:-1], replace(findings[-1], fix=fix)]


def check_vessels(case: Case) -> list[Finding]:
    try:
        source = open_vessels(case.study)
    except UserError as error:
        return [Finding(Status.FAIL, "vessels", str(error).removeprefix("vessels: "))]
    detail = ", ".join(f"{key} {value}" for key, value in source.provenance.items())
    findings = [Finding(Status.PASS, "vessels", detail.removeprefix("name "))]
    if case.study.cohort.synthetic is None:
        cohort = case.cohort  # its faults are reported by its own check
        try:
            require_own_masks(source, cohort)
        except UserError as error:
            return [Finding(Status.FAIL, "vessels", str(error).removeprefix("vessels: "))]
    if case.study.vessels.source == "masks" and case.study.cohort.synthetic is None:
        findings += _masks(of_split(case.cohort, "test"))
    return findings


def _masks(test: pl.DataFrame) -> list[Finding]:
    named = test.filter(pl.all_horizontal(pl.col("artery_mask", "vein_mask").is_not_null()))
    there = sum(
        Path(artery).is_file() and Path(vein).is_file() for artery, vein in named["artery_mask", "vein_mask"].rows()
    )
    if there == len(test):
        return []
    status = Status.WARN if there else Status.FAIL
    fix = "the ratios leave out images without both masks: correct the manifest, or choose --vessels wnet"
    return [Finding(status, "vessels", f"{there} of {len(test)} test images have both mask files", fix)]
