"""Pictures of speech, models, runs and the paper's tables; names that any terminal can show."""
