"""Measured kernels: their table, and what each must do whatever the software."""
