"""What a network is asked for: objectives, their losses and measures."""
