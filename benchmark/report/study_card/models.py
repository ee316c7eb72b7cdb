"""Passages on the models: what they are, how they were trained and chosen, and what computed them."""

from collections.abc import Callable
from typing import Any

from benchmark.report.flow_words import number
from benchmark.report.provenance import Program
from benchmark.report.readable import readable_bytes
from benchmark.report.study_card.items import Facts, Passage, Table
from benchmark.report.study_card.wording import counted, listed, percent, trial_name
from benchmark.study.images import IMAGE_SIZE

_STRATEGIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "classifier_only": lambda options: "only a linear classifier on the pooled features of the frozen model is trained",
    "partial": lambda options: (
        f"the last {number(options['blocks'], 'block') if options['blocks'] > 1 else 'block'}, the final norm and the "
        "classifier are trained"
    ),
    "lora": lambda options: (
        f"low-rank adapters (rank {options['rank']}, alpha {options['alpha']}, dropout "
        f"{options['dropout']:g}) and the classifier are trained"
    ),
    "full": lambda options: (
        f"all parameters are trained, each block with {options['layer_decay']:g} times the "
        "learning rate of the block above it"
    ),
}


def study_design(facts: Facts) -> Passage:
    """What was compared with what."""
    study = facts.study
    cells = f"{number(len(study.backbones), 'pre-trained backbone')} × {number(len(study.strategies), 'strategy')}"
    cells = cells.replace("strategys", "strategies")
    seeds = f", each trained with {number(len(study.seeds), 'seed')}"
    if facts.external is not None:
        return [
            "The study evaluates prediction models that were developed in another cohort (external validation): "
            f"deep learning models for colour fundus images, {cells}{seeds}."
        ]
    return [
        "The study develops prediction models and evaluates them on held-out patients of the same source: deep "
        f"learning models (vision transformers) for colour fundus images, {cells}{seeds}. The question is how well "
        "each predicts the label, and whether it looks at the retinal vessels."
    ]


def predictors(facts: Facts) -> Passage:
    """What the models receive."""
    named = list(facts.study.cohort.covariates)
    rest = f" Covariates ({listed(named)}) are used to describe and compare, not as inputs." if named else ""
    return [
        "The only predictor is the colour fundus image. The models receive its pixels; no other variable is an input, "
        f"and no feature was selected beforehand.{rest}"
    ]


def no_reading(facts: Facts) -> Passage:
    """Whether a person rates the predictor."""
    return ["No person rates or measures the images for the models: pixels are the input."]


def architecture(facts: Facts) -> Passage:
    """The networks."""
    rows = []
    for choice in facts.study.backbones:
        backbone = choice.open()
        parameters = f"{backbone.parameters / 1e6:,.1f} M"
        texts = (backbone.architecture, parameters, str(backbone.width), str(backbone.depth))
        rows.append((backbone.name, *texts, backbone.pretraining, backbone.licence))
    heading = (
        "Backbone",
        "Architecture (timm)",
        "Parameters",
        "Width",
        "Blocks",
        "Pre-training",
        "Licence of the weights",
    )
    sentence = (
        f"Each model is a vision transformer for images of {IMAGE_SIZE} × {IMAGE_SIZE} pixels with a linear classifier "
        "of two outputs."
    )
    return [sentence, Table("Backbones", heading, tuple(rows))]


def strategies(facts: Facts) -> Passage:
    """Which parameters are trained."""
    sentences = []
    for choice in facts.study.strategies:
        options = vars(choice.open())
        describe = _STRATEGIES.get(choice.name)
        what = describe(options) if describe else ", ".join(f"{key} {value}" for key, value in options.items())
        sentences.append(f"{choice.name}: {what} (highest learning rate {options['learning_rate']:g}).")
    return [f"Strategies of fine-tuning. {' '.join(sentences)}"]


def initialisation(facts: Facts) -> Passage:
    """Where the weights came from before training."""
    rows = []
    for name, record in facts.results.weights.items():
        where = "untrained (random weights)" if record is None else "a local file"
        if record is not None and record.get("repository"):
            where = f"{record['repository']}, {record['file']}, revision {record['revision']}"
        rows.append((name, where, (record or {}).get("sha256", "–")))
    seeds = listed(map(str, facts.study.seeds))
    sentence = (
        "Backbones start from pre-trained weights. Classifiers and adapters start at random from the seed of the trial "
        f"({seeds})."
    )
    return [sentence, Table("Weights before training", ("Backbone", "Source", "SHA-256"), tuple(rows))]


def training(facts: Facts) -> Passage:
    """The recipe that all trials share, and what each trial used."""
    from finetune.augment import BRIGHTNESS, CONTRAST, ROTATION  # imports torch

    recipe = facts.study.training
    views = (
        f"Each training image had {recipe.views} versions: the image itself, and {number(recipe.views - 1, 'version')} "
        f"with random left-right flips, rotations up to {ROTATION:g} degrees, and changes of brightness (up to "
        f"{percent(BRIGHTNESS)}) and contrast (up to {percent(CONTRAST)}), from seed {recipe.view_seed}."
        if recipe.views > 1
        else "Images were not augmented."
    )
    sentence = (
        f"Training minimised cross-entropy with AdamW (weight decay {recipe.weight_decay:g}) for at most "
        f"{number(recipe.epochs, 'epoch')} in batches of {number(recipe.batch_size, 'image')}. The learning rate rose "
        f"linearly over {percent(recipe.warmup)} of the steps and then fell as a cosine; gradients were scaled down to "
        f"a norm of {recipe.max_grad_norm:g}. {views}"
    )
    return [sentence, *_per_trial(facts)]


