"""Foundation models x fine-tuning strategies on fundus images: how well they predict, and whether they look at
the vessels. `python run_benchmark.py --help` explains; `python run_benchmark.py` runs the demo study.

The command line of a checkout; `retina-benchmark` is the same in an environment where the package is installed.
"""

from benchmark.command import DEMO, main, run

__all__ = ["DEMO", "main", "run"]

if __name__ == "__main__":
    run()
