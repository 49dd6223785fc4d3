"""The gRPC side: one file a service, and what they share. What runs next is the scheduler's to decide."""
