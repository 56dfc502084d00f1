"""What the networks of the zoo are built of."""
