"""Training: the stages of a recipe, one after another, in a run's folder; it can be killed and resumed.

run (all stages) · stage (one of them) · datasets (with their losses) · trainer (the Trainer, its arguments, its
evaluator) · callbacks · checkpoints · moving_average · distributed
"""
