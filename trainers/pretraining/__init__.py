"""Training of the tiny backbone that ships with the package."""
