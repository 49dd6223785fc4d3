"""What a recipe is: validated parts, read from YAML."""
