"""Where facial points and action units come from, by the name of the backend."""
