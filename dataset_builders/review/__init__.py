"""Verdicts of people on the rows and overlays of a build: given on a page, kept in a file, honoured by builds."""
