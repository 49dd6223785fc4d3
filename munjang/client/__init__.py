"""The client: `Client` and `AsyncClient`, numpy in the hands of the user. Needs the base install only."""
