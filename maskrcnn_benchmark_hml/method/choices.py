"""The values that a setting of the method may have, for the equations and for the table of settings (without torch)."""

CR_METRICS = ("l2", "l1", "ce", "kl")
CR_REDUCTIONS = ("mean", "released")
MR_MODES = ("paper", "released", "mean_one", "l2")
MR_REDUCTIONS = ("mean", "sum")
FISHER_MODES = ("mean", "ema")
CONTRIBUTIONS = ("descent", "released")
EFFECTIVE = ("parameter", "step")
PRIORS = ("foreground", "all")
