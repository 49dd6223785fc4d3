"""Training: the stages of a recipe, one after another, in a run's folder that can be killed and gone on with.

run (all stages) · stage (one of them) · datasets, mining, teaching · losses · arguments · loop (the Trainer) ·
checkpoints, interrupt (what makes it resumable) · progress, journal, curves, watching (what people see)
"""
