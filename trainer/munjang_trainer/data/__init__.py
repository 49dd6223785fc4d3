"""Data files to prepared tables: readers, the triple recipe, holding out, the leak check, the report."""
