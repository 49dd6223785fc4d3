"""The processes of `munjang up` and `munjang demo`: Valkey, server and worker, started by name as children.

plan (folders, ports, environments) · valkey · first (the first model) · signals · stack (start, watch, stop)
"""
