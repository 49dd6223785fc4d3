"""Tries every model of the zoo and writes docs/zoo.md, which takes minutes; with names, tries these and prints them."""

from __future__ import annotations

import sys

from tests.zoo.page import main

if __name__ == "__main__":
    main(sys.argv[1:])
