"""Trained models: their files, and what they are used for."""
