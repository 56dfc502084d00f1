"""Runs opened again and fields made elsewhere: scored, compared, handed on."""
