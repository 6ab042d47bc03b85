"""Tools that check finished tables: pictures, sensitivity, comparison with references, speed."""
