"""What a run is told apart by, and a plan in the words of its record."""
