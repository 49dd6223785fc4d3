"""The processes of `munjang up` and `munjang demo`: Valkey, server and worker, started by name as children.

plan (folders, ports, environments) · guard (ends the children of a killed parent) · child · valkey · first (the first
model) · signals · stack (start, watch, stop)
"""
