"""The stores that an index can be in: one file per engine, each with the store's own client library."""
