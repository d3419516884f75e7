"""Pictures of speech, models, runs and the paper's tables; output that any terminal can show."""
