"""The gRPC server: batching, admission, servicers, health, lifecycle. Imports the core, never worker or trainer."""
