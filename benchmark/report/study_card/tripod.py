"""The items of TRIPOD+AI (Collins et al. 2024), named in our own words, with what fills each."""

from benchmark.report.study_card import cohort, evaluation, findings, groups, models
from benchmark.report.study_card.items import Guideline, Item

TRIPOD = Guideline(
    name="TRIPOD+AI",
    key="tripod",
    citation="Collins GS, Moons KGM, Dhiman P, et al. TRIPOD+AI statement: updated guidance for reporting clinical "
    "prediction models that use regression or machine learning methods. BMJ 2024;385:e078378.",
    sections={
        "Title and abstract": (
            Item(
                "1", "Title", (models.study_design,),
                "Name the condition and the patients for whom the models are meant.",
            ),
            Item(
                "2", "Abstract", (findings.best,),
                "Write the abstract by the guideline's own checklist for abstracts.",
            ),
        ),
        "Introduction": (
            Item("3a", "Clinical background", ask="Explain the clinical question, and which models exist already."),
            Item(
                "3b", "Patients and use",
                ask="State for whom, by whom and at which point of care the model is to be used.",
            ),
            Item(
                "3c", "Known inequalities",
                ask="Describe known differences in health or care between groups of people.",
            ),
            Item(
                "4", "Objectives", (models.study_design,),
                "State the aims and hypotheses as they were before the results.",
            ),
        ),
        "Methods: data and participants": (
            Item(
                "5a", "Source of the data", (cohort.source,),
                "Say how the data were collected (trial, registry, routine care), why these, and whom they "
                "represent.",
            ),
            Item(
                "5b", "Dates",
                ask="Give the first and the last date of recruitment, and of follow-up if there was any.",
            ),
            Item("6a", "Setting", ask="Give the kind of care, and the number and places of the centres."),
            Item(
                "6b", "Eligibility", (cohort.eligibility,),
                "Say how patients and images came into the listing: inclusion and exclusion before it.",
            ),
            Item(
                "6c", "Treatments",
                ask="Name treatments that can change the eye or the outcome, or say that none matter.",
            ),
            Item(
                "7", "Preparation of the data", (cohort.preparation, cohort.repeated),
                "Describe quality checks before the listing, and whether they were the same in all groups of "
                "people.",
            ),
        ),
        "Methods: outcome and predictors": (
            Item(
                "8a", "Outcome", (cohort.labels,),
                "Define the outcome: how, when and by which criteria it was assessed, and why it was chosen.",
            ),
            Item(
                "8b", "Assessors of the outcome",
                ask="If a person judged the outcome, give the person's qualification.",
            ),
            Item("8c", "Blinding of the outcome", ask="Say whether assessors of the outcome knew the images."),
            Item("9a", "Choice of predictors", (models.predictors,)),
            Item(
                "9b", "Definition of predictors", (models.predictors, cohort.preparation),
                "Name cameras, field of view, pupil dilation, and when images were taken relative to the "
                "outcome.",
            ),
            Item("9c", "Assessors of predictors", (models.no_reading,)),
        ),
        "Methods: sample size and missing data": (
            Item(
                "10", "Sample size", (evaluation.sample_size,),
                "Say why the study has this size, for development and for evaluation.",
            ),
            Item(
                "11", "Missing data", (cohort.missing,),
                "Describe data that were missing before the listing was made.",
            ),
        ),
        "Methods: analysis": (
            Item("12a", "Use of the data", (cohort.partitions, cohort.disjoint)),
            Item("12b", "Handling of predictors", (cohort.normalisation,)),
            Item(
                "12c", "Models and how they were built",
                (
                    models.architecture, models.strategies, models.initialisation, models.training, models.selection,
                    models.ensembles, evaluation.internal,
                ),
            ),
            Item(
                "12d", "Differences between clusters", (evaluation.clusters,),
                "Say whether centres, cameras or countries were compared, and how.",
            ),
            Item(
                "12e", "Measures of performance",
                (
                    evaluation.measures, evaluation.uncertainty, evaluation.comparisons, evaluation.explanation,
                    evaluation.controls,
                ),
                "Give the reason for the measures that you emphasise.",
            ),
            Item(
                "12f", "Updating of the models", (evaluation.updating,),
                "Describe any recalibration or other change that you made outside this run.",
            ),
            Item("12g", "Computation of predictions", (models.prediction,)),
            Item("13", "Class imbalance", (models.balance,)),
            Item("14", "Fairness", ask="Say what was done so that the model serves all groups of people, and why."),
            Item("15", "Output of the models", (models.output, models.risks)),
            Item(
                "16", "Development against evaluation", (cohort.differences,),
                "Compare setting, eligibility, outcome and cameras of both sets of data.",
            ),
            Item("17", "Ethics", ask="Name the ethics committee, its decision, and how patients consented."),
        ),
        "Open science": (
            Item("18a", "Funding", ask="Name the funders and their role."),
            Item("18b", "Conflicts of interest", ask="Declare the interests of all authors."),
            Item("18c", "Protocol", ask="Say where the protocol is, or that there is none."),
            Item("18d", "Registration", ask="Give register and number, or say that the study was not registered."),
            Item("18e", "Data", ask="Say whether and how others can get the data."),
            Item("18f", "Code", (models.code,), "Say where your copy of the code and of study.yaml is available."),
        ),
        "Patient and public involvement": (
            Item("19", "Involvement", ask="Describe how patients and the public took part, or say that they did not."),
        ),
        "Results": (
            Item(
                "20a", "Flow of participants", (cohort.flow, cohort.counts),
                "Add the time of follow-up, if there was any.",
            ),
            Item(
                "20b", "Characteristics", (cohort.counts, evaluation.clusters, groups.characteristics),
                "Complete the table of age, sex, conditions and missing values for each source.",
            ),
            Item(
                "20c", "Evaluation compared with development data", (cohort.differences,),
                "Compare age, sex and other important characteristics.",
            ),
            Item("21", "Patients and events in each step", (findings.analysed, models.failures)),
            Item(
                "22", "Full specification of the models", (models.specification,),
                "Say where the weights are published, and under which terms.",
            ),
            Item(
                "23a", "Performance",
                (
                    findings.best, findings.performance, groups.per_patient, findings.side_by_side, findings.calls,
                    groups.added, findings.saliency,
                ),
                "Add the performance in important groups of people, if you examined it elsewhere.",
            ),
            Item(
                "23b", "Differences in performance between clusters", (groups.subgroups,),
                "Report performance by centre or camera, if it was examined.",
            ),
            Item(
                "24", "Results of updating", (evaluation.updating, findings.recalibrated),
                "Report any model that you updated outside this run.",
            ),
        ),
        "Discussion": (
            Item("25", "Interpretation", ask="Interpret the results, with fairness and earlier studies."),
            Item(
                "26", "Limitations", (findings.limits,),
                "Discuss further limits, such as selection of patients and errors of the label.",
            ),
            Item(
                "27a", "Poor or missing input", (findings.handling,),
                "Say what is to be done with such images in care.",
            ),
            Item("27b", "Demands on users", ask="Say what users must do and know to apply the model."),
            Item("27c", "Next steps", ask="Name the next studies, and for whom the model may hold."),
        ),
    },
)  # fmt: skip
