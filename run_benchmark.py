"""Compare foundation models and fine-tuning strategies on fundus images: how well they predict, and whether they look
at the vessels.

`python run_benchmark.py` runs the demo study; `python run_benchmark.py --help` lists the options. This script is for a
checkout. The installed package provides the same command as `retina-benchmark`.
"""

from benchmark.command import DEMO, main, run

__all__ = ["DEMO", "main", "run"]

if __name__ == "__main__":
    run()
