"""The values that a setting of the method may have, for the equations and for the table of settings (without torch)."""

#: HML.CONTROL: one stage on all labels, and the last stage alone.
ONE_STAGE = ("plain", "class_balanced", "oversampled")
CONTROLS = (*ONE_STAGE, "last_stage")
BUILDERS = ("clustered", "frequency")
INITS = ("fresh", "previous")
CR_CLASSES = ("old", "all")
CR_METRICS = ("l2", "l1", "ce", "kl")
CR_REDUCTIONS = ("mean", "released")
MR_MODES = ("paper", "released", "mean_one", "l2")
MR_REDUCTIONS = ("mean", "sum")
FISHER_MODES = ("mean", "ema")
CONTRIBUTIONS = ("descent", "released")
EFFECTIVE = ("parameter", "step")
PRIORS = ("foreground", "all")
