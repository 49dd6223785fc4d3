"""docs/bench/bulk.md: the figures of `test_bulk` for people. Measures nothing."""

from __future__ import annotations


def page(figures: dict) -> str:
    """The figures as a Markdown page."""
    cost, rest, sort = figures["plumbing"], figures["idle"], figures["sorting"]
    rates = sort["rows_per_second"]
    rows = [
        ("the whole job", cost["us_a_row"]),
        ("- planning: reading, hashing, cutting", cost["planning_us_a_row"]),
        ("- shards: reading, writing, syncing, hashing", cost["reading_and_writing_us_a_row"]),
        ("- queue, verifying, manifest", cost["queue_and_end_us_a_row"]),
        ("the starter model on the same texts", cost["model_us_a_row"]),
    ]
    return "\n".join(
        [
            "# Bulk jobs: what they cost beside the model",
            "",
            f"Written by `make bench` on {figures['machine']}, {figures['cores']} cores.",
            "",
            f"## {cost['rows']:,} short rows, JSONL to float32 Parquet, a model that takes no time",
            "",
            "| | µs a row |",
            "|---|---|",
            *(f"| {name} | {value:,.1f} |" for name, value in rows),
            "",
            f"The plumbing is {cost['share_of_model']:.1%} of the model's time.",
            f"Resident memory was {cost['first_shard_mb']:,.0f} MB after a shard, {cost['most_mb']:,.0f} at most.",
            f"At rest the worker took {rest['cpu_share']:.2%} of a core, measured over {rest['seconds']:.0f} s,",
            f"and {rest['commands_per_second']:.1f} commands of Redis a second.",
            "",
            f"## Batches: {sort['rows']:,} rows of mixed length, starter model",
            "",
            "| rows a second | in file order | planned within each block |",
            "|---|---|---|",
            f"| one text a row | {rates['padded_file_order']:,.1f} | {rates['padded_planned']:,.1f} |",
            f"| short texts share rows | {rates['packed_file_order']:,.1f} | **{rates['packed_planned']:,.1f}** |",
            "",
            "One text a row: all rows of a batch are as wide as its longest text, as in other programs, and a plan",
            "sorts by length; where texts share rows, it makes rows that the block fills. Sorting gives",
            f"{sort['factor_of_sorting']:.2f} times what file order gives then, what the worker does (bold)",
            f"{sort['factor']:.2f} times. The output is in file order in all four, and the vectors are the same (least",
            f"cosine {sort['least_cosine']:.5f}).",
            "",
        ]
    )
