"""One file a family, named as its ``model_type``."""
