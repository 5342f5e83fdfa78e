"""Measured kernels and whole runs against what is computed: nothing here is fitted to anything."""
