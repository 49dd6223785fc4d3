"""The gRPC server: rpc, scheduling, security, health, life cycle. Imports the core, never worker or trainer."""
