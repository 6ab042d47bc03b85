"""Fine-tuning on labelled speech: the plan of runs, the runs, their collection."""
