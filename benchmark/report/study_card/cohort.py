"""Passages on the cohort: where the images come from, which were used, what they were labelled, how they were split."""

from benchmark.analysis.flow import Box, boxes
from benchmark.report.flow_words import number, reasons_of
from benchmark.report.results import CohortResult
from benchmark.report.study_card.items import Facts, Passage, Table
from benchmark.report.study_card.wording import SPLITS, counted, listed, percent
from benchmark.study.images import IMAGE_SIZE, LEAST_SIDE, MOST_OBLONG


def source(facts: Facts) -> Passage:
    """Where images, labels and patients were read."""
    drawn = facts.study.cohort.synthetic
    if drawn is not None:
        where = {"vessels": "the vessels", "periphery": "the periphery, away from the vessels"}[drawn.signal]
        return [
            f"The images are synthetic: a computer program drew both eyes of {number(drawn.patients, 'patient')} "
            f"(seed {drawn.seed}). No patient's data were used. The label shows in {where}, with an effect of "
            f"{drawn.effect:g} and an AUC of {drawn.best_auc:.2f} of the best possible classifier."
        ]
    cohort = facts.results.cohort
    digest = f" (SHA-256 {cohort.manifest_sha256})" if cohort.manifest_sha256 else ""
    read = f"Images, labels and patients were read from {cohort.source}{digest}."
    if facts.external is None:
        return [f"{read} Models were developed and evaluated with images from this one source."]
    before = f" (images from {facts.development.cohort.source})" if facts.development is not None else ""
    trained = f"the models were trained in the study {facts.external.run}{before}"
    return [f"Development: {trained}. Validation: {read[0].lower()}{read[1:]}"]


def counts(facts: Facts) -> Passage:
    """Images and patients of each split, and of each class if several share a label."""
    tables = []
    if facts.development is not None:
        tables.append(_counts("Development cohort", facts.development.cohort))
    name = "Cohort" if facts.external is None else "Validation cohort"
    tables.append(_counts(name, facts.results.cohort))
    classes = facts.results.cohort.by_class
    if len(classes) > 2:
        present = [split for split in SPLITS if split in facts.results.cohort.images]
        rows = tuple(
            (each.name, str(each.label), *(counted(each.images.get(split, 0)) for split in present)) for each in classes
        )
        heading = ("Class", "Label", *(SPLITS[split].capitalize() for split in present))
        tables.append(Table("Images of each class", heading, rows))
    return tables


def _counts(name: str, cohort: CohortResult) -> Table:
    columns = (cohort.images, cohort.positive, cohort.patients, cohort.positive_patients)
    rows = [
        (SPLITS[split].capitalize(), *(counted(column.get(split)) for column in columns))
        for split in SPLITS
        if split in cohort.images
    ]
    rows.append(("All", *(counted(sum(column.values())) if column else "–" for column in columns)))
    heading = ("Split", "Images", "Positive images", "Patients", "Positive patients")
    return Table(f"{name}: images and patients. A positive patient has a positive image", heading, tuple(rows))


def eligibility(facts: Facts) -> Passage:
    """Which images were used, and which could not be."""
    rules = (
        "The program excluded only images that it cannot use: missing or damaged files, frames or fields of view with "
        f"a side below {LEAST_SIDE} pixels, frames longer than {MOST_OBLONG}:1, blank frames, and channels of 32 bits."
    )
    return [f"{rules} {_unusable(facts)}", *repeated(facts)]


def _unusable(facts: Facts) -> str:
    cohort = facts.results.cohort
    files = cohort.files_left_out
    others = f" {number(sum(files.values()), 'file')} of the folder were not images and were not used." if files else ""
    used = sum(cohort.images.values())
    if not cohort.left_out:
        return f"All {number(used, 'image')} that were listed could be used.{others}"
    listing = _box(facts, "drawn") or _box(facts, "listed")
    reasons = f" ({', '.join(reasons_of(listing.left_out))})" if listing and listing.left_out else ""
    whole = used + cohort.left_out
    return f"Of {number(whole, 'listed image')}, {counted(cohort.left_out)} could not be used{reasons}.{others}"


def repeated(facts: Facts) -> Passage:
    """Images that occur twice."""
    times = facts.results.cohort.repeated
    if times is None:
        return []
    within = f"{number(times, 'image')} had the same pixels as another image of the split and stayed in the analysis."
    refused = "A run that finds the same pixels in two splits stops."
    return [f"{refused} {within if times else 'No image had the same pixels as another.'}"]


def preparation(facts: Facts) -> Passage:
    """From the file to what a model receives."""
    return [
        "Each image was rotated according to its EXIF or DICOM orientation. Its field of view was taken from a mask "
        "named in the manifest, or else found in the image. A light surround was made black. The image was cropped to "
        f"the square around the field of view and resized to {IMAGE_SIZE} × {IMAGE_SIZE} pixels (8 bits, RGB), for all "
        "splits alike."
    ]


