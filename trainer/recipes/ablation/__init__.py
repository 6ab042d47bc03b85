"""Recipes, tasks and amounts of film and labels against scratch."""
