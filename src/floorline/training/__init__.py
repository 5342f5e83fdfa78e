"""A training step on a plan: what each part of the model takes, how stages and messages fit together, and what a device holds."""
