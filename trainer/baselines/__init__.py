"""Classifiers without a network on the same folds."""
