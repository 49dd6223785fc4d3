"""The trainer: data, training, evaluation, gate, publishing. Imports the core, never server or worker."""
