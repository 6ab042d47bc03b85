"""The training loop and what runs several trainings side by side."""
