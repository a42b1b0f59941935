"""Gates: tests of built rows for give-aways, for balance, and for what splits share."""
