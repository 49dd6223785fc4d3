"""The trainer's commands: options and printing only; the work is done by the packages beside this one."""
