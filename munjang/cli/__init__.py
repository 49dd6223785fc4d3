"""The `munjang` command: one module a group of commands. May use grpc; imports torch only where a command runs a model."""
