"""The `munjang` command: one module a command, mounted in `main`. Starts server, worker and trainer by name only.

console (what is printed where) · options, connection (what calling commands share) · texts (what to encode) ·
encode, similarity, heatmap · versions · stack (the processes of `up`) · up, demo · bench
"""
