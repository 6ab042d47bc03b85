"""Controls: is it the face that teaches? Ceilings, exchanged faces, and what needs no face at all."""
