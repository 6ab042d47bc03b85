"""From faces in frames to one track: shots, graphs, who talks, which face is taken."""
