"""Builds side by side: this one, another commit's, and this one without single mechanisms."""
