"""What the Makefile runs to keep generated files true: stubs, documentation. Not part of the distribution."""
