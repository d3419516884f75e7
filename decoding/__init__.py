"""From log-probabilities to text with a language model: n-grams, scorers for the beam search, tuning."""
