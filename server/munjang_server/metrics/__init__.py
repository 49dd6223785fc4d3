"""What Prometheus sees of a server: calls, batching, the engine, each in its own file, and the page that shows them."""
