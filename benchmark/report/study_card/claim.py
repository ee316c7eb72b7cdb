"""The items of CLAIM 2024 (Tejani et al. 2024), named in our own words, with what fills each."""

from benchmark.report.study_card import cohort, evaluation, findings, groups, models
from benchmark.report.study_card.items import Guideline, Item

CLAIM = Guideline(
    name="CLAIM 2024",
    key="claim",
    citation="Tejani AS, Klontzas ME, Gatti AA, et al. Checklist for Artificial Intelligence in Medical Imaging "
    "(CLAIM): 2024 update. Radiology: Artificial Intelligence 2024;6:e240300.",
    sections={
        "Title and abstract": (
            Item(
                "1", "Title", (models.study_design,),
                "Name the technology (deep learning) and the clinical question.",
            ),
            Item("2", "Summary", (findings.best,), "Summarise design, methods, results and conclusions."),
        ),
        "Introduction": (
            Item(
                "3", "Background and role",
                ask="Give the scientific and clinical background, and the role that the models are to have.",
            ),
            Item(
                "4", "Aims and hypotheses", (models.study_design,),
                "State the aims and hypotheses as they were before the results.",
            ),
        ),
        "Methods: design": (
            Item(
                "5", "Prospective or retrospective",
                ask="Say whether images and labels were collected for this study or before it.",
            ),
            Item(
                "6", "Goal", (models.study_design,),
                "Say whether the goal is exploration, feasibility, or use in care.",
            ),
        ),
        "Methods: data": (
            Item("7", "Sources of the data", (cohort.source,), "Describe places, dates and kind of care."),
            Item(
                "8", "Inclusion and exclusion", (cohort.eligibility,),
                "Say how patients and images came into the listing.",
            ),
            Item("9", "Preprocessing", (cohort.preparation, cohort.normalisation)),
            Item(
                "10", "Choice of subsets", (cohort.eligibility, cohort.flow),
                "Describe any choice of images before the listing, such as one eye or the best image.",
            ),
            Item("11", "De-identification", ask="Describe how images and tables were de-identified."),
            Item(
                "12", "Missing data", (cohort.missing,),
                "Describe data that were missing before the listing was made.",
            ),
            Item("13", "Acquisition", ask="Name cameras, field of view, pupil dilation, file format and compression."),
        ),
        "Methods: reference standard": (
            Item("14", "Definition", (cohort.labels,), "Describe the method that gave the label."),
            Item("15", "Reason for the choice", ask="Say why this reference standard, and what its errors are."),
            Item("16", "Source of the labels", ask="Say who labelled, with which training and tools."),
            Item(
                "17", "Labels of the test set", (cohort.labels,),
                "Say whether the test set was labelled in another way, such as by more readers.",
            ),
            Item(
                "18", "Agreement of raters",
                ask="Report agreement within and between raters, or say that it was not measured.",
            ),
        ),
        "Methods: partitions": (
            Item("19", "Assignment to partitions", (cohort.partitions,)),
            Item("20", "Level of separation", (cohort.disjoint, cohort.repeated)),
        ),
        "Methods: test data": (
            Item("21", "Sample size", (evaluation.sample_size,), "Say why the test set has this size."),
        ),
        "Methods: models": (
            Item("22", "Description of the models", (models.architecture, models.strategies, models.output)),
            Item("23", "Software", (models.software, models.hardware)),
            Item("24", "Initial weights", (models.initialisation,)),
        ),
        "Methods: training": (
            Item("25", "Training", (models.training, models.balance)),
            Item("26", "Choice of the final model", (models.selection,)),
            Item("27", "Ensembles", (models.ensembles,)),
        ),
        "Methods: evaluation": (
            Item("28", "Measures", (evaluation.measures, models.risks)),
            Item("29", "Uncertainty and tests", (evaluation.uncertainty, evaluation.comparisons)),
            Item(
                "30", "Robustness", (evaluation.robustness,),
                "Describe further analyses, such as other cameras or image quality.",
            ),
            Item("31", "Explanations", (evaluation.explanation, evaluation.controls)),
            Item("32", "Evaluation on internal data", (evaluation.internal,)),
            Item(
                "33", "Evaluation on external data", (evaluation.external,),
                "Report tests on data of other sources, or say why there are none.",
            ),
            Item(
                "34", "Registration",
                ask="Give the registration if this is a clinical trial, or say that it is not one.",
            ),
        ),
        "Results: data": (
            Item("35", "Included and excluded", (cohort.flow, cohort.eligibility, cohort.counts)),
            Item(
                "36", "Characteristics of each partition",
                (cohort.counts, cohort.differences, evaluation.clusters, groups.characteristics),
                "Complete the table of age, sex and clinical characteristics for each partition.",
            ),
        ),
        "Results: performance": (
            Item(
                "37", "Performance of the models",
                (
                    findings.best, findings.performance, groups.per_patient, findings.side_by_side, groups.subgroups,
                    groups.added, findings.saliency, models.failures,
                ),
            ),
            Item("38", "Diagnostic accuracy", (findings.calls,)),
            Item(
                "39", "Wrong calls", (findings.wrong_calls,),
                "Look at these images and describe what they have in common.",
            ),
        ),
        "Discussion": (
            Item(
                "40", "Limitations", (findings.limits,),
                "Discuss further limits, such as selection of patients and errors of the label.",
            ),
            Item("41", "Implications", ask="Say what the results mean for practice, and the role of the models in it."),
        ),
        "Other information": (
            Item(
                "42", "Protocol and technical details", (models.code,),
                "Say where the protocol and the supplement are.",
            ),
            Item(
                "43", "Availability", (models.specification, models.code),
                "Say where software, weights and data are available.",
            ),
            Item("44", "Funding", ask="Name the funders and their role."),
        ),
    },
)  # fmt: skip
