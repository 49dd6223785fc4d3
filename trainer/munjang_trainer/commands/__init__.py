"""The trainer's commands: options and printing only. The packages beside this one do the work."""
