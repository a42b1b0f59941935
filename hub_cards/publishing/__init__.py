"""Publish a folder on the Hub: refuse what does not belong there, send the rest in one commit, and compare it."""
