"""Tools that look at finished tables: pictures, sensitivity, comparison with references, speed."""
