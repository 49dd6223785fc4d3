"""The model that training starts from: loading, shrinking, adapters."""
