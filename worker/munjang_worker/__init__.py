"""The bulk worker: whole files of texts into vectors, through RQ. Imports the core, never server or trainer."""
