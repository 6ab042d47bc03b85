"""What the face and the energy say of a segment: tasks T1, T2 and T3 (Goncalves & Busso, Interspeech 2022)."""
