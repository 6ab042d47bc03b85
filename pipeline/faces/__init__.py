"""Faces in a segment's video: where they are, how they are turned, what their muscles do.

A backend (``backends``) finds 478 points a frame, ``tracking`` follows faces and chooses one, ``align`` takes head pose
and scale out, ``action_units`` reads action units from what is left and from a few grey-level cues (``texture``),
``extractor`` makes it a row of the faces table.
"""
