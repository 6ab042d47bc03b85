"""Mouth trajectories and visemes for the recipe orofacial."""
