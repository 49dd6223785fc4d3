"""The gRPC side: one file a service, and what the services share. The scheduler decides what runs next."""