def normalisation(facts: Facts) -> Passage:
    """How pixels were scaled."""
    rows = []
    for choice in facts.study.backbones:
        backbone = choice.open()
        texts = (", ".join(f"{value:.4g}" for value in values) for values in (backbone.mean, backbone.std))
        rows.append((backbone.name, *texts))
    caption = "Pixels, scaled to 0..1, were normalised as in pre-training: mean and standard deviation of R, G, B"
    return [Table(caption, ("Backbone", "Mean", "Standard deviation"), tuple(rows))]


def labels(facts: Facts) -> Passage:
    """What label 1 and label 0 stand for."""
    named = facts.results.cohort.classes
    stands = f"Label 1 (positive) stands for {named['1']}, label 0 for {named['0']}" if named else ""
    given = stands or "Labels are 1 (positive) or 0 (negative)"
    of_whom = {
        "patient": "All images of a patient have the same label.",
        "eye": "Labels are per eye. A patient counts as positive if any image is positive.",
    }[facts.study.cohort.labels]
    if facts.study.cohort.synthetic is not None:
        return [f"{given}, as drawn. {of_whom}"]
    return [f"{given}, as listed in {facts.results.cohort.source}. {of_whom}"]


def missing(facts: Facts) -> Passage:
    """What was missing, and what was done about it."""
    sentences = [
        "A listing without an image, a label or a patient in any row is refused, so no listed image lacks its label. "
        "Unusable images were left out; nothing was imputed."
    ]
    test = _box(facts, "scored")
    lost = [each.left_out for each in (test, _box(facts, "masked")) if each is not None and each.left_out is not None]
    names = {"unmasked": "no vessel masks", "unexplained": "no vessel ratio in at least one trial"}
    if lost:
        parts = [f"{number(each.counts.images, 'test image')} had {names[each.name]}" for each in lost]
        sentences.append(f"{listed(parts)}: they are in the analysis of predictions, but not in that of vessel ratios.")
    elif test is not None:
        sentences.append("All test images had vessel masks and, in every trial with results, a vessel ratio.")
    named = list(facts.study.cohort.covariates)
    if named:
        sentences.append(f"Covariates ({listed(named)}) may be missing; a missing value was not replaced.")
    return [" ".join(sentences)]


def _box(facts: Facts, name: str) -> Box | None:
    """The box of the flow with that name, if there is one."""
    flow = facts.results.flow
    return None if flow is None else next((box for box in boxes(flow) if box.name == name), None)


def partitions(facts: Facts) -> Passage:
    """How patients were divided, and what each part was used for."""
    if facts.external is not None:
        return [
            "All images of this cohort are test images. Weights, thresholds and preprocessing were those of the study "
            f"{facts.external.run}; none of them was fitted to this cohort."
        ]
    shares = facts.study.cohort.shares
    random = (
        f"patients were divided at random into training ({percent(shares.train)}), validation ({percent(shares.val)}) "
        f"and test ({percent(shares.test)}), stratified by whether a patient has a positive image (seed {shares.seed})"
    )
    given = False if facts.study.cohort.synthetic is not None else facts.results.cohort.splits_given
    how = {
        True: "The manifest assigned each patient to training, validation or test.",
        False: f"{random[0].upper()}{random[1:]}.",
        None: f"If the manifest has no splits, {random}; otherwise its splits were used.",
    }[given]
    return [
        f"{how} Weights were trained on the training images. The epoch and the thresholds were chosen on the "
        "validation images. All reported measures are of the test images."
    ]


def disjoint(facts: Facts) -> Passage:
    """The level at which splits have nothing in common."""
    if facts.external is not None:
        return ["No patient id of this cohort is in the development cohort; the program refuses such a cohort."]
    whole = "Splits are disjoint by patient: no patient has images in two splits."
    cohort = facts.results.cohort
    if cohort.images == cohort.patients:
        whole += " As far as the listing tells, every image is of another patient."
    return [f"{whole} Copies that were compressed again, resized or mirrored under another patient are not detected."]


def flow(facts: Facts) -> Passage:
    """Where the numbers of the flow are."""
    box = _box(facts, "used")
    if box is None:
        return []
    counts = box.counts
    return [
        f"The flow diagram of this card counts images and patients from the listing to the analysis. "
        f"{number(counts.images, 'image')} of {number(counts.patients or 0, 'patient')} were used; "
        f"{counted(counts.positive)} images were positive, of {number(counts.positive_patients or 0, 'patient')}."
    ]


def differences(facts: Facts) -> Passage:
    """How the images for evaluation differ from those for development, as far as the run knows."""
    cohort, learned = facts.results.cohort, (facts.development or facts.results).cohort
    where = "training" if facts.external is None else "development (training)"
    if not learned.images.get("train") or not cohort.images.get("test"):
        return []
    shares = [
        (each.positive.get(split, 0), each.images[split]) for each, split in ((learned, "train"), (cohort, "test"))
    ]
    texts = [f"{counted(positive)} of {counted(images)} ({percent(positive / images)})" for positive, images in shares]
    shared = "Both come from one listing, with the same eligibility, label and preprocessing. "
    positive = f"{texts[0]} {where} images and {texts[1]} test images were positive."
    return [(shared if facts.external is None else "") + positive]
