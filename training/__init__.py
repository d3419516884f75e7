"""Training: data, optimisation, the machine, the loop, a run in its folder, settings and flags."""
