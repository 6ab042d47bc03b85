"""Networks, and the checkpoint folders they are stored in."""
