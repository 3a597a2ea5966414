"""Estimates, intervals and tests for closed-loop results; which one for what is in docs/evaluation.md."""

from sim.evaluation.statistics.bootstrap import (
    bootstrap_mean,
    bootstrap_means,
    estimate_metrics,
)
from sim.evaluation.statistics.intervals import (
    CONFIDENCE,
    Estimate,
    clopper_pearson_interval,
    garwood_interval,
    mean_interval,
    normal_quantile,
    rate_at_least,
    rate_at_most,
    wilson_interval,
)
from sim.evaluation.statistics.multiple import benjamini_hochberg, holm
from sim.evaluation.statistics.paired import (
    POWER,
    detectable_mean_difference,
    detectable_rate_difference,
    mcnemar_power,
    mcnemar_test,
    pairs_needed,
    sign_flip_test,
    tango_interval,
    win_tie_loss,
)
from sim.evaluation.statistics.runs import MIN_RUNS, difference_over_runs, mean_over_runs
from sim.evaluation.statistics.survival import Survival, kaplan_meier

__all__ = [
    "CONFIDENCE",
    "MIN_RUNS",
    "POWER",
    "Estimate",
    "Survival",
    "benjamini_hochberg",
    "bootstrap_mean",
    "bootstrap_means",
    "clopper_pearson_interval",
    "detectable_mean_difference",
    "detectable_rate_difference",
    "difference_over_runs",
    "estimate_metrics",
    "garwood_interval",
    "holm",
    "kaplan_meier",
    "mcnemar_power",
    "mcnemar_test",
    "mean_interval",
    "mean_over_runs",
    "normal_quantile",
    "pairs_needed",
    "rate_at_least",
    "rate_at_most",
    "sign_flip_test",
    "tango_interval",
    "wilson_interval",
    "win_tie_loss",
]
