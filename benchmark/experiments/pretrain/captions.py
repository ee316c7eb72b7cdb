"""Captions: what a photographer would note about an image, in varied words."""

import numpy as np

from benchmark.synthetic.eye import Traits, spots_shown

Words = tuple[str, ...]
SIDES: dict[str, Words] = {
    "right": ("right eye", "right fundus", "OD"),
    "left": ("left eye", "left fundus", "OS"),
}
OPENINGS: Words = ("fundus photograph", "colour photograph of the retina", "retinal photograph", "photo of a fundus")
GOOD: Words = ("good quality", "sharp and evenly lit", "clear image")
FAULTS: dict[str, Words] = {
    "blur": ("out of focus", "blurred image", "not sharp"),
    "haze": ("hazy", "veiled by haze", "cloudy media"),
    "dim": ("dark exposure", "too little light", "underexposed"),
    "uneven": ("unevenly lit", "one side in shadow", "uneven light"),
}
PIGMENT: tuple[Words, ...] = (
    ("pale fundus", "lightly pigmented", "blond fundus"),
    ("moderately pigmented", "average pigmentation", "brown fundus"),
    ("dark fundus", "heavily pigmented", "densely pigmented"),
)
TESSELLATED: Words = ("tessellated", "choroidal vessels shine through", "tigroid")
DISC: dict[str, Words] = {
    "right": ("disc on the right", "optic disc at the right"),
    "left": ("disc on the left", "optic disc at the left"),
}
# From healthy to severe.
ARTERIES: tuple[Words, ...] = (
    ("wide straight arteries", "full arteries", "broad arteries without reflex"),
    ("normal arteries", "arteries of usual width", "arteries unremarkable"),
    ("slightly narrow arteries", "arteries somewhat narrow and winding", "arteries with a broad light reflex"),
    ("narrow arteries, copper wiring", "narrowed winding arteries", "copper wire arteries, veins nicked"),
    ("thread-like arteries, silver wiring", "very narrow winding arteries", "silver wire arteries, veins nicked"),
)
SPOTS: tuple[Words, ...] = (
    ("no spots", "periphery clear", "no lesions"),
    ("a few spots", "single peripheral spots", "few small lesions"),
    ("several spots", "some peripheral lesions", "spots of the periphery"),
    ("many spots", "numerous peripheral lesions", "periphery full of spots"),
)


def caption(traits: Traits, side: str, rng: np.random.Generator, vessels: bool = True) -> str:
    """One caption, in lower-case English; most parts are left out at random, as in clinical notes.

    Args:
        vessels: whether arteries are mentioned at all.
    """

    def one(words: Words) -> str:
        return words[rng.integers(len(words))]

    parts = [one(SIDES[side]), one(_quality(traits)), one(PIGMENT[_step(traits.complexion.pigmentation, (0.35, 0.65))])]
    parts.append(one(DISC[side]))
    if traits.complexion.tessellation > 0.4:
        parts.append(one(TESSELLATED))
    kept = [part for part in parts if rng.uniform() < 0.6]
    if traits.signal == "periphery":
        kept.append(one(SPOTS[_step(float(spots_shown(traits.severity).mean()), (0.03, 0.25, 0.5))]))
    elif vessels:
        kept.append(one(ARTERIES[_step(traits.severity, (-1.0, 0.4, 1.6, 2.8))]))
    return ", ".join([one(OPENINGS), *rng.permutation(kept).tolist()])


def _quality(traits: Traits) -> Words:
    quality = traits.quality
    faults = {
        "blur": quality.blur > 0.006,
        "haze": quality.haze > 0.2,
        "dim": quality.exposure < 0.7,
        "uneven": quality.unevenness > 0.3,
    }
    found = [FAULTS[name] for name, present in faults.items() if present]
    return found[0] if found else GOOD


def _step(value: float, edges: tuple[float, ...]) -> int:
    return int(np.searchsorted(edges, value))
