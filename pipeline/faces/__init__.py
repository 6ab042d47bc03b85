"""Faces in a segment's video: where they are, how they are turned, what their muscles do.

``mesh`` (or another backend) finds 478 points a frame, ``align`` takes head pose and scale out, ``aus`` reads action
units from what is left and from a few grey-level cues (``texture``), ``extractor`` makes it a row of the faces table.
"""
