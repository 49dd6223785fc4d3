"""Transformers as OpenVINO graphs on a CPU: converted once through torch, kept on disk, compiled and run."""
