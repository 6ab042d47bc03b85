"""From a media file to the features of a model: what the shards say of it, and the same steps for one file."""
