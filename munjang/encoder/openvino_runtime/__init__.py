"""Transformers as OpenVINO graphs on a CPU: converted through torch once, kept on disk, compiled and run."""
