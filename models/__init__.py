"""What a trained model is kept in, and what it is used for."""
