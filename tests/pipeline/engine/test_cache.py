from __future__ import annotations

import numpy as np

from pipeline.engine.cache import Cache
from tests.pipeline.engine.extractors_for_tests import SCHEMA


def test_no_flipped_bit_and_no_cut_is_served_as_data(tmp_path):
    cache = Cache(tmp_path, "t", SCHEMA)
    cache.write("aa", {"segment_id": "a", "status": "ok", "value": np.arange(50, dtype=np.float32)})
    path = cache.path("aa")
    whole = path.read_bytes()
    assert cache.has("aa")
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert cache.read("aa") is None, place
        path.write_bytes(whole[:place])
        assert not cache.has("aa"), place


def test_whatever_lies_in_the_place_of_a_row_is_replaced(tmp_path):
    cache = Cache(tmp_path, "t", SCHEMA)
    path = cache.path("aa")
    for make in (lambda: path.mkdir(parents=True), lambda: path.touch(mode=0), lambda: path.symlink_to("nowhere")):
        make()
        assert not cache.has("aa")
        cache.write("aa", {"segment_id": "a", "status": "ok"})
        assert cache.has("aa")
        path.unlink()


def test_so_is_what_lies_in_the_place_of_their_folder(tmp_path):
    # Regression: a file of that name had to be removed by hand.
    cache = Cache(tmp_path, "t", SCHEMA)
    folder = cache.path("aa").parent
    cache.root.mkdir()
    for make in (folder.touch, lambda: folder.symlink_to("nowhere")):
        make()
        assert not cache.exists("aa")
        assert not cache.size("aa")
        cache.write("aa", {"segment_id": "a", "status": "ok"})
        assert cache.has("aa")
        cache.path("aa").unlink()
        folder.rmdir()
