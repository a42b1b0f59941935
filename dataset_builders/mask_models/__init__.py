"""Masks of objects from models of transformers: SAM 3 by name; SAM 2, EdgeTAM and SAM 3's tracker from a seed."""
