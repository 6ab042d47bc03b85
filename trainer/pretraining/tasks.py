"""The three pretext tasks (Goncalves & Busso, Interspeech 2022): number to name and label column of the shards."""

TASKS = {1: ("energy_variation", "t1_label"), 2: ("facial_activation", "t2_label"), 3: ("au_emotion", "t3_label")}
OF_FACE = (2, 3)  # whose labels the face makes
