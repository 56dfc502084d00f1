"""The baseline zoo: one published registration method a file."""
