"""What loading a model takes in memory, rank by rank."""
