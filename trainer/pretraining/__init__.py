"""Pretraining on unlabelled films: pretext tasks whose labels the face gives."""
