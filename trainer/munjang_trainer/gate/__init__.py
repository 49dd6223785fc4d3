"""The gate before the registry: a trained model is loaded afresh, measured again, and compared with what serves.

checks (each reason to refuse) · fresh (measuring in a process of its own) · verdict (all of it)
"""
