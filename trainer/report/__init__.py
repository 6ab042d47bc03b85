"""Tables and tests as text, pictures and a page."""
