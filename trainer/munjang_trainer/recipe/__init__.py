"""What a recipe is: validated sections, read from YAML."""
