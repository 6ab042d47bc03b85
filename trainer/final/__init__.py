"""The model to use: trained on all labelled rows, calibrated by the folds, with a card that says what it is worth."""
