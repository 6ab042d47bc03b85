"""Speech-driven orofacial movement (Sadoughi & Busso 2018)."""
