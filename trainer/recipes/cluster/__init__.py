"""DeepEmoCluster (Lin, Sridhar & Busso 2021)."""
