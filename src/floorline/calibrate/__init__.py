"""Fitting of kernel models to measured kernels, with NumPy alone."""
