"""What regbench computes otherwise, written down as papers and their code have it: the slow side of each ratio."""
