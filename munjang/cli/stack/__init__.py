"""The processes of `munjang up` and `munjang demo`: Valkey, server and worker, started by name as children.

home (folders and the lock) · ports · valkey · first (the first model) · plan (addresses, environments) · signals ·
stack (start, watch, stop)
"""
