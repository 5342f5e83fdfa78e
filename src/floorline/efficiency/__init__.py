"""Models of a kernel's time with a handful of fitted, physical parameters; one kind of kernel a file."""
