"""The study: configuration, cohort, images, run directory, scheduling on Ray, leaderboard."""

import logging
import os
from pathlib import Path

# A container's user may have no entry in /etc/passwd and no HOME. Some libraries ask for it on import and fail; "/" is
# what Docker itself sets in that case.
try:
    Path.home()
except RuntimeError:
    os.environ["HOME"] = "/"

# Where the home cannot be written, Matplotlib uses a temporary folder; its two lines about it are not for the screen.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
