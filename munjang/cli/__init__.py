"""The `munjang` command: one module a group of commands. Uses grpc; imports torch only where a command runs a model."""
