"""Generated from protos/munjang/v1 by `make protos`; never edited."""
