"""Paired tests, ranks and the ranking of Learn2Reg: numbers in, numbers out."""
