"""From predictions to tables: pooled measures, intervals, paired tests."""