def _per_trial(facts: Facts) -> Passage:
    rows = []
    for trial in facts.results.trials:
        record = trial.training
        if record:
            epochs = f"{record['best_epoch']} of {record['epochs']}"
            rate, parameters = f"{record['learning_rate']:.3g}", counted(record.get("trainable_parameters"))
            rows.append((trial_name(trial), parameters, record["inputs"], rate, epochs, f"{record['seconds']:.3g}"))
    heading = ("Trial", "Trained parameters", "Trained from", "Learning rate", "Epoch kept", "Seconds")
    return [Table("Training of each trial", heading, tuple(rows))] if rows else []


def selection(facts: Facts) -> Passage:
    """How the final weights and the learning rate were chosen."""
    recipe, search = facts.study.training, facts.study.search
    rates = (
        "Learning rates were set in the configuration and not tuned."
        if search is None
        else f"The learning rate of each cell was chosen among {search.candidates} by validation AUC (ASHA, Li et al. "
        f"2020), from the strategy's rate divided by {search.span:g} to the rate times {search.span:g}."
    )
    return [
        "The weights of the epoch with the highest validation AUC were kept; training stopped after "
        f"{number(recipe.patience, 'epoch')} without a better one. {rates} Test images had no part in any choice.",
    ]


def ensembles(facts: Facts) -> Passage:
    """Whether models were combined."""
    count = len(facts.study.seeds)
    seeds = (
        "Each cell was trained once, so the variation between trainings is not known."
        if count == 1
        else f"Each cell was trained with {count} seeds ({listed(map(str, facts.study.seeds))}). Every trial is "
        "reported by itself, and measures are averaged over seeds, not predictions."
    )
    return [f"No ensemble was used: each trial is one trained model. {seeds}"]


def failures(facts: Facts) -> Passage:
    """Trials without results."""
    failed = [trial for trial in facts.results.trials if trial.status != "ok"]
    done = len(facts.results.trials) - len(failed)
    if not failed:
        return ["The trial was completed." if done == 1 else f"All {number(done, 'trial')} were completed."]
    rows = tuple((trial_name(trial), trial.status) for trial in failed)
    have = "has" if len(failed) == 1 else "have"
    sentence = f"{number(len(failed), 'trial')} of {len(facts.results.trials)} failed and {have} no results."
    return [sentence, Table("Failed trials", ("Trial", "Reason"), rows)]


def balance(facts: Facts) -> Passage:
    """How class imbalance was handled, and undone."""
    how = {
        "weights": "The loss was weighted inversely to the frequency of the classes in training.",
        "sampling": "Both classes were drawn equally often in training.",
        "none": "Class imbalance was not compensated in training.",
    }[facts.study.training.balance]
    return [f"{how} {risks(facts)[0]}"]


def risks(facts: Facts) -> Passage:
    """How a score becomes a probability."""
    where = "For calibration, Brier score and net benefit, "
    unchanged = "scores were used unchanged as probabilities."
    undone = "the effect of balancing the classes on the scores was undone."
    how = {
        "unbalanced": unchanged if facts.study.training.balance == "none" else undone,
        "recalibrated": "a line was fitted to the logits of the scores on the validation images.",
        "score": unchanged,
    }[facts.study.statistics.risk]
    return [where + how]


def output(facts: Facts) -> Passage:
    """What a model returns, and how it becomes a decision."""
    return [
        "A model returns a score from 0 to 1, the softmax output of the positive class. A score at or above the "
        "threshold is called positive. The threshold has the highest F1 on the validation images. Further thresholds, "
        "also chosen on validation images, reach a sensitivity or a specificity of 80 % and 90 %."
    ]


def prediction(facts: Facts) -> Passage:
    """How predictions for new images are computed."""
    version = facts.results.software.program.version or ""
    return [
        f"Scores were computed by retina-benchmark {version} from the saved weights. Its command `predict` computes "
        "the same scores, decisions and maps for other images; the model card and config.json of each trial state how "
        "to load a model without it."
    ]


def specification(facts: Facts) -> Passage:
    """Where the full models are."""
    return [
        "Each trial's folder in the run directory (trials/) has the trained weights, the model card README.md, and "
        "config.json with backbone, strategy, preprocessing and threshold. The weights of a backbone have a licence of "
        "their own, which also holds for what derives from them."
    ]


def software(facts: Facts) -> Passage:
    """Programs and versions."""
    used = facts.results.software
    packages = ", ".join(f"{name} {version}" for name, version in used.packages.items())
    return [f"retina-benchmark {_program(used.program)}, Python {used.python}{', ' if packages else ''}{packages}."]


def _program(program: Program) -> str:
    commit = f" (commit {program.commit}{', with changes' if program.changed else ''})" if program.commit else ""
    return f"{program.version or 'of unknown version'}{commit}"


def hardware(facts: Facts) -> Passage:
    """The machines, and how long the stages took."""
    machine, seconds = facts.results.machine, facts.results.seconds
    gpus = f"{number(machine.gpus, 'GPU')} ({' '.join(machine.accelerators)})" if machine.gpus else "no GPU"
    memory = f", {readable_bytes(machine.memory)} of memory" if machine.memory else ""
    where = f"{number(machine.nodes, 'node')} with {number(machine.cpus, 'CPU core')} and {gpus}"
    took = f" The stages took {sum(seconds.values()):.0f} s in total." if seconds else ""
    return [f"The run used {where}; node of the report: {machine.processor or 'unknown processor'}{memory}.{took}"]


def code(facts: Facts) -> Passage:
    """The code and the configuration."""
    return [
        f"The analysis was made by the program retina-benchmark {_program(facts.results.software.program)}. study.yaml "
        "has all settings, and results.json every number with its n, method, seeds, versions and hashes."
    ]
