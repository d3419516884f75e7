"""The local page of demo.py: what a model hears, stage by stage."""
