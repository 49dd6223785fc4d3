"""The trainer's commands, one a module: options and printing only; the work is done by the packages beside this one."""
