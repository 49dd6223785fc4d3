"""Vector stores: from the vectors of a job to a search index that people run, kept up to date, moved to another model.

`layout` says what a table holds, `sink` what munjang needs of a store, `stores/` has one file per engine, and `address`
opens them by URL. `load`, `update`, `rollover` and `check` are what `munjang index` does. Knows no transport: vectors
come from a job's folder, or from whatever `embedding.Embedder` the caller brings.
"""
