"""Systems side by side on the folds of finetune: recipes sequence and penalisation."""
