"""A cohort of synthetic fundus images whose label shows in the vessels or away from them, with a known strength."""

from benchmark.synthetic.eye import Eye, draw_eye
from benchmark.synthetic.population import Patient, SyntheticCohort, draw_patients, plan
from benchmark.synthetic.write import write_cohort, write_eye, write_manifest

__all__ = [
    "Eye",
    "Patient",
    "SyntheticCohort",
    "draw_eye",
    "draw_patients",
    "plan",
    "write_cohort",
    "write_eye",
    "write_manifest",
]
