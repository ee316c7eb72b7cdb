"""180 patients with covariates, by whole-number arithmetic, so that another program has exactly the same values.

In R (`i <- 0:179`):

    age <- 40 + (37*i) %% 41
    sex <- ((i*i + 3*i) %/% 4) %% 2
    label <- as.integer((age - 60)/20 + 2*((i*i*17 + 29*i) %% 101)/101 > 1.2)
    score <- (age - 60)/15 + 3*((i*i*7 + 13*i) %% 97)/97 + 0.8*label
    camera <- c("a","b","c")[1 + (7*(i %/% 4) + i) %% 3]

Values of R 4 with pROC, metafor, rms and survival are stored in the tests, next to the calls that made them.
"""

import numpy as np

I = np.arange(180)  # noqa: E741
AGE = (40 + (37 * I) % 41).astype(np.float64)
SEX = ((I * I + 3 * I) // 4) % 2
LABEL = ((AGE - 60) / 20 + 2 * ((I * I * 17 + 29 * I) % 101) / 101 > 1.2).astype(int)
SCORE = (AGE - 60) / 15 + 3 * ((I * I * 7 + 13 * I) % 97) / 97 + 0.8 * LABEL
CAMERA = np.array(["a", "b", "c"])[(7 * (I // 4) + I) % 3]
