"""Servers to be measured beside ours. What runs in a virtual environment of its own imports no munjang."""
